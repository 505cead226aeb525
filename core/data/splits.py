"""Splits: the data set as models, training and measurements use it.

Images stay uint8 in memory (or in their files) and are normalised batch by batch.
Shapes: N images, C channels, H rows, W columns.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ..errors import DataError
from ..models.specs import Task
from .augment import augment_batch
from .division import limited_indices
from .fingerprint import refined
from .fitting import fit_images, fit_masks, fitted_normalisation
from .raw import SPLIT_NAMES, Augmentation, LazyImages
from .specs import DataSpec

__all__ = ["Split", "SplitName", "Splits"]

SplitName = Literal["train", "select", "test"]


@dataclass(frozen=True, eq=False, repr=False)
class Split:
    """One part of a data set.

    ``images``: uint8 ``[N, C, H, W]`` as read, or lazily decoded files; ``targets``: int64 ``[N]``, or uint8 masks
    ``[N, H, W]``. ``fit``: the (C, H, W) that batches have where it differs from what was read.
    """

    images: Tensor | LazyImages
    targets: Tensor
    mean: tuple[float, ...]
    std: tuple[float, ...]
    augmentation: Augmentation = "none"
    fit: tuple[int, int, int] | None = None

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        return f"Split({len(self):,} images {list(self.image_shape)})"

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """C, H, W of the images that batches hold."""
        if self.fit is not None:
            return self.fit
        _, channels, height, width = self.images.shape
        return (channels, height, width)

    @cached_property
    def labels(self) -> np.ndarray[Any, Any]:
        """int64 ``[N]``: the classes by which subsets are stratified; zeros for masks."""
        return self.targets.numpy() if self.targets.ndim == 1 else np.zeros(len(self), np.int64)

    def indices(self, limit: int | None = None) -> np.ndarray[Any, Any]:
        """Which examples a limit stands for: sorted, stratified, the same every time, nested for growing limits."""
        return limited_indices(self.labels, limit)

    def pixels(self, indices: np.ndarray[Any, Any]) -> Tensor:
        """uint8 ``[len(indices), C, H, W]``, fitted but neither augmented nor normalised."""
        if isinstance(self.images, LazyImages):
            images = torch.from_numpy(self.images.take(indices.tolist()))
        else:
            images = self.images[torch.from_numpy(indices)]
        return images if self.fit is None else fit_images(images, self.fit)

    def targets_of(self, indices: np.ndarray[Any, Any]) -> Tensor:
        """int64 labels ``[n]`` or uint8 masks ``[n, H, W]`` at the size of the fitted images."""
        targets = self.targets[torch.from_numpy(indices)]
        return fit_masks(targets, self.fit[1:]) if targets.ndim == 3 and self.fit is not None else targets

    def normalised(self, x_NCHW: Tensor) -> Tensor:
        """float32 images with (x / 255 − mean) / std per channel."""
        mean = torch.tensor(self.mean, dtype=torch.float32).view(1, -1, 1, 1)
        std = torch.tensor(self.std, dtype=torch.float32).view(1, -1, 1, 1)
        return x_NCHW.float().div_(255.0).sub_(mean).div_(std)

    def batches(
        self,
        batch_size: int,
        *,
        shuffle: bool = False,
        augment: bool = False,
        generator: torch.Generator | None = None,
        limit: int | None = None,
        device: str | torch.device = "cpu",
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (x float32 ``[n, C, H, W]`` normalised, y int64 ``[n]`` or ``[n, H, W]``); the last may be smaller.

        ``limit`` takes a fixed stratified subset; ``shuffle`` and ``augment`` draw from ``generator`` (None: torch's
        own).
        """
        indices = self.indices(limit)
        if shuffle:
            indices = indices[torch.randperm(len(indices), generator=generator).numpy()]
        for start in range(0, len(indices), batch_size):
            chosen = indices[start : start + batch_size]
            yield self.batch(chosen, augment=augment, generator=generator, device=device)

    def batch(
        self,
        indices: np.ndarray[Any, Any],
        *,
        augment: bool = False,
        generator: torch.Generator | None = None,
        device: str | torch.device = "cpu",
    ) -> tuple[Tensor, Tensor]:
        """The examples of these indices as ``batches`` yields them."""
        x, y = self.pixels(indices), self.targets_of(indices)
        if augment and self.augmentation != "none":
            x, y = augment_batch(x, y, augmentation=self.augmentation, generator=generator)
        return self.normalised(x).to(device, non_blocking=True), y.long().to(device, non_blocking=True)

    def image(self, index: int) -> np.ndarray[Any, Any]:
        """One image for people: uint8 ``[H, W, C]`` with C 1 or 3, as fitted, not normalised."""
        if not -len(self) <= index < len(self):
            raise DataError(f"There is no image {index}: this split has {len(self):,}.")
        return self.pixels(np.array([index % len(self)]))[0].permute(1, 2, 0).contiguous().numpy()

    def counts(self, num_classes: int) -> list[int]:
        """Images per class, or pixels per class for masks; ignored and unknown values are not counted."""
        totals = torch.zeros(256 if self.targets.ndim == 3 else num_classes, dtype=torch.int64)
        for part in self.targets.split(64) if self.targets.ndim == 3 else (self.targets,):
            totals += torch.bincount(part.flatten().long(), minlength=len(totals))
        return totals[:num_classes].tolist()


