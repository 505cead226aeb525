"""The layers of a model as a table: what each is, and its share of parameters, work and time."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st

from core.pruning.plan import Plan

from .format import plain, shape, short_paths
from .tables import select_row

__all__ = ["choose_layer", "layer_frame"]

_NAME_CHARS = 24  # as many as its column is wide


def layer_frame(description: Mapping[str, Any], *, plan: Plan, times: Mapping[str, float] | None) -> pd.DataFrame:
    """One row per layer of ``describe_model``; ``times``: layer → share of the measured time, 0…1."""
    rows = []
    for layer in description["layers"]:
        name = layer["name"]
        fixed = plan.overrides.get(name)
        state = plan.patterns.get(name, "") if fixed is None else f"{100 * fixed:.1f} %"
        state = "protected" if name in plan.protected else state
        rows.append(
            {
                "layer": plain(name),
                "type": layer["kind"],
                "output": shape(layer["output_shape"]),
                "parameters": layer["parameters"],
                "macs": layer["macs"],
                "time": None if times is None else times.get(name, 0.0),
                "plan": state,
                "prunable": bool(layer["prunable"]),
            }
        )
    return pd.DataFrame(rows)


def _longest(frame: pd.DataFrame) -> float:
    """The largest share of time: where the bars end."""
    shares = pd.to_numeric(frame["time"]).dropna()
    return float(shares.max()) if len(shares) and shares.max() > 0 else 1.0


def choose_layer(frame: pd.DataFrame, *, key: str) -> str | None:
    """Draw the table and return the name of the chosen layer, which always is one where there are any."""
    if frame.empty:
        return None
    shown = frame.drop(columns=["prunable"]).assign(
        layer=short_paths(frame["layer"], _NAME_CHARS), macs=pd.to_numeric(frame["macs"]) / 1e6
    )
    if shown["time"].isna().all():
        shown = shown.drop(columns=["time"])
    if not shown["plan"].any():
        shown = shown.drop(columns=["plan"])
    columns = {
        "layer": st.column_config.TextColumn("Layer", width=150),
        "type": st.column_config.TextColumn("Type", width=70),
        "output": st.column_config.TextColumn("Output", width=100, help="Shape of the output of one example"),
        "parameters": st.column_config.NumberColumn("Parameters", format="localized", width=85),
        "macs": st.column_config.NumberColumn("MMACs", format="%.3f", width=70, help="Million MACs of one example"),
        "time": st.column_config.ProgressColumn(
            "Time", format="percent", width=95, min_value=0, max_value=_longest(frame),
            help="Share of the measured time of one forward pass in PyTorch",
        ),
        "plan": st.column_config.TextColumn("Plan", width=75, help="What the draft plan fixes for this layer"),
    }  # fmt: skip
    alt = f"{len(frame)} layers with type, output shape, parameters and multiply–accumulates."
    position = select_row(
        shown, key=key, alt=alt, columns={name: columns[name] for name in shown.columns}, most_rows=13
    )
    return None if position is None else str(frame.iloc[position]["layer"])
