"""Which classes paid for a pruning: the paired difference of every class, with intervals that hold for all together."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import MeasurementError
from .statistics import (
    check_paired,
    iou_parts,
    paired_accuracy_interval,
    percentiles,
    resamples,
)

if TYPE_CHECKING:
    from .evaluation import Evaluation

__all__ = ["ClassChange", "class_changes"]


@dataclass(frozen=True)
class ClassChange:
    """One class: its accuracy or IoU in both models, and the difference variant − dense, as fractions.

    ``images``: in how many images (of the class; of those that show it) this was measured. ``low``, ``high``: see
    ``class_changes``; None where one image is all there is.
    """

    label: int
    dense: float
    variant: float
    difference: float
    low: float | None
    high: float | None
    images: int

    @property
    def differs(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low is not None and self.high is not None and (self.low > 0.0 or self.high < 0.0)


def class_changes(dense: "Evaluation", variant: "Evaluation", *, confidence: float = 0.95) -> list[ClassChange]:
    """The classes that occur, most lost first.

    Accuracy: Tango's score interval on the images of the class; IoU: a paired bootstrap over images. The intervals are
    widened (Bonferroni) so that, with ``confidence``, all of them are right at the same time: among many classes some
    would else seem to have changed by chance.

    Raises:
        MeasurementError: when the evaluations were not taken on the same images, or images are not kept.
    """
    check_paired(dense, variant)
    if dense.correct is not None and variant.correct is not None and dense.targets is not None:
        found = _accuracies(dense.targets, dense.correct, variant.correct, confidence)
    elif dense.image_confusions is not None and variant.image_confusions is not None:
        found = _ious(dense.image_confusions, variant.image_confusions, confidence)
    else:
        raise MeasurementError("A paired comparison needs the results of every image; evaluate both models again.")
    return sorted(found, key=lambda change: (change.difference, change.label))


def _accuracies(
    targets: np.ndarray[Any, Any], before: np.ndarray[Any, Any], after: np.ndarray[Any, Any], confidence: float
) -> list[ClassChange]:
    labels = np.unique(targets)
    each = 1.0 - (1.0 - confidence) / max(1, len(labels))
    found = []
    for label in labels.tolist():
        mine = targets == label
        n = int(mine.sum())
        lost, gained = int((mine & before & ~after).sum()), int((mine & ~before & after).sum())
        low, high = paired_accuracy_interval(lost, gained, n, confidence=each)
        dense, variant = float(before[mine].mean()), float(after[mine].mean())
        found.append(ClassChange(label, dense, variant, (gained - lost) / n, low, high, n))
    return found


def _ious(before_NKK: np.ndarray[Any, Any], after_NKK: np.ndarray[Any, Any], confidence: float) -> list[ClassChange]:
    before, after = iou_parts(before_NKK), iou_parts(after_NKK)
    if before.shape != after.shape:
        raise MeasurementError("A paired comparison needs the same images and classes in both evaluations.")
    n, _, classes = before.shape
    shown_in = np.count_nonzero(np.asarray(before_NKK).sum(2) > 0, axis=0)
    dense, variant = _iou(before.sum(0)), _iou(after.sum(0))
    known = np.flatnonzero(np.isfinite(dense) & np.isfinite(variant))
    each = 1.0 - (1.0 - confidence) / max(1, len(known))
    lows, highs = np.full(classes, np.nan), np.full(classes, np.nan)
    if n > 1:
        drawn = [
            _iou((counts @ after.reshape(n, -1)).reshape(-1, 2, classes))
            - _iou((counts @ before.reshape(n, -1)).reshape(-1, 2, classes))
            for counts in resamples(n)
        ]
        differences = np.concatenate(drawn)
        for label in known:
            if shown_in[label] > 1:
                low, high = percentiles(differences[:, label], each)
                gap = variant[label] - dense[label]
                lows[label], highs[label] = min(low, gap), max(high, gap)
    return [
        ClassChange(
            int(label),
            float(dense[label]),
            float(variant[label]),
            float(variant[label] - dense[label]),
            float(lows[label]) if np.isfinite(lows[label]) else None,
            float(highs[label]) if np.isfinite(highs[label]) else None,
            int(shown_in[label]),
        )
        for label in known
    ]


def _iou(sums: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """``[..., 2, K]`` → ``[..., K]``; NaN where a class is neither there nor predicted."""
    union = sums[..., 1, :]
    return np.where(union > 0, sums[..., 0, :] / np.where(union > 0, union, 1.0), np.nan)
