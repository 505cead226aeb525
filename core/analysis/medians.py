"""Medians with an interval that assumes nothing about the noise. Knows no torch."""

import math
from collections.abc import Sequence

import numpy as np

__all__ = ["interval_of_groups", "median_interval", "speed_verdict"]


def median_interval(values: Sequence[float] | np.ndarray, *, confidence: float = 0.95) -> tuple[float, float, float]:
    """Median, and the order statistics that enclose it with at least ``confidence`` (the sign test, inverted).

    The number of values below the true median is binomial(n, 1/2) whatever their distribution, so that outliers of a
    busy machine widen nothing. Below 6 values no pair of order statistics reaches 95 %: the interval is the range.
    """
    ordered = np.sort(np.asarray(values, dtype=float))
    n = len(ordered)
    if n == 0:
        raise ValueError("a median needs at least one value")
    rank, tail = 0, 0.5**n
    while rank < (n - 1) // 2 and 2 * tail <= 1 - confidence:
        rank += 1
        tail += math.comb(n, rank) * 0.5**n
    low = max(rank - 1, 0)
    return float(np.median(ordered)), float(ordered[low]), float(ordered[n - 1 - low])


def interval_of_groups(groups: Sequence[Sequence[float]]) -> tuple[float, float, float]:
    """The median of the groups' medians with its interval of 95 %: values within a group have something in common."""
    return median_interval([float(np.median(values)) for values in groups])


def speed_verdict(low: float, high: float, *, noise_low: float, noise_high: float) -> str:
    """``faster`` or ``slower`` only when the interval of a speed-up lies beyond 1 and beyond what the reference does
    against itself; else ``no difference shown``."""
    if low > max(1.0, noise_high):
        return "faster"
    if high < min(1.0, noise_low):
        return "slower"
    return "no difference shown"
