"""The pictures of the Plan page: a bar per layer, and the schedule."""

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from core.pruning.plan import Plan
from dashboard.components.charts import ACCENT, MUTED, PALETTE, WARNING, faded, figure
from dashboard.components.format import escape, layer_texts
from dashboard.components.plan_layers import weight_count

__all__ = ["layer_bars", "schedule_figure"]

_ROW_PX = 20
_REMOVED = "rgba(138,147,142,0.28)"
_BAR = {"type": "bar", "orientation": "h"}


def layer_bars(
    layers: Sequence[Mapping[str, Any]], plan: Plan, planned: Mapping[str, float], *, by_size: bool
) -> go.Figure:
    """Horizontal bars, first layer on top: what stays (solid) and what goes (pale).

    ``by_size``: bars as long as the layer's number of weights; otherwise every bar is 100 % long.
    """
    names = [str(layer["name"]) for layer in layers]
    sizes = [float(weight_count(layer)) if by_size else 100.0 for layer in layers]
    sparsity = [planned.get(name, 0.0) for name in names]
    groups = {
        "allocated": [n not in plan.settled for n in names],
        "fixed by you": [n in plan.overrides and n not in plan.protected for n in names],
        "N:M pattern": [n in plan.patterns and n not in plan.protected for n in names],
        "protected": [n in plan.protected for n in names],
    }
    colours = dict(zip(groups, (PALETTE[0], PALETTE[1], PALETTE[3], PALETTE[2]), strict=True))
    rows = list(range(len(layers)))
    stays = [
        {
            **_BAR,
            "x": [sizes[row] * (1.0 - sparsity[row]) for row in mine],
            "y": mine,
            "name": f"stays · {escape(group)}",
            "marker": {"color": colours[group], "line": {"width": 0}},
            "customdata": [[escape(names[row]), 100 * sparsity[row], weight_count(layers[row])] for row in mine],
            "hovertemplate": "<b>%{customdata[0]}</b><br>%{customdata[1]:.1f} % of %{customdata[2]:,} weights removed"
            f"<br>{group}<extra></extra>",
        }
        for group, member in groups.items()
        if (mine := [row for row in rows if member[row]])
    ]
    removed = {
        **_BAR,
        "x": [size * share for size, share in zip(sizes, sparsity, strict=True)],
        "y": rows,
        "name": "removed",
        "marker": {"color": _REMOVED, "line": {"width": 0}},
        "hoverinfo": "skip",
    }
    return figure(
        height=max(160, _ROW_PX * len(layers) + 92),
        x_title="weights" if by_size else "share of the layer's weights, %",
        traces=[*stays, removed],
        layout={
            "barmode": "stack",
            "showlegend": True,
            "bargap": 0.28,
            "margin": {"l": 8, "r": 12, "t": 76, "b": 8},
            "legend": {"x": 0, "y": 0.995, "yanchor": "top", "yref": "container", "traceorder": "normal"},
            "xaxis": {"side": "top", "rangemode": "tozero"},
            "yaxis": {
                "tickmode": "array",
                "tickvals": rows,
                "ticktext": layer_texts(names),
                "range": [len(rows) - 0.5, -0.5],
                "showgrid": False,
            },
        },
    )


def schedule_figure(
    points: Sequence[tuple[float, float]],
    marks: Sequence[tuple[float, float]],
    *,
    others: Mapping[str, Sequence[tuple[float, float]]],
    label: str,
) -> go.Figure:
    """Sparsity over the course of a run. ``marks`` are the steps that the plan will take; ``others`` are thin lines."""

    def trace(course: Sequence[tuple[float, float]], hover: str, **look: Any) -> dict[str, Any]:
        places = {"x": [100 * t for t, _ in course], "y": [100 * s for _, s in course]}
        return {"type": "scatter", **places, "hovertemplate": f"{hover}<extra></extra>", "showlegend": False, **look}

    thin, shape = {"color": faded(MUTED, 0.55), "width": 1}, "hv" if label == "one_shot" else "linear"
    bold = {"color": ACCENT, "width": 2.5, "shape": shape}
    diamond = {"size": 9, "color": WARNING, "symbol": "diamond"}
    top = max([100 * s for _, s in marks], default=0.0)
    return figure(
        height=200,
        x_title="course of the run, %",
        y_title="removed, %",
        traces=[
            *(trace(line, f"{escape(name)}: %{{y:.1f}} %", mode="lines", line=thin) for name, line in others.items()),
            trace(points, "%{x:.0f} % of the run: %{y:.1f} % removed", mode="lines", line=bold),
            trace(marks, f"{escape(label)}: %{{y:.1f}} % removed", mode="markers", marker=diamond),
        ],
        layout={
            "xaxis": {"range": [-2, 104], "dtick": 25},
            "yaxis": {"range": [0, max(10.0, 1.12 * top)], "nticks": 5},
        },
    )
