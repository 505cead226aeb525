"""The layers of a plan as an editable table: fix a sparsity, give a pattern, protect."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from core.pruning.patterns import pattern_of, pattern_problem
from core.pruning.plan import Plan
from core.store.records import Model
from dashboard.components.plan_choices import Item, choice_columns
from dashboard.components.plan_draft import with_bulk
from dashboard.components.plan_table import ChoiceTable

__all__ = ["layer_frame", "layer_items", "layer_table", "prunable_layers", "weight_count"]


def layer_frame(layers: Sequence[Mapping[str, Any]], plan: Plan, planned: Mapping[str, float]) -> pd.DataFrame:
    """One row per prunable layer in execution order. ``planned``: the sparsity each layer gets under this plan."""
    names = [str(layer["name"]) for layer in layers]
    return pd.DataFrame(
        {
            "layer": names,
            "kind": [str(layer.get("kind", "")) for layer in layers],
            "weights": [weight_count(layer) for layer in layers],
            "planned %": [100.0 * planned.get(name, float("nan")) for name in names],
            **choice_columns(
                [plan.overrides.get(name) for name in names],
                [name in plan.protected for name in names],
                [plan.patterns.get(name) for name in names],
            ),
        }
    )


def layer_items(layers: Sequence[Mapping[str, Any]]) -> list[Item]:
    """The layers as filters see them."""
    return [
        Item(str(layer["name"]), str(layer.get("kind", "")), str(layer.get("stage") or ""), (str(layer["name"]),))
        for layer in layers
    ]


def layer_table(layers: Sequence[Mapping[str, Any]], plan: Plan, planned: Mapping[str, float]) -> ChoiceTable:
    """The table of prunable layers under a plan."""
    shapes = {str(layer["name"]): layer.get("weight_shape") or () for layer in layers}
    items = layer_items(layers)

    def refusal(name: str, pattern: str) -> str | None:
        return pattern_problem(pattern_of(pattern), shapes.get(name, ()))

    return ChoiceTable(
        noun="layer",
        items=items,
        frame=layer_frame(layers, plan, planned),
        columns={
            "layer": st.column_config.TextColumn("Layer", width="medium"),
            "kind": st.column_config.TextColumn("Kind", width="small"),
            "weights": st.column_config.NumberColumn("Weights", format="localized", width="small"),
            "planned %": st.column_config.ProgressColumn("Planned, %", min_value=0, max_value=100, format="%.1f"),
        },
        write=with_bulk,
        kinds={item.kind: item.kind for item in items},
        refusal=refusal,
    )


def prunable_layers(model: Model) -> list[dict[str, Any]]:
    """The prunable layers of a model's description, in execution order."""
    return [layer for layer in model.description.get("layers", ()) if layer.get("prunable")]


def weight_count(layer: Mapping[str, Any]) -> int:
    """Number of weights (without bias) of a layer of the model's description."""
    count = 1
    for size in layer.get("weight_shape") or (int(layer.get("parameters") or 0),):
        count *= int(size)
    return count
