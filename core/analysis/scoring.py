"""The loop behind ``evaluate``, and the tally that turns logits into an Evaluation (also for those with own loops).

Shapes: N images, K classes, H rows, W columns.
"""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..data.splits import Splits
from ..data.tasks import METRICS, loss_per_image
from ..errors import DataError
from ..models.eval_mode import eval_mode
from ..progress import Progress
from ..wording import percent
from .evaluation import Evaluation
from .statistics import bootstrap_miou, mean_iou, wilson_interval

__all__ = ["Tally", "default_batch_size", "main_logits", "measure"]

PIXELS_PER_BATCH = 1 << 20
IMAGES_PER_BATCH = 250
CHANCE_NEEDS_IMAGES = 50


def default_batch_size(input_shape: tuple[int, int, int]) -> int:
    """About a million pixels, 1 to 250 images: 250 at 32×32, 20 at 224×224, 6 at 360×480."""
    return max(1, min(IMAGES_PER_BATCH, PIXELS_PER_BATCH // (input_shape[1] * input_shape[2])))


def main_logits(output: Any) -> Tensor:
    """The logits in what a model returns: the tensor itself, ``"out"`` of a dict, the first of a sequence."""
    while not isinstance(output, Tensor):
        if isinstance(output, dict):
            output = output["out"] if "out" in output else next(iter(output.values()))
        elif isinstance(output, list | tuple) and output:
            output = output[0]
        else:
            raise DataError(
                f"A model must return logits, alone or first in a tuple or dict; got {type(output).__name__}."
            )
    return output


class Tally:
    """Collects the logits of a split batch by batch, in the order of ``indices``, and makes an Evaluation of them."""

    def __init__(self, splits: Splits, split: str, *, limit: int | None = None) -> None:
        self.splits = splits
        self.name = split
        self.indices = splits.split(split).indices(limit)
        self._rows: dict[str, list[np.ndarray[Any, Any]]] = {}
        self._broken = 0

    def add(self, logits: Tensor, targets: Tensor) -> None:
        """Count one batch: logits ``[N, K]`` and labels ``[N]``, or ``[N, K, h, w]`` and masks ``[N, H, W]``.

        Raises:
            DataError: when the number of outputs or their rank does not fit the data.
        """
        rows, broken = self.rows(logits, targets)
        self._broken += broken
        for key, values in rows.items():
            self._rows.setdefault(key, []).append(values)

    def rows(self, logits: Tensor, targets: Tensor) -> tuple[dict[str, np.ndarray[Any, Any]], int]:
        """What one batch gave, image by image, and how many images have outputs that are not finite; counts nothing.

        Raises:
            DataError: when the number of outputs or their rank does not fit the data.
        """
        logits = logits.detach().float()
        targets = targets.to(logits.device).long()
        if logits.ndim != (2 if targets.ndim == 1 else 4) or len(logits) != len(targets):
            wanted = "[N, classes]" if targets.ndim == 1 else "[N, classes, height, width]"
            raise DataError(f"For {self.splits.task} a model must return {wanted}; it returns {list(logits.shape)}.")
        if logits.shape[1] != self.splits.num_classes:
            raise DataError(
                f"The model must have one output per class: it has {logits.shape[1]}, the data have "
                f"{self.splits.num_classes} classes."
            )
        finite = torch.isfinite(logits).all(1)
        broken = int((~finite).flatten(1).any(1).sum()) if finite.ndim > 1 else int((~finite).sum())
        count = self._classified if targets.ndim == 1 else self._segmented
        return {key: values.cpu().numpy() for key, values in count(logits, targets, finite).items()}, broken

    def _classified(self, logits: Tensor, targets: Tensor, finite: Tensor) -> dict[str, Tensor]:
        confidence, predictions = logits.softmax(1).max(1)
        predictions = torch.where(finite, predictions, -1)
        correct = predictions == targets
        return {
            "losses": loss_per_image(logits, targets),
            "confidence": confidence,
            "predictions": predictions,
            "targets": targets,
            "correct": correct,
            "agreement": correct.float(),
        }

    def _segmented(self, logits: Tensor, targets: Tensor, finite: Tensor) -> dict[str, Tensor]:
        if logits.shape[-2:] != targets.shape[-2:]:
            logits = F.interpolate(logits, size=targets.shape[-2:], mode="bilinear", align_corners=False)
            finite = torch.isfinite(logits).all(1)
        ignore_index, classes = self.splits.ignore_index, logits.shape[1]
        certainty, predictions = logits.max(1)
        predictions = torch.where(finite, predictions, (targets + 1) % classes)  # what is not finite counts as wrong
        counted = torch.ones_like(targets, dtype=torch.bool) if ignore_index is None else targets != ignore_index
        pixels = counted.flatten(1).sum(1)
        # The largest softmax value is 1 / Σ exp(logit − largest): no softmax of the whole tensor is kept.
        confidence = 1.0 / (logits - certainty[:, None]).exp().sum(1)
        image = torch.arange(len(targets), device=targets.device)[:, None, None].expand_as(targets)
        cells = ((image * classes + targets) * classes + predictions)[counted]
        confusions = torch.bincount(cells, minlength=len(targets) * classes**2).view(-1, classes, classes)
        right = confusions.diagonal(dim1=1, dim2=2).sum(1)
        return {
            "losses": loss_per_image(logits, targets, ignore_index=ignore_index),
            "confidence": (confidence * counted).flatten(1).sum(1) / pixels,
            "image_confusions": confusions.int(),
            "agreement": right / pixels.clamp(min=1),
        }

    def evaluation(self) -> Evaluation:
        """The result over all batches added.

        Raises:
            DataError: when not every image of the split was added.
        """
        rows = {key: np.concatenate(values) for key, values in self._rows.items()}
        counted = len(rows.get("losses", ()))
        if counted != len(self.indices) or counted == 0:
            raise DataError(f"Every image must be evaluated: {counted} of {len(self.indices)} were.")
        for key in ("losses", "confidence", "agreement"):
            rows[key] = rows[key].astype(np.float32)
        classes = self.splits.num_classes
        if "correct" in rows:
            valid = rows["predictions"] >= 0
            cells = rows["targets"][valid] * classes + rows["predictions"][valid]
            confusion = np.bincount(cells, minlength=classes**2).reshape(classes, classes)
            right = int(rows["correct"].sum())
            score, interval = right / counted, wilson_interval(right, counted)
            totals = np.bincount(rows["targets"], minlength=classes)
        else:
            confusion = rows["image_confusions"].sum(0, dtype=np.int64)
            score, interval = mean_iou(confusion), bootstrap_miou(rows["image_confusions"])
            totals = confusion.sum(0) + confusion.sum(1) - confusion.diagonal()
        hits = confusion.diagonal()
        return Evaluation(
            split=self.name,
            data=self.splits.fingerprint,
            metric=METRICS[self.splits.task],
            n=counted,
            score=score,
            interval=interval,
            loss=float("nan") if self._broken else _mean_loss(rows["losses"]),
            per_class=[float(hit / total) if total else None for hit, total in zip(hits, totals, strict=True)],
            confusion=confusion.astype(np.int64),
            indices=self.indices,
            warnings=tuple(self._warnings(counted, interval)),
            **rows,
        )

    def _warnings(self, counted: int, interval: tuple[float, float]) -> list[str]:
        warnings = []
        if self._broken:
            warnings.append(
                f"The outputs for {self._broken:,} of {counted:,} images are NaN or infinite and count as wrong; look "
                "for NaN weights, or a layer that was pruned away."
            )
        chance = 1.0 / self.splits.num_classes
        if self.splits.task == "classification" and counted >= CHANCE_NEEDS_IMAGES and interval[0] <= chance:
            warnings.append(
                f"The accuracy is at chance ({percent(chance)} for {self.splits.num_classes} classes). If this is not "
                "expected, check the normalisation (pixels are 0 to 1 before mean and deviation), the order of the "
                "classes, and that the weights are trained."
            )
        return warnings


def _mean_loss(losses: np.ndarray[Any, Any]) -> float:
    """Mean over images; images of ignored pixels only have none and are left out unless there is nothing else."""
    known = losses[~np.isnan(losses)]
    return float(known.mean(dtype=np.float64)) if len(known) else float("nan")


def measure(
    model: Callable[..., Any],
    splits: Splits,
    split: str,
    *,
    batch_size: int | None,
    limit: int | None,
    progress: Progress,
) -> Evaluation:
    """See ``core.analysis.evaluation.evaluate``."""
    module = getattr(model, "graph_module", model)
    parameter = next(module.parameters(), None) if isinstance(module, nn.Module) else None
    device = torch.device("cpu") if parameter is None else parameter.device
    channels_last = isinstance(module, nn.Module) and _is_channels_last(module)
    predict = getattr(model, "predict", model)
    tally = Tally(splits, split, limit=limit)
    total, done = len(tally.indices), 0
    part = splits.split(split)
    size = batch_size or default_batch_size(splits.input_shape)
    with torch.inference_mode(), eval_mode(module) if isinstance(module, nn.Module) else nullcontext():
        for x, y in part.batches(size, limit=limit, device=device):
            progress.check()
            progress.update(done, total, f"Evaluating on the {split} split")
            x = x.contiguous(memory_format=torch.channels_last) if channels_last else x
            tally.add(main_logits(predict(x)), y)
            done += len(y)
    progress.update(total, total, f"Evaluated on the {split} split")
    return tally.evaluation()


def _is_channels_last(module: nn.Module) -> bool:
    """Whether the convolution weights lie in channels_last order, so that inputs should too."""
    weight = next((part for part in module.parameters() if part.ndim == 4 and part.shape[1] > 1), None)
    return weight is not None and weight.is_contiguous(memory_format=torch.channels_last) and not weight.is_contiguous()
