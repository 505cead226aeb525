"""What one epoch adds up: loss and its parts, the score on the training batches, images per second."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ..analysis.statistics import mean_iou
from ..data.splits import Splits

__all__ = ["Meter"]

PUBLISH_EVERY_S = 1.0


class Meter:
    """Means over an epoch, weighted by images. Time spent waiting for a measurement does not count."""

    def __init__(self, splits: Splits) -> None:
        self._classes, self._ignored = splits.num_classes, splits.ignore_index
        self._images = 0
        self._loss = 0.0
        self._parts: dict[str, Tensor] = {}  # sums stay on the device: one wait per step is enough
        self._right: Tensor | None = None
        self._confusion: Tensor | None = None
        self._started = self._published = time.perf_counter()
        self.last_loss = 0.0

    def add(self, loss: Tensor, parts: Mapping[str, Tensor], logits: Tensor, targets: Tensor) -> None:
        """Count one batch."""
        images = len(targets)
        self.last_loss = float(loss.detach())
        self._images += images
        self._loss += self.last_loss * images
        for name, part in parts.items():
            total = part.detach().float() * images
            self._parts[name] = self._parts[name] + total if name in self._parts else total
        if targets.ndim == 1:
            right = (logits.argmax(1) == targets).sum()
            self._right = right if self._right is None else self._right + right
        else:
            self._count_pixels(logits, targets)

    def _count_pixels(self, logits: Tensor, targets: Tensor) -> None:
        if logits.shape[-2:] != targets.shape[-2:]:
            logits = F.interpolate(logits, size=targets.shape[-2:], mode="bilinear", align_corners=False)
        counted = targets < self._classes
        if self._ignored is not None:
            counted &= targets != self._ignored
        cells = targets[counted] * self._classes + logits.argmax(1)[counted]
        found = torch.bincount(cells, minlength=self._classes**2).view(self._classes, self._classes)
        self._confusion = found if self._confusion is None else self._confusion + found

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Leave the time spent inside out of the speed."""
        before = time.perf_counter()
        yield
        self._started += time.perf_counter() - before

    @property
    def seconds(self) -> float:
        """Since the epoch began, without pauses."""
        return time.perf_counter() - self._started

    @property
    def images_per_s(self) -> float:
        """Training images per second so far."""
        return self._images / max(self.seconds, 1e-9)

    def due(self) -> bool:
        """Whether a second has passed since the last news of this epoch."""
        now = time.perf_counter()
        if now - self._published < PUBLISH_EVERY_S:
            return False
        self._published = now
        return True

    def summary(self) -> dict[str, Any]:
        """``loss``, ``parts``, ``train_score``, ``images_per_s``."""
        pixels, right = self._confusion, 0 if self._right is None else int(self._right)
        return {
            "loss": self._loss / self._images,
            "parts": {name: float(total) / self._images for name, total in self._parts.items()},
            "train_score": right / self._images if pixels is None else float(mean_iou(pixels.cpu().numpy())),
            "images_per_s": self.images_per_s,
        }
