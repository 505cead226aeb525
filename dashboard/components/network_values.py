"""What the boxes of a drawn network are coloured by: a number or a kind per layer, and what a box of many layers shows.

Pure functions; they know nothing of Streamlit.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from core.comb.counting import Counts
from dashboard.components.charts import PALETTE
from dashboard.components.format import percent, signed
from dashboard.components.sensitivity_data import cells_by_name, damage, levels_of

__all__ = ["KIND_COLOURS", "Colouring", "kind_of", "planned_of_groups", "sensitivity_of", "spec_of"]

_LEVEL = 0.5
"""Layers are compared by what each loses when half of it goes."""

KIND_COLOURS = {
    "convolution": PALETTE[0],
    "1×1 convolution": PALETTE[5],
    "depthwise convolution": PALETTE[3],
    "linear": PALETTE[1],
    "norm": PALETTE[6],
    "other": PALETTE[4],
}
"""Kinds of layers, in the order of the legend."""


@dataclass(frozen=True)
class Colouring:
    """A number per layer. ``title`` is for the legend; a box of several layers shows the largest or the sum (``join``).

    ``unit``: ``share`` (a fraction, written as per cent) or ``loss`` (nats). ``measured``: None where it is exact.
    """

    title: str
    values: Mapping[str, float]
    join: Literal["max", "sum", "weighted"]
    unit: Literal["share", "loss"]
    measured: bool | None
    weights: Mapping[str, float] | None = None

    def of(self, layers: Sequence[str]) -> float | None:
        """The value of a box; None where nothing is known of any of its layers."""
        known = [name for name in layers if name in self.values and math.isfinite(self.values[name])]
        if not known:
            return None
        if self.join == "weighted" and self.weights is not None:
            whole = sum(self.weights.get(name, 0.0) for name in known)
            part = sum(self.weights.get(name, 0.0) * self.values[name] for name in known)
            return part / whole if whole else 0.0
        values = [self.values[name] for name in known]
        return max(values) if self.join == "max" else sum(values)

    def words(self, value: float | None) -> str:
        """A value with its unit."""
        if value is None:
            return "not known"
        if self.unit != "loss":
            return percent(value)
        return f"{'+' if value >= 0 else ''}{signed(value)}"


def sensitivity_of(result: Mapping[str, Any], makers: Mapping[str, Sequence[str]] | None = None) -> Colouring:
    """The loss that each layer gains, pruned alone to about half; with weights only, the share of energy removed.

    ``makers``: row of the result → layers that it stands for; a group stands for those that make its units.
    """
    levels = levels_of(result)
    level = min(levels, key=lambda one: abs(one - _LEVEL), default=_LEVEL)
    values: dict[str, float] = {}
    for name, cells in cells_by_name(result).items():
        cell = next((cell for cell in cells if abs(float(cell["sparsity"]) - level) < 1e-6), None)
        if cell is not None:
            layers = (str(name),) if makers is None else makers.get(str(name), ())
            values |= dict.fromkeys(layers, damage(cell, result, "loss"))
    groups = result.get("kind") == "groups"
    if result.get("estimated"):
        title = "Scores of the units lost" if groups else "Weight energy lost"
        return Colouring(f"{title} at {100 * level:g} %", values, "max", "share", False)
    what = "its group is cut" if groups else "pruned"
    return Colouring(f"Loss gained when {what} alone to {100 * level:g} %", values, "max", "loss", True)


def planned_of_groups(left: Counts, dense: Counts) -> dict[str, float]:
    """The share of each layer's weight that a removal of groups takes away."""
    return {
        name: 1.0 - math.prod(left.weight_shapes[name]) / max(1, math.prod(shape))
        for name, shape in dense.weight_shapes.items()
        if name in left.weight_shapes
    }


def kind_of(layer: Mapping[str, Any]) -> str:
    """Key of ``KIND_COLOURS``."""
    kind, shape = str(layer.get("kind") or ""), list(layer.get("weight_shape") or [])
    if kind.startswith("Conv") and len(shape) > 2:
        if shape[1] == 1 and shape[0] > 1 and math.prod(shape[2:]) > 1:
            return "depthwise convolution"
        return "1×1 convolution" if math.prod(shape[2:]) == 1 else "convolution"
    if kind == "Linear":
        return "linear"
    return "norm" if "Norm" in kind else "other"


def spec_of(layer: Mapping[str, Any]) -> str:
    """A layer in a few signs, as papers write it: ``3×3, 64``, ``384 → 1,152``."""
    shape = list(layer.get("weight_shape") or [])
    if kind_of(layer) in ("convolution", "1×1 convolution", "depthwise convolution"):
        outputs = shape[1] if "Transpose" in str(layer.get("kind")) else shape[0]
        return f"{'×'.join(str(side) for side in shape[2:])}, {outputs:,}"
    if kind_of(layer) == "linear" and len(shape) == 2:
        return f"{shape[1]:,} → {shape[0]:,}"
    return "norm" if kind_of(layer) == "norm" else ""
