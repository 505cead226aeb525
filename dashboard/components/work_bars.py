"""Where the time goes, beside where the work is: two bars per layer, share of measured time and share of MACs."""

from collections.abc import Mapping
from typing import Any

import plotly.graph_objects as go
import streamlit as st

from dashboard.components.charts import ACCENT, MUTED, draw
from dashboard.components.fold import fold
from dashboard.components.format import chart_text, escape, percent, short
from dashboard.components.paired_bars import paired_bars

__all__ = ["Shares", "draw_work_bars", "layer_shares", "work_figure"]

_TALL_PX = 520

Shares = Mapping[str, tuple[float, float]]
"""Layer → share of the measured time and of the MACs."""


def draw_work_bars(description: Mapping[str, Any], times: Mapping[str, float]) -> None:
    """The picture and the layer where time and work are furthest apart."""
    shares = layer_shares(description, times)
    if shares:
        fold(
            "Time beside work, layer by layer",
            lambda: _draw(shares),
            key="work-bars-open",
            icon=":material/stacked_bar_chart:",
        )


def _draw(shares: Shares) -> None:
    name, (time, work) = max(shares.items(), key=lambda item: item[1][0] - item[1][1])
    if time > work:
        st.caption(
            escape(
                f"{short(name, 40)} takes {percent(time)} of the time for {percent(work)} of the work: memory, not "
                "arithmetic, or a kernel that its channel numbers do not suit.",
                markdown=True,
            )
        )
    picture = work_figure(shares)
    tall = picture.layout.height > _TALL_PX
    with st.container(height=_TALL_PX if tall else "content", border=False, key="work-bars-box"):
        draw(picture, key="work-bars", alt="Two bars per layer: share of the measured time and share of the MACs")


def layer_shares(description: Mapping[str, Any], times: Mapping[str, float]) -> Shares:
    """Share of the time and of the MACs of the layers with at least 0.2 % of either, in execution order."""
    total = max(1, sum(int(layer["macs"] or 0) for layer in description["layers"]))
    shares = {
        str(layer["name"]): (float(times.get(layer["name"], 0.0)), int(layer["macs"] or 0) / total)
        for layer in description["layers"]
    }
    return {name: pair for name, pair in shares.items() if max(pair) >= 0.002}


def work_figure(shares: Shares) -> go.Figure:
    """Two bars per layer."""
    names = list(shares)
    return paired_bars(
        names,
        [
            ("time, measured", [shares[name][0] for name in names], ACCENT),
            ("MACs", [shares[name][1] for name in names], MUTED),
        ],
        x_title="share of the whole network, %",
        hover_names=[chart_text(name, 60) for name in names],
    )
