"""The pictures of the Compare page: accuracy against cost with intervals, change per class, sparsity per layer."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from dashboard.components.charts import MUTED, PALETTE, faded, figure
from dashboard.components.compare_data import pareto
from dashboard.components.format import NOTHING, chart_text, escape, layer_texts, signed
from dashboard.components.label_places import label_places

__all__ = ["ScatterPoint", "class_change_figure", "layers_figure", "scatter_figure"]

_ROW_PX = 22
_MARKERS = {"variants": {"symbol": "circle", "size": 14}, "dense": {"symbol": "diamond", "size": 10}}
_PHONE_PX = 285.0
_WIDE_ONLY = "\u200b"  # nobody sees it; style.css hides names that end with it where the picture is narrow
_INTERVAL = "rgba(128,128,120,0.95)"
_ZERO = {"type": "line", "x0": 0, "x1": 0, "y0": 0, "y1": 1, "xref": "x", "yref": "y domain"}
_ZERO |= {"line": {"width": 1, "color": "#8a938e"}}


@dataclass(frozen=True)
class ScatterPoint:
    """One variant in the plane of cost and score; scores as fractions, absent intervals as None."""

    variant_id: str
    name: str
    dense: bool
    cost: float
    cost_low: float | None
    cost_high: float | None
    score: float
    low: float | None
    high: float | None
    hover: str


def scatter_figure(points: Sequence[ScatterPoint], *, metric: str, cost_title: str, line: bool) -> go.Figure:
    """Score against cost, both with interval bars; the Pareto line only when ``line`` says it means something."""
    x_range = _padded(points)
    traces: list[dict[str, Any]] = []
    front = pareto([(point.cost, point.score) for point in points]) if line else []
    if len(front) > 1:
        traces.append(
            {
                "type": "scatter",
                "x": [points[i].cost for i in front],
                "y": [100 * points[i].score for i in front],
                "mode": "lines",
                "line": {"shape": "hv", "width": 1.5, "dash": "dot", "color": "#8a938e"},
                "hoverinfo": "skip",
                "name": "not beaten in both",
            }
        )
    # The dense model lies on top: a variant that is as fast and as good shows around it.
    groups = [("variants", [p for p in points if not p.dense]), ("dense", [p for p in points if p.dense])]
    for (name, members), colour in zip(groups, PALETTE[:2], strict=True):
        if members:
            traces.append(_markers(name, members, points, x_range, colour))
    return figure(
        height=420,
        x_title=cost_title,
        y_title=f"{metric} on the test split, %",
        legend=True,
        traces=traces,
        layout={"xaxis": {"range": x_range}},
    )


def _markers(
    name: str, members: Sequence[ScatterPoint], points: Sequence[ScatterPoint], x_range: Sequence[float], colour: str
) -> dict[str, Any]:
    """The trace of one kind of points, with their names and their intervals."""
    names, places = _named(members, points, x_range)
    return {
        "type": "scatter",
        "x": [p.cost for p in members],
        "y": [100 * p.score for p in members],
        "mode": "markers+text",
        "name": name,
        "text": names,
        "textposition": places,
        "marker": {"color": colour, **_MARKERS[name]},
        "customdata": [[p.variant_id] for p in members],
        "hovertext": [p.hover for p in members],
        "hovertemplate": "%{hovertext}<extra></extra>",
        "error_y": _bars(
            [100 * ((p.high if p.high is not None else p.score) - p.score) for p in members],
            [100 * (p.score - (p.low if p.low is not None else p.score)) for p in members],
            colour,
        ),
        "error_x": _bars(
            [(p.cost_high if p.cost_high is not None else p.cost) - p.cost for p in members],
            [p.cost - (p.cost_low if p.cost_low is not None else p.cost) for p in members],
            colour,
        ),
    }


def class_change_figure(change: pd.DataFrame, *, variant: str, metric: str = "accuracy") -> go.Figure:
    """Bars of the change per class in points, in the order of the frame: left of zero is worse than dense.

    With the columns ``low (points)`` and ``high (points)`` the bars have intervals, and those whose interval contains
    zero are grey: no difference shown.
    """
    rows = list(range(len(change)))
    delta = change["change (points)"]
    paired = "low (points)" in change
    low, high = (change[f"{end} (points)"] if paired else delta for end in ("low", "high"))
    known = ~(low.isna() | high.isna())
    shown = (low > 0) | (high < 0) if paired else delta.notna()
    colours = [
        MUTED if not sure else PALETTE[1] if value < 0 else PALETTE[0] for value, sure in zip(delta, shown, strict=True)
    ]
    spread = [
        f"95 % interval {signed(round(a, 1))} to {signed(round(b, 1))}" if paired and fine else ""
        for a, b, fine in zip(low, high, known, strict=True)
    ]
    texts = zip(map(escape, change["class"]), 100 * change["dense"], 100 * change["variant"], spread, strict=True)
    bars = {
        "type": "bar",
        "x": delta,
        "y": rows,
        "orientation": "h",
        "marker": {"color": [faded(colour, 0.55) for colour in colours], "line": {"width": 0}},
        "error_x": _bars((high - delta).fillna(0).tolist(), (delta - low).fillna(0).tolist(), _INTERVAL),
        "customdata": list(texts),
        "hovertemplate": f"<b>%{{customdata[0]}}</b><br>{escape(metric)} dense %{{customdata[1]:.1f}} % → "
        f"{escape(variant)} %{{customdata[2]:.1f}} %<br>%{{x:+.1f}} points<br>%{{customdata[3]}}<extra></extra>",
        "showlegend": False,
    }
    # A bar of no length cannot be seen.
    ends = {"type": "scatter", "mode": "markers", "x": delta, "y": rows, "marker": {"size": 7, "color": colours}}
    return figure(
        height=max(180, _ROW_PX * len(rows) + 80),
        x_title="change against dense, points",
        traces=[bars, {**ends, "hoverinfo": "skip", "showlegend": False}],
        layout={
            "xaxis": {"side": "top"},
            "yaxis": {
                "tickmode": "array",
                "tickvals": rows,
                "ticktext": [
                    f"{chart_text(name, 22)} · {_per_cent(before)} → {_per_cent(after)}"
                    for name, before, after in zip(change["class"], change["dense"], change["variant"], strict=True)
                ],
                "range": [len(rows) - 0.5, -0.5],
                "showgrid": False,
            },
            "bargap": 0.3,
            "margin": {"t": 52},
            "shapes": [_ZERO],
        },
    )


def _per_cent(fraction: float) -> str:
    return NOTHING if pd.isna(fraction) else f"{100 * fraction:.0f} %"


def layers_figure(variants: Mapping[str, Sequence[Mapping[str, Any]]]) -> go.Figure:
    """What went where: sparsity of every layer, one bar colour per variant."""
    names = list(dict.fromkeys(str(layer["name"]) for layers in variants.values() for layer in layers))
    rows = {name: row for row, name in enumerate(names)}
    bars = [
        {
            "type": "bar",
            "x": [100 * float(layer.get("sparsity") or 0.0) for layer in layers],
            "y": [rows[str(layer["name"])] for layer in layers],
            "orientation": "h",
            "name": chart_text(variant, 28),
            "marker": {"color": PALETTE[index % len(PALETTE)], "line": {"width": 0}},
            "customdata": [
                [escape(str(layer["name"])), int(layer.get("removed") or 0), int(layer.get("size") or 0)]
                for layer in layers
            ],
            "hovertemplate": "<b>%{customdata[0]}</b><br>%{x:.1f} % removed (%{customdata[1]:,} of %{customdata[2]:,})"
            "<extra></extra>",
        }
        for index, (variant, layers) in enumerate(variants.items())
    ]
    return figure(
        height=max(180, (_ROW_PX + 6 * (len(variants) - 1)) * len(names) + 84),
        x_title="removed, %",
        legend=True,
        traces=bars,
        layout={
            "xaxis": {"side": "top", "range": [0, 100]},
            "yaxis": {
                "tickmode": "array",
                "tickvals": list(rows.values()),
                "ticktext": layer_texts(names),
                "range": [len(names) - 0.5, -0.5],
                "showgrid": False,
            },
            "barmode": "group",
            "bargap": 0.25,
            "margin": {"t": 76},
            "legend": {"y": 0.995, "yanchor": "top", "yref": "container", "traceorder": "normal"},
        },
    )


def _named(
    members: Sequence[ScatterPoint], points: Sequence[ScatterPoint], x_range: Sequence[float]
) -> tuple[list[str], list[str]]:
    """Names of members and where they stand; a name that finds no free place is left to the hover."""
    low = 100 * min(point.score if point.low is None else point.low for point in points)
    high = 100 * max(point.score if point.high is None else point.high for point in points)
    room = 0.1 * ((high - low) or 1.0)
    texts = [chart_text(point.name, 22) for point in points]
    spots = [(point.cost, 100 * point.score) for point in points]
    placed = functools.partial(
        label_places, spots, texts, x_range=(x_range[0], x_range[1]), y_range=(low - room, high + room)
    )
    on_phone = placed(width_px=_PHONE_PX)
    places = placed(kept=on_phone)
    marked = [text + ("" if narrow else _WIDE_ONLY) for text, narrow in zip(texts, on_phone, strict=True)]
    found = {id(point): (text, place) for point, text, place in zip(points, marked, places, strict=True)}
    own = [found[id(member)] for member in members]
    return [text if place else "" for text, place in own], [place or "top right" for _, place in own]


def _padded(points: Sequence[ScatterPoint]) -> list[float]:
    """An axis with room for the names on the right. Positions matter here, not lengths: it need not start at zero."""
    low = min(point.cost if point.cost_low is None else point.cost_low for point in points)
    high = max(point.cost if point.cost_high is None else point.cost_high for point in points)
    room = (high - low) or abs(high) or 1.0
    return [low - 0.08 * room, high + 0.22 * room]


def _bars(plus: list[float], minus: list[float], colour: str) -> dict[str, Any]:
    """Error bars; none at all when no member has an interval."""
    if not any(plus) and not any(minus):
        return {"visible": False}
    return {
        "type": "data",
        "symmetric": False,
        "array": plus,
        "arrayminus": minus,
        "color": colour,
        "thickness": 1.5,
        "width": 4,
    }
