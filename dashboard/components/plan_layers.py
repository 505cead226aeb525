"""The layers of a plan as an editable table: fix a sparsity, protect, or do so in bulk by kind, stage or pattern."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from core.errors import PlanError
from core.pruning.plan import Plan
from core.store.records import Model
from dashboard.components.patterns import compiled

__all__ = ["edited_plan", "kinds_of", "layer_frame", "match_layers", "prunable_layers", "stages_of", "weight_count"]

FIXED = "fixed at %"
PROTECTED = "protected"


def layer_frame(layers: Sequence[Mapping[str, Any]], plan: Plan, planned: Mapping[str, float]) -> pd.DataFrame:
    """One row per prunable layer in execution order. ``planned``: the sparsity each layer gets under this plan."""
    return pd.DataFrame(
        {
            "layer": [str(layer["name"]) for layer in layers],
            "kind": [str(layer.get("kind", "")) for layer in layers],
            "weights": [weight_count(layer) for layer in layers],
            "planned %": [100.0 * planned.get(layer["name"], float("nan")) for layer in layers],
            FIXED: pd.array(
                [
                    None if layer["name"] not in plan.overrides else round(100.0 * plan.overrides[layer["name"]], 2)
                    for layer in layers
                ],
                dtype="Float64",
            ),
            PROTECTED: [layer["name"] in plan.protected for layer in layers],
        }
    )


def edited_plan(plan: Plan, frame: pd.DataFrame) -> Plan:
    """The plan with what the table now says. Layers outside the table keep what they had.

    Raises:
        PlanError: when a cell is not a percentage from 0 to below 100; it names the layer.
    """
    shown = set(frame["layer"])
    overrides = {name: value for name, value in plan.overrides.items() if name not in shown}
    protected = [name for name in plan.protected if name not in shown]
    for name, fixed, keep_dense in zip(frame["layer"], frame[FIXED], frame[PROTECTED], strict=True):
        if keep_dense:
            protected.append(name)
        elif not pd.isna(fixed):
            if not 0.0 <= float(fixed) < 100.0:
                raise PlanError(
                    f"The sparsity of {name} must be at least 0 % and below 100 %; {float(fixed):g} % came. "
                    "Clear the cell to let the allocation decide."
                )
            # A cell shows two decimals: what the person did not touch keeps its exact value.
            before = plan.overrides.get(name)
            same = before is not None and round(100.0 * before, 2) == round(float(fixed), 2)
            overrides[name] = before if same and before is not None else float(fixed) / 100.0
    return plan.changed(overrides=overrides, protected=tuple(protected))


def prunable_layers(model: Model) -> list[dict[str, Any]]:
    """The prunable layers of a model's description, in execution order."""
    return [layer for layer in model.description.get("layers", ()) if layer.get("prunable")]


def weight_count(layer: Mapping[str, Any]) -> int:
    """Number of weights (without bias) of a layer of the model's description."""
    count = 1
    for size in layer.get("weight_shape") or (int(layer.get("parameters") or 0),):
        count *= int(size)
    return count


def kinds_of(layers: Sequence[Mapping[str, Any]]) -> list[str]:
    """Kinds of the layers, in order of appearance."""
    return list(dict.fromkeys(str(layer.get("kind", "")) for layer in layers))


def stages_of(layers: Sequence[Mapping[str, Any]]) -> list[str]:
    """Stages of the layers, in order of appearance."""
    return list(dict.fromkeys(str(layer.get("stage") or "") for layer in layers if layer.get("stage")))


def match_layers(
    layers: Sequence[Mapping[str, Any]],
    *,
    kinds: Sequence[str] = (),
    stages: Sequence[str] = (),
    pattern: str = "",
) -> list[str]:
    """Names of the layers that fit every filter that is not empty; ``pattern`` is a regular expression.

    Raises:
        PlanError: when the pattern is not a regular expression.
    """
    wanted = compiled(pattern)
    return [
        str(layer["name"])
        for layer in layers
        if (not kinds or layer.get("kind") in kinds)
        and (not stages or (layer.get("stage") or "") in stages)
        and (wanted is None or wanted.search(str(layer["name"])))
    ]
