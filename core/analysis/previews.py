"""A first look at sensitivity before anything is measured: what each level takes of the scores. Knows no torch."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..comb.sheet import GroupSheet
from ..pruning.estimate import LEVELS

__all__ = ["estimated", "group_preview", "preview_points", "shares_taken"]


def shares_taken(scores: np.ndarray[Any, Any], parts: Sequence[float]) -> list[float]:
    """The share of Σ score² that goes when each of ``parts`` (fractions) of the smallest scores goes."""
    running = np.append(0.0, np.cumsum(np.sort(np.asarray(scores, np.float64)) ** 2))
    places = np.linspace(0.0, 1.0, len(running))
    total = running[-1] or 1.0
    return [float(np.interp(part, places, running) / total) for part in parts]


def preview_points(levels: Sequence[float], shares: Sequence[float]) -> list[dict[str, Any]]:
    """One curve in the shape of ``measure_sensitivity``: ``dloss`` holds the shares, measured fields are None."""
    return [
        {"sparsity": level, "loss": None, "score": None, "low": None, "high": None, "n": 0}
        | {"dloss": share, "dloss_se": 0.0}
        for level, share in zip(levels, shares, strict=True)
    ]


def estimated(kind: str, curves: Mapping[str, Any], levels: Sequence[float]) -> dict[str, Any]:
    """Preview curves of layers or groups as a result that says that it is an estimate."""
    return {
        "estimated": True,
        "basis": "scores",
        "complete": True,
        "kind": kind,
        "metric": "relative energy removed",
        "n": 0,
        "dense": {"loss": None, "score": None, "low": None, "high": None, "n": 0},
        "settings": {"levels": list(levels)},
        "layers": {},
        "groups": {},
        kind: dict(curves),
    }


def group_preview(
    sheet: GroupSheet, *, criterion: str = "magnitude", levels: Sequence[float] = LEVELS
) -> dict[str, Any]:
    """The preview of every group from the scores in its sheet; no curves where the sheet lacks the criterion."""
    scores = sheet.scores.get(criterion, {})
    curves = {
        name: preview_points(
            levels, shares_taken(values, [round(level * len(values)) / len(values) for level in levels])
        )
        for name, values in scores.items()
    }
    return estimated("groups", curves, levels)