@dataclass(frozen=True, eq=False, repr=False)
class Splits:
    """A data set: three disjoint splits and what belongs to them. ``input_shape`` is C, H, W of the batches.

    ``fingerprint`` names the content: images, targets, division, classes and normalisation.
    """

    train: Split
    select: Split
    test: Split
    task: Task
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    input_shape: tuple[int, int, int]
    fingerprint: str
    ignore_index: int | None
    notes: tuple[str, ...]
    spec: DataSpec

    def __repr__(self) -> str:
        counts = ", ".join(f"{name} {len(self.split(name)):,}" for name in SPLIT_NAMES)
        return f"Splits({self.spec.source}: {counts} images {list(self.input_shape)}, {self.num_classes} classes)"

    @property
    def num_classes(self) -> int:
        """How many classes a model of these data must tell apart."""
        return len(self.class_names)

    def split(self, name: str) -> Split:
        """The split of this name.

        Raises:
            DataError: when it is none of train, select, test.
        """
        if name not in SPLIT_NAMES:
            raise DataError(f"A split must be one of {', '.join(SPLIT_NAMES)}; got “{name}”.")
        part: Split = getattr(self, name)
        return part

    def fitted_to(self, input_shape: tuple[int, int, int]) -> "Splits":
        """A view whose batches have the (C, H, W) that a model wants; notes say what was done. Nothing is copied.

        Raises:
            DataError: when the channels can not be turned into each other.
        """
        wanted = (int(input_shape[0]), int(input_shape[1]), int(input_shape[2]))
        if wanted == self.input_shape:
            return self
        channels, height, width = wanted
        fit_images(torch.zeros(1, *self.input_shape, dtype=torch.uint8), wanted)  # raises where it is impossible
        notes = list(self.notes)
        if channels != self.input_shape[0]:
            notes.append(
                "Grey images are repeated to three channels, because the model takes RGB."
                if channels == 3
                else "RGB images are turned grey, because the model takes one channel."
            )
        if (height, width) != self.input_shape[1:]:
            notes.append(
                f"Images are resized from {self.input_shape[1]}×{self.input_shape[2]} to {height}×{width} "
                "(height × width)."
            )
        mean, std = fitted_normalisation(self.mean, channels), fitted_normalisation(self.std, channels)

        def fitted(part: Split) -> Split:
            return replace(part, fit=wanted, mean=mean, std=std)

        return replace(
            self,
            train=fitted(self.train),
            select=fitted(self.select),
            test=fitted(self.test),
            mean=mean,
            std=std,
            input_shape=wanted,
            fingerprint=refined(self.fingerprint, wanted),
            notes=tuple(notes),
        )

    def describe(self) -> dict[str, Any]:
        """JSON for pages: name, task, classes, counts, shape, normalisation, notes and a few thumbnails.

        ``per_class`` counts images, or pixels for masks; ``thumbnails``: ``[{"label", "image"}]``, PNG data URIs.
        """
        from .thumbnails import thumbnails

        return {
            "name": self.spec.root or self.spec.source,
            "source": self.spec.source,
            "task": self.task,
            "classes": list(self.class_names),
            "num_classes": self.num_classes,
            "counts": {name: len(self.split(name)) for name in SPLIT_NAMES},
            "per_class": {name: self.split(name).counts(self.num_classes) for name in SPLIT_NAMES},
            "input_shape": list(self.input_shape),
            "mean": list(self.mean),
            "std": list(self.std),
            "ignore_index": self.ignore_index,
            "augmentation": self.train.augmentation,
            "notes": list(self.notes),
            "fingerprint": self.fingerprint,
            "thumbnails": thumbnails(self),
        }
