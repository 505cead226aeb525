"""Intervals and paired comparisons, so that no difference is claimed which the examples do not show.

Numpy only at import (scipy inside functions): pages use it without torch. Intervals are at 95 % unless told otherwise.
"""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import MeasurementError

if TYPE_CHECKING:
    from .evaluation import Evaluation

__all__ = [
    "PairedComparison",
    "bootstrap_miou",
    "changed_images",
    "compare_paired",
    "mcnemar_exact",
    "mean_iou",
    "paired_accuracy_interval",
    "paired_bootstrap_miou",
    "wilson_interval",
]

RESAMPLES = 2000
RESAMPLES_AT_ONCE = 200
BOOTSTRAP_SEED = 0


def normal_quantile(confidence: float) -> float:
    """The z of a two-sided interval: 1.96 for 0.95."""
    from statistics import NormalDist

    return NormalDist().inv_cdf((1.0 + confidence) / 2.0)


def wilson_interval(k: int, n: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """Score interval of a proportion of ``k`` successes in ``n`` trials (Wilson 1927); (0, 1) without trials."""
    if not 0 <= k <= n:
        raise MeasurementError(f"Successes must lie between 0 and the number of trials; got {k} of {n}.")
    if n == 0:
        return 0.0, 1.0
    z = normal_quantile(confidence)
    share = k / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    # At the ends the formula is exact, but its rounding is not.
    return (0.0 if k == 0 else max(0.0, centre - half)), (1.0 if k == n else min(1.0, centre + half))


def mcnemar_exact(b: int, c: int) -> float:
    """Two-sided exact p-value of McNemar's test; ``b`` and ``c`` count the examples on which the two models differ."""
    from scipy.stats import binom

    if b + c == 0:
        return 1.0
    return float(min(1.0, 2.0 * binom.cdf(min(b, c), b + c, 0.5)))


def paired_accuracy_interval(b: int, c: int, n: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """Score interval of a paired difference of proportions, (c − b) / n (Tango 1998, Statistics in Medicine 17:891).

    ``b``: examples right only in the first model, ``c``: right only in the second, of ``n``. It keeps its coverage
    for small counts and has a width even when the models agree everywhere.
    """
    if min(b, c) < 0 or b + c > n or n < 1:
        raise MeasurementError(f"Counts of a paired comparison must fit: got {b} and {c} of {n} examples.")
    z = normal_quantile(confidence)
    estimate = (c - b) / n

    def score(delta: float) -> float:
        """Tango's statistic: how far the data lie from a true difference ``delta``; falls as delta grows."""
        first, second, third = 2.0 * n, -c - b + (2.0 * n - c + b) * delta, -b * delta * (1.0 - delta)
        root = max(0.0, second * second - 4.0 * first * third)
        nuisance = (math.sqrt(root) - second) / (2.0 * first)
        variance = n * (2.0 * nuisance + delta * (1.0 - delta))
        distance = c - b - n * delta
        if variance <= 1e-12:
            return 0.0 if abs(distance) < 1e-12 else math.copysign(math.inf, distance)
        return distance / math.sqrt(variance)

    low = _bisect(lambda delta: score(delta) <= z, -1.0, estimate)
    high = _bisect(lambda delta: score(delta) < -z, estimate, 1.0)
    return low, high


def _bisect(reached: Callable[[float], bool], low: float, high: float) -> float:
    """Where a condition that is false at ``low`` becomes true on the way to ``high``; ``low`` if true there already."""
    if reached(low):
        return low
    for _ in range(60):
        middle = (low + high) / 2.0
        if reached(middle):
            high = middle
        else:
            low = middle
    return high


def iou_parts(confusions_NKK: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """float64 ``[N, 2, K]``: intersection and union of every class in every image (rows are targets)."""
    confusions = np.asarray(confusions_NKK, np.float64)
    intersection = np.diagonal(confusions, axis1=1, axis2=2)
    union = confusions.sum(1) + confusions.sum(2) - intersection
    return np.stack([intersection, union], axis=1)


def _miou_of_sums(sums: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """mIoU ``[...]`` from summed parts ``[..., 2, K]``: the mean over the classes that occur; NaN when none does."""
    intersection, union = sums[..., 0, :], sums[..., 1, :]
    present = union > 0
    ious = np.where(present, intersection / np.where(present, union, 1.0), 0.0)
    counted = present.sum(-1)
    return np.where(counted > 0, ious.sum(-1) / np.maximum(counted, 1), np.nan)


def mean_iou(confusion_KK: np.ndarray[Any, Any]) -> float:
    """mIoU of one confusion matrix (rows are targets): the mean over the classes that occur in either."""
    return float(_miou_of_sums(iou_parts(np.asarray(confusion_KK)[None])[0]))


def resampled_miou(parts: np.ndarray[Any, Any], counts: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """mIoU ``[r]`` of images ``parts`` ``[N, 2, K]`` that count ``counts`` ``[r, N]`` times."""
    n, _, classes = parts.shape
    return _miou_of_sums((counts @ parts.reshape(n, -1)).reshape(len(counts), 2, classes))


def resamples(n: int) -> Any:
    """How often each of n images is drawn, in blocks ``[r, n]``; the same for every caller."""
    generator = np.random.default_rng(BOOTSTRAP_SEED)
    for _ in range(0, RESAMPLES, RESAMPLES_AT_ONCE):
        drawn = generator.integers(0, n, (RESAMPLES_AT_ONCE, n)) + n * np.arange(RESAMPLES_AT_ONCE)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=RESAMPLES_AT_ONCE * n)
        yield counts.reshape(RESAMPLES_AT_ONCE, n).astype(np.float64)


def bootstrap_miou(confusions_NKK: np.ndarray[Any, Any], *, confidence: float = 0.95) -> tuple[float, float]:
    """Percentile bootstrap interval of the mIoU over images; integers ``[N, K, K]``, rows are targets.

    Images are the units, since pixels of one image are not independent. (0, 1) for fewer than two images.
    """
    return miou_interval(iou_parts(confusions_NKK), confidence=confidence)


def miou_interval(parts_N2K: np.ndarray[Any, Any], *, confidence: float = 0.95) -> tuple[float, float]:
    """``bootstrap_miou`` from the ``iou_parts`` of images."""
    parts = np.asarray(parts_N2K, np.float64)
    if len(parts) < 2:
        return 0.0, 1.0
    values = np.concatenate([resampled_miou(parts, counts) for counts in resamples(len(parts))])
    return percentiles(values, confidence)


def miou_of_parts(parts_N2K: np.ndarray[Any, Any]) -> float:
    """mIoU over all pixels of images, from their ``iou_parts``."""
    return float(_miou_of_sums(np.asarray(parts_N2K, np.float64).sum(0)))


def paired_bootstrap_miou(
    first_NKK: np.ndarray[Any, Any], second_NKK: np.ndarray[Any, Any], *, confidence: float = 0.95
) -> tuple[float, float, float]:
    """(low, high, p) of the difference second − first in mIoU: both models see the same resampled images."""
    first, second = iou_parts(first_NKK), iou_parts(second_NKK)
    if first.shape != second.shape:
        raise MeasurementError("A paired comparison needs the same images and classes in both evaluations.")
    if len(first) < 2:
        return -1.0, 1.0, 1.0
    differences = np.concatenate(
        [resampled_miou(second, counts) - resampled_miou(first, counts) for counts in resamples(len(first))]
    )
    low, high = percentiles(differences, confidence)
    tail = min(np.count_nonzero(differences <= 0), np.count_nonzero(differences >= 0))
    return low, high, float(min(1.0, 2.0 * (tail + 1) / (len(differences) + 1)))


def percentiles(values: np.ndarray[Any, Any], confidence: float) -> tuple[float, float]:
    tail = (1.0 - confidence) / 2.0
    low, high = np.nanquantile(values, [tail, 1.0 - tail])
    return float(low), float(high)


@dataclass(frozen=True)
class PairedComparison:
    """A variant against the dense model on the same images. ``difference`` is variant − dense, as a fraction.

    ``differs``: whether the 95 % interval (low, high) leaves out 0. ``sentence`` says it to people, in points.
    """

    difference: float
    low: float
    high: float
    p_value: float
    n: int
    metric: str
    method: str
    differs: bool
    sentence: str

    def to_json(self) -> dict[str, Any]:
        """All fields as a JSON-serialisable dict."""
        return asdict(self)


def compare_paired(dense: "Evaluation", variant: "Evaluation") -> PairedComparison:
    """Compare two evaluations of the same images: Tango's interval and McNemar's test, or a paired bootstrap.

    Raises:
        MeasurementError: when they were not taken on the same images with the same metric.
    """
    check_paired(dense, variant)
    difference = variant.score - dense.score
    if dense.correct is not None and variant.correct is not None:
        lost = int(np.count_nonzero(dense.correct & ~variant.correct))
        gained = int(np.count_nonzero(~dense.correct & variant.correct))
        low, high = paired_accuracy_interval(lost, gained, dense.n)
        p_value = mcnemar_exact(lost, gained)
        method = "Tango's score interval, McNemar's exact test"
    elif dense.image_confusions is not None and variant.image_confusions is not None:
        low, high, p_value = paired_bootstrap_miou(dense.image_confusions, variant.image_confusions)
        low, high = min(low, difference), max(high, difference)
        method = "paired bootstrap over images"
    else:
        raise MeasurementError("A paired comparison needs the results of every image; evaluate both models again.")
    differs = low > 0.0 or high < 0.0
    return PairedComparison(
        difference=difference,
        low=low,
        high=high,
        p_value=p_value,
        n=dense.n,
        metric=dense.metric,
        method=method,
        differs=differs,
        sentence=_sentence(difference, low, high, dense.n, differs),
    )


def changed_images(dense: "Evaluation", variant: "Evaluation") -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Positions in the split of the images that the variant gets worse, and better, most changed first.

    Classification: where the prediction turned wrong, or right (ordered by the change of the loss). Segmentation:
    where the share of right pixels fell, or rose.

    Raises:
        MeasurementError: when the evaluations are not of the same images.
    """
    check_paired(dense, variant)
    change = variant.agreement.astype(np.float64) - dense.agreement
    size = np.abs(change) if dense.correct is None else np.abs(np.nan_to_num(variant.losses - dense.losses, posinf=1e9))
    order = np.argsort(-size, kind="stable")
    return dense.indices[order[change[order] < 0]], dense.indices[order[change[order] > 0]]


def check_paired(dense: "Evaluation", variant: "Evaluation") -> None:
    same = (
        dense.metric == variant.metric
        and dense.split == variant.split
        and dense.data == variant.data
        and np.array_equal(dense.indices, variant.indices)
    )
    if not same:
        raise MeasurementError(
            "Two evaluations can be compared when they were taken on the same images; these are "
            f"{dense.metric} on {dense.n:,} {dense.split} images and {variant.metric} on {variant.n:,} "
            f"{variant.split} images{'' if dense.data == variant.data else ' of other data'}."
        )


def _sentence(difference: float, low: float, high: float, n: int, differs: bool) -> str:
    images = f"{n:,} image{'s' if n != 1 else ''}"
    interval = f"95 % interval {_points(low)} … {_points(high)}"
    if not differs:
        return f"no difference shown on {images} ({_points(difference)} points, {interval})"
    direction = "better" if difference > 0 else "worse"
    return f"{abs(100.0 * difference):.1f} points {direction} ({interval}, {images})"


def _points(fraction: float) -> str:
    """A fraction in percentage points with a sign: "+0.5", "−1.1", "0.0"."""
    text = f"{abs(100.0 * fraction):.1f}"
    return text if float(text) == 0.0 else f"{'+' if fraction > 0 else '−'}{text}"
