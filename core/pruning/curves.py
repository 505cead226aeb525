"""Sensitivity curves made usable: the loss that a layer adds as a function of its sparsity. Numpy only.

``curve`` reads measured points, ``convex_curve`` makes them monotone and convex as the allocation needs them.
A curve is a pair of arrays: sparsity, ascending from 0, and the added loss there.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["DOUBT", "convex_curve", "curve", "isotonic", "lower_hull", "share_by_price", "with_doubt"]

Array = NDArray[np.float64]

# Beyond the last measured level the added loss is continued as a/(1 − s): ever steeper, so that no layer is emptied
# because nobody measured there. A decision of ours (METHODS: [D]).
_BEYOND = (0.25, 0.5, 0.75, 0.9, 0.95, 0.99)

DOUBT = 3.0
"""How many times the added-up prediction it may be wrong by, see ``with_doubt``."""

_GRID = np.append(np.arange(100) / 100.0, [0.995, 0.999, 1.0])


def curve(points: Sequence[Mapping[str, Any]], value: str = "dloss") -> tuple[Array, Array]:
    """Sparsities and values of one layer's measured points, with the origin added.

    A level whose value is missing (the loss was not finite) counts as ten times the largest value of the layer, and
    at least 10: certainly worse than all that was measured.
    """
    ordered = sorted(points, key=lambda point: float(point["sparsity"]))
    sparsities = np.array([0.0] + [float(p["sparsity"]) for p in ordered])
    values = np.array([0.0] + [np.nan if p[value] is None else float(p[value]) for p in ordered])
    missing = ~np.isfinite(values)
    if missing.any():
        values[missing] = max(10.0, 10.0 * float(np.max(np.abs(values[~missing]))))
    keep = np.append(True, np.diff(sparsities) > 0)  # a measured level 0 says nothing new
    return sparsities[keep], values[keep]


def isotonic(values: Array) -> Array:
    """Least-squares non-decreasing fit (pool adjacent violators)."""
    blocks: list[tuple[float, int]] = []
    for value in values:
        blocks.append((float(value), 1))
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (upper, n), (lower, m) = blocks.pop(), blocks.pop()
            blocks.append(((upper * n + lower * m) / (n + m), n + m))
    return np.concatenate([np.full(count, mean) for mean, count in blocks])


def lower_hull(x: Array, y: Array) -> tuple[Array, Array]:
    """Corners of the largest convex function below the points (x ascending)."""
    corners: list[tuple[float, float]] = []
    for point in zip(x.tolist(), y.tolist(), strict=True):
        while len(corners) > 1:
            (x0, y0), (x1, y1) = corners[-2], corners[-1]
            if (y1 - y0) * (point[0] - x0) < (point[1] - y0) * (x1 - x0):
                break
            corners.pop()
        corners.append(point)
    return np.array([c[0] for c in corners]), np.array([c[1] for c in corners])


def convex_curve(points: Sequence[Mapping[str, Any]]) -> tuple[Array, Array]:
    """Measured ``dloss`` of one layer as a non-decreasing convex curve from (0, 0) to sparsity 1.

    Pruning that lowers the loss on the selection images counts as free (0), not as a gain: the gain is noise as often
    as not.
    """
    x, y = curve(points)
    y = isotonic(np.maximum(y, 0.0))
    y -= y[0]
    x, y = lower_hull(x, y)
    last = float(x[-1])
    if last < 1.0 and len(x) > 1:
        slope = (y[-1] - y[-2]) / (x[-1] - x[-2])
        beyond = np.array([last + (1.0 - last) * part for part in _BEYOND])
        # f(s) = f(last) + slope·(1 − last)·(s − last)/(1 − s), whose slope at ``last`` is the measured one
        extra = slope * (1.0 - last) * (beyond - last) / (1.0 - beyond)
        # the barrier is infinite at 1: the last piece goes on at a hundred times the slope before it
        end = extra[-1] + 100.0 * (extra[-1] - extra[-2]) / (beyond[-1] - beyond[-2]) * (1.0 - beyond[-1])
        x = np.concatenate([x, beyond, [1.0]])
        y = np.concatenate([y, y[-1] + extra, [y[-1] + end]])
    return x, y


def with_doubt(
    curves: Sequence[tuple[Array, Array]], sizes: Sequence[float], target: float
) -> list[tuple[Array, Array]]:
    """Convex curves plus what measurements of single layers cannot know: that layers fail together.

    In a residual network one layer can be emptied without loss, because the others carry on; many cannot. So each
    curve gets κ·size/N·φ(s) with φ(s) = −log(1 − s)/−log(1 − target), which alone would prune all layers alike, and
    κ = ``DOUBT`` × the loss that the curves predict when all layers are pruned to ``target``. Where the curves show
    clear differences they decide; where they are flat the doubt does. A decision of ours (METHODS: [D]); on ResNet-56
    at 80 % it took one-shot accuracy after recalibration from 67 % (no doubt) to 84 % (500 test images).

    Args:
        curves: (sparsity 0…1, added loss), convex.
        sizes: weights per layer.
        target: fraction of all weights to be removed, above 0 and below 1.
    """
    doubt = DOUBT * sum(float(np.interp(target, x, y)) for x, y in curves) / sum(sizes)
    answer = []
    for (x, y), size in zip(curves, sizes, strict=True):
        grid = np.unique(np.round(np.concatenate([x, _GRID]), 6))  # no two points so close that a slope is noise
        barrier = np.log1p(-grid[:-1]) / np.log1p(-target)
        # infinite at 1: the last piece goes on at a hundred times the slope before it, as in ``convex_curve``
        slope = (barrier[-1] - barrier[-2]) / (grid[-2] - grid[-3])
        barrier = np.append(barrier, barrier[-1] + 100.0 * slope * (grid[-1] - grid[-2]))
        answer.append((grid, np.interp(grid, x, y) + doubt * size * barrier))
    return answer


def share_by_price(
    curves: Sequence[tuple[Array, Array]], sizes: Sequence[float], limits: Array, target: float
) -> Array:
    """How much each member gives so that together they give ``target``, one more unit costing the same loss everywhere.

    Segments of the curves (with doubt, see ``with_doubt``) are taken in the order of loss per given unit; λ, the price
    at which the target is met, is bisected; segments of exactly that price share what is left in proportion.

    Args:
        curves: (fraction given 0…1, added loss), convex.
        sizes: what each member could give as a whole: weights, parameters, MACs, milliseconds.
        limits: what it may give at most.
        target: above 0, and less than all sizes together.

    Returns:
        ``float64 [members]``, not rounded.
    """
    lengths, prices = [], []
    for size, (x, y) in zip(sizes, with_doubt(curves, sizes, target / sum(sizes)), strict=True):
        lengths.append(np.diff(x) * size)
        prices.append(np.maximum.accumulate(np.diff(y) / (np.diff(x) * size)))

    def given(price: float, *, including: bool) -> Array:
        taken = [
            length[p <= price].sum() if including else length[p < price].sum()
            for length, p in zip(lengths, prices, strict=True)
        ]
        return np.minimum(np.array(taken), limits)

    every_price = np.unique(np.concatenate(prices))
    low, high = 0, len(every_price) - 1
    while low < high:
        middle = (low + high) // 2
        if given(every_price[middle], including=True).sum() >= target:
            high = middle
        else:
            low = middle + 1
    below, upto = given(every_price[low], including=False), given(every_price[low], including=True)
    room = upto - below
    part = (target - below.sum()) / room.sum() if room.sum() > 0 else 0.0
    answer: Array = below + np.clip(part, 0.0, 1.0) * room
    return answer
