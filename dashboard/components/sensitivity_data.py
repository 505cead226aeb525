"""A sensitivity result as matrices, curves and tables. Pure functions over the JSON of ``measure_sensitivity``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

__all__ = [
    "Curve",
    "Quantity",
    "cells_by_name",
    "curve",
    "damage_matrix",
    "images_seen",
    "levels_of",
    "measured_cells",
    "most_sensitive",
    "shown_cells",
    "table",
    "verdict",
]

Quantity = Literal["score", "loss"]


@dataclass(frozen=True)
class Curve:
    """One layer's measured points, sorted by sparsity, starting with the dense model at 0.

    ``y``, ``low`` and ``high`` hold the score as a fraction (quantity ``score``) or the increase of the loss in nats
    (quantity ``loss``, interval = ± 1.96 paired standard errors).
    """

    layer: str
    sparsity: list[float]
    y: list[float]
    low: list[float]
    high: list[float]


def cells_by_name(result: Mapping[str, Any]) -> Mapping[str, Any]:
    """The cells of every layer, or of every group where the result is one of groups."""
    return result.get(str(result.get("kind") or "layers")) or {}


def levels_of(result: Mapping[str, Any]) -> list[float]:
    """All sparsity levels that the settings ask for or that some layer already has, ascending."""
    asked = (result.get("settings") or {}).get("levels") or ()
    seen = {round(float(level), 6) for level in asked}
    for cells in cells_by_name(result).values():
        seen.update(round(float(cell["sparsity"]), 6) for cell in cells)
    seen.discard(0.0)
    return sorted(seen)


def damage(cell: Mapping[str, Any], result: Mapping[str, Any], quantity: Quantity) -> float:
    """What one cell costs: the score lost in points (0–100), or the loss gained in nats. NaN when not known."""
    if quantity == "score":
        score, dense = cell.get("score"), (result.get("dense") or {}).get("score")
        return float("nan") if score is None or dense is None else 100.0 * (float(dense) - float(score))
    gained = cell.get("dloss")
    if gained is None and cell.get("loss") is not None and (result.get("dense") or {}).get("loss") is not None:
        gained = float(cell["loss"]) - float(result["dense"]["loss"])
    return float("nan") if gained is None else float(gained)


def damage_matrix(
    result: Mapping[str, Any], layers: Sequence[str], quantity: Quantity, *, levels: Sequence[float] | None = None
) -> np.ndarray:
    """Damage [layers, levels]; NaN where nothing has been measured yet."""
    columns = {
        round(level, 6): index for index, level in enumerate(levels if levels is not None else levels_of(result))
    }
    matrix = np.full((len(layers), len(columns)), np.nan)
    for row, layer in enumerate(layers):
        for cell in cells_by_name(result).get(layer, ()):
            column = columns.get(round(float(cell["sparsity"]), 6))
            if column is not None:
                matrix[row, column] = damage(cell, result, quantity)
    return matrix


def shown_cells(result: Mapping[str, Any]) -> int:
    """How many pairs of layer (or group) and sparsity have a number, be it a first one on few images."""
    return sum(len(cells) for cells in cells_by_name(result).values())


def measured_cells(result: Mapping[str, Any]) -> int:
    """How many of them are measured for good."""
    return sum(cell.get("settled", True) for cells in cells_by_name(result).values() for cell in cells)


def images_seen(result: Mapping[str, Any]) -> float | None:
    """How many images a finished cell saw on average; None when none is finished, or all saw all."""
    seen = [
        cell["n"]
        for cells in cells_by_name(result).values()
        for cell in cells
        if cell.get("settled", True) and "n" in cell
    ]
    return None if not seen or min(seen) == result.get("n") else float(np.mean(seen))


def curve(result: Mapping[str, Any], layer: str, quantity: Quantity) -> Curve | None:
    """The curve of one layer, or None when none of its points has the quantity yet."""
    dense = result.get("dense") or {}
    points: list[tuple[float, float, float, float]] = []
    for cell in sorted(cells_by_name(result).get(layer, ()), key=lambda cell: cell["sparsity"]):
        if quantity == "score" and cell.get("score") is not None:
            low, high = cell.get("low"), cell.get("high")
            points.append((cell["sparsity"], cell["score"], _or(low, cell["score"]), _or(high, cell["score"])))
        elif quantity == "loss" and not np.isnan(damage(cell, result, "loss")):
            gained, error = damage(cell, result, "loss"), 1.96 * float(cell.get("dloss_se") or 0.0)
            points.append((cell["sparsity"], gained, gained - error, gained + error))
    if not points:
        return None
    if quantity == "score" and dense.get("score") is not None:
        start = (0.0, dense["score"], _or(dense.get("low"), dense["score"]), _or(dense.get("high"), dense["score"]))
    else:
        start = (0.0, 0.0, 0.0, 0.0)
    if (quantity == "loss" or dense.get("score") is not None) and points[0][0] > 0.0:
        points.insert(0, start)
    sparsity, y, low_values, high_values = (list(column) for column in zip(*points, strict=True))
    return Curve(layer=layer, sparsity=sparsity, y=y, low=low_values, high=high_values)


def most_sensitive(result: Mapping[str, Any], layers: Sequence[str], quantity: Quantity, *, count: int) -> list[str]:
    """The layers that lose most over all measured levels, worst first."""
    matrix = damage_matrix(result, layers, quantity)
    if not matrix.size or np.isnan(matrix).all():
        return []
    known = ~np.isnan(matrix)
    worst = np.where(known, matrix, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    order = np.argsort(-worst, kind="stable")
    measured = known.any(axis=1)
    return [layers[index] for index in order if measured[index]][:count]


def table(result: Mapping[str, Any], layers: Sequence[str]) -> pd.DataFrame:
    """One row per measured cell, in the order of the network: what the chart shows, as numbers."""
    metric = str(result.get("metric") or "score")
    rows = []
    for layer in layers:
        for cell in sorted(cells_by_name(result).get(layer, ()), key=lambda cell: cell["sparsity"]):
            rows.append(
                {
                    str(result.get("kind") or "layers").removesuffix("s"): layer,
                    "sparsity": cell["sparsity"],
                    metric: cell.get("score"),
                    f"{metric} low": cell.get("low"),
                    f"{metric} high": cell.get("high"),
                    f"{metric} lost (points)": damage(cell, result, "score"),
                    "loss": cell.get("loss"),
                    "loss gained": damage(cell, result, "loss"),
                    "standard error of loss gained": cell.get("dloss_se"),
                    "images": cell.get("n", result.get("n")),
                    "settled": cell.get("settled", True),
                }
            )
    return pd.DataFrame(rows)


def _or(value: float | None, default: float) -> float:
    return float(default if value is None else value)


def verdict(result: Mapping[str, Any], layers: Sequence[str], metric: str) -> str:
    """The one sentence to take away: how far most layers can go, and which layer suffers most there.

    It speaks of the highest level at which every layer has been measured and at least half of them stay within a
    point of the dense score (else of the lowest such level); empty before one level is settled.
    """
    levels = levels_of(result)
    matrix = damage_matrix(result, layers, "score", levels=levels)
    open_levels = {
        c["sparsity"] for cells in cells_by_name(result).values() for c in cells if not c.get("settled", True)
    }
    complete = [
        column
        for column, level in enumerate(levels)
        if not np.isnan(matrix[:, column]).any() and level not in open_levels
    ]
    if not complete:
        return ""
    what = str(result.get("kind") or "layers").removesuffix("s")
    calm = {column: int((matrix[:, column] < 1.0).sum()) for column in complete}
    column = max((c for c in complete if 2 * calm[c] >= len(layers)), default=complete[0])
    lost, percent = matrix[:, column], f"{100 * levels[column]:g} %"
    if calm[column] == len(layers):
        return f"At {percent} sparsity no {what} alone loses a point of {metric}."
    worst = int(np.argmax(lost))
    return (
        f"At {percent} sparsity {calm[column]} of {len(layers)} {what}s lose less than a point of {metric} each; "
        f"{layers[worst]} loses {lost[worst]:.1f} points."
    )
