"""Sorted importance scores of a layer, exact or summarised, and the search for a threshold over many layers.

Numpy only: the Plan page previews allocations from the quantile tables of ``core.analysis.weights``; a run uses the
exact scores of every weight. Both go through the same code.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["LayerScores", "lamp_scores", "threshold_counts"]

Array = NDArray[Any]


@dataclass(frozen=True)
class LayerScores:
    """One layer's weights as an allocation sees them.

    ``scores`` are ascending and at least 0. With ``len(scores) == size`` they are the exact score of every weight;
    otherwise they are quantiles at evenly spaced probabilities 0…1 that stand for ``size`` weights. Allocations that
    look only at shapes or at sensitivity curves accept ``None``.
    """

    name: str
    shape: tuple[int, ...]
    size: int
    scores: Array | None = field(default=None, repr=False)

    @property
    def exact(self) -> bool:
        """Whether there is one score for every weight."""
        return self.scores is not None and len(self.scores) == self.size

    @property
    def limit(self) -> int:
        """How many weights may go at most: one always stays."""
        return max(self.size - 1, 0)


def lamp_scores(layer: LayerScores) -> LayerScores:
    """Layer-adaptive magnitude scores: w_u² / Σ_{v ≥ u} w_v² over ascending weights (Lee et al., ICLR 2021, eq. 3).

    Among equal weights the order of the sorted array counts, as in the paper, so that a constant layer does not fall
    as one. A zero weight scores 0. For a quantile table the sum is the integral of the squared, piecewise linear
    quantile function, times the number of weights.
    """
    assert layer.scores is not None
    ordered = layer.scores.astype(np.float64)
    # Scale first: squares of tiny weights would underflow. The score does not change with scale.
    largest = float(ordered[-1]) if len(ordered) else 0.0
    squared = (ordered / largest) ** 2 if largest > 0 else np.zeros_like(ordered)
    if layer.exact:
        tail = np.cumsum(squared[::-1])[::-1]
    else:
        low, high = np.sqrt(squared[:-1]), np.sqrt(squared[1:])
        pieces = (squared[:-1] + low * high + squared[1:]) / 3.0 * (layer.size / (len(ordered) - 1))
        tail = np.append(np.cumsum(pieces[::-1])[::-1], 0.0) + squared
    scores = np.divide(squared, tail, out=np.zeros_like(squared), where=squared > 0)
    # Rounding in the running sum may not turn the order of the weights around.
    return LayerScores(layer.name, layer.shape, layer.size, np.maximum.accumulate(scores))


def _count(layer: LayerScores, threshold: Any, *, including: bool) -> float:
    """How many of the layer's weights score below the threshold (or at most the threshold)."""
    scores = layer.scores
    assert scores is not None
    side: Any = "right" if including else "left"
    position = int(scores.searchsorted(threshold, side=side))
    if layer.exact:
        return min(position, layer.limit)
    if position == 0:
        share = 0.0
    elif position >= len(scores):
        share = 1.0
    else:  # between two quantiles the distribution is taken as uniform
        below, above = float(scores[position - 1]), float(scores[position])
        part = (float(threshold) - below) / (above - below) if above > below else 0.0
        share = (position - 1 + part) / (len(scores) - 1)
    return min(share * layer.size, layer.limit)


def threshold_counts(layers: Sequence[LayerScores], remove: int) -> dict[str, int]:
    """Cut all layers at one common threshold so that exactly ``remove`` weights fall, at least one staying in each.

    Equal scores at the threshold fall in the order of the layers. Exact scores give the result of one stable sort
    over all weights (each layer's last weight left out), without that sort: the threshold is bisected over the bit
    patterns of the floats, which order non-negative numbers as integers do.
    """
    usable = [layer for layer in layers if layer.limit > 0]
    counts = {layer.name: 0 for layer in layers}
    if not usable or remove <= 0:
        return counts
    wide = any(layer.scores is not None and layer.scores.dtype == np.float64 for layer in usable)
    real, integer = (np.float64, np.uint64) if wide else (np.float32, np.uint32)
    usable = [LayerScores(x.name, x.shape, x.size, np.asarray(x.scores, dtype=real)) for x in usable]

    def as_float(bits: int) -> Any:
        return np.array(bits, dtype=integer).view(real)[()]

    # the smallest threshold at which enough weights score at most that much
    low, high = 0, int(np.array(max(x.scores[-1] for x in usable if x.scores is not None), dtype=real).view(integer))
    while low < high:
        middle = (low + high) // 2
        tried = as_float(middle)
        if sum(math.floor(_count(x, tried, including=True)) for x in usable) >= remove:
            high = middle
        else:
            low = middle + 1
    threshold = as_float(low)
    ceilings = {}
    for layer in usable:
        counts[layer.name] = math.floor(_count(layer, threshold, including=False))
        ceilings[layer.name] = math.floor(_count(layer, threshold, including=True))
    left = remove - sum(counts.values())
    for name, ceiling in ceilings.items():
        more = max(0, min(left, ceiling - counts[name]))
        counts[name] += more
        left -= more
    # Quantile tables count fractions of weights: rounding down may have left a few over.
    for layer in usable if left > 0 else ():
        more = min(left, layer.limit - counts[layer.name])
        counts[layer.name] += more
        left -= more
    return counts
