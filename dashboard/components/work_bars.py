"""Where the time goes, beside where the work is: two bars per layer, share of measured time and share of MACs."""

from collections.abc import Mapping
from typing import Any

import plotly.graph_objects as go
import streamlit as st

from dashboard.components.charts import ACCENT, MUTED, draw, figure
from dashboard.components.format import chart_text, escape, percent, short

__all__ = ["draw_work_bars", "work_figure"]

_ROW_PX, _TALL_PX = 26, 520


def draw_work_bars(description: Mapping[str, Any], times: Mapping[str, float]) -> None:
    """The picture and the layer where time and work are furthest apart."""
    picture = work_figure(description, times)
    if picture is None:
        return
    with st.expander("Time beside work, layer by layer", icon=":material/stacked_bar_chart:"):
        shares = _shares(description, times)
        name, (time, work) = max(shares.items(), key=lambda item: item[1][0] - item[1][1])
        if time > work:
            st.caption(
                escape(
                    f"{short(name, 40)} takes {percent(time)} of the time for {percent(work)} of the work: memory, not "
                    "arithmetic, or a kernel that its channel numbers do not suit.",
                    markdown=True,
                )
            )
        tall = picture.layout.height > _TALL_PX
        with st.container(height=_TALL_PX if tall else "content", border=False, key="work-bars-box"):
            draw(picture, key="work-bars", alt="Two bars per layer: share of the measured time and share of the MACs")


def _shares(description: Mapping[str, Any], times: Mapping[str, float]) -> dict[str, tuple[float, float]]:
    """Layer → share of time and of MACs; layers that have neither are left out."""
    total = max(1, sum(int(layer["macs"] or 0) for layer in description["layers"]))
    shares = {
        str(layer["name"]): (float(times.get(layer["name"], 0.0)), int(layer["macs"] or 0) / total)
        for layer in description["layers"]
    }
    return {name: pair for name, pair in shares.items() if max(pair) >= 0.002}


def work_figure(description: Mapping[str, Any], times: Mapping[str, float]) -> go.Figure | None:
    """Bars of layers with at least 0.2 % of the time or of the MACs, in execution order; None without any."""
    shares = _shares(description, times)
    if not shares:
        return None
    names = list(shares)

    def bars(label: str, place: int, colour: str) -> dict[str, Any]:
        return {
            "type": "bar",
            "orientation": "h",
            "name": label,
            "x": [100.0 * shares[name][place] for name in names],
            "y": list(range(len(names))),
            "customdata": [chart_text(name, 60) for name in names],
            "hovertemplate": f"<b>%{{customdata}}</b><br>{label}: %{{x:.1f}} %<extra></extra>",
            "marker": {"color": colour, "line": {"width": 0}},
        }

    return figure(
        height=max(170, _ROW_PX * len(names) + 92),
        x_title="share of the whole network, %",
        traces=[bars("time, measured", 0, ACCENT), bars("MACs", 1, MUTED)],
        layout={
            "yaxis": {
                "tickmode": "array",
                "tickvals": list(range(len(names))),
                "ticktext": [chart_text(name, 34) for name in names],
                "range": [len(names) - 0.5, -0.5],
                "showgrid": False,
            },
            "xaxis": {"side": "top", "rangemode": "tozero", "showgrid": True},
            "barmode": "group",
            "bargap": 0.28,
            "showlegend": True,
            "margin": {"t": 76},
            "legend": {"y": 0.995, "yanchor": "top", "yref": "container", "traceorder": "normal"},
        },
    )
