"""Pictures of gates that learn (SEAP): who is open, where the threshold stands, what stays of every group over time.

Pure functions of a training history; the keys are those of ``core.training.gating``. A history of another method has
none of them, and no picture.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
import streamlit as st
from plotly.colors import sample_colorscale

from dashboard.components.charts import (
    ACCENT,
    MUTED,
    PALETTE,
    SEQUENTIAL,
    SYMBOLS,
    WARNING,
    draw,
    faded,
    figure,
    per_cent,
)
from dashboard.components.format import escape, layer_texts, percent
from dashboard.components.training_data import epochs_of, planned_epochs

__all__ = ["draw_gates", "gate_figures", "gates_figure", "has_gates", "keep_figure"]

History = Mapping[str, Any]

_TALL_PX = 460
_HEIGHT_PX = 420
_GROUP_PX = 24
_TRAIL = 12
_FEW_GROUPS = 6


def has_gates(history: History) -> bool:
    """Whether the run knows gates."""
    return any(row.get("gates") for row in epochs_of(history))


def gate_figures(history: History, *, window: tuple[int, int] | None = None) -> tuple[go.Figure, ...]:
    """The gates of the last epoch that had some, and what stays of every group over time; empty without gates.

    ``window``: first and last epoch to show; then the gates are those of the last epoch in it, if it has some.
    """
    if not has_gates(history):
        return ()
    return gates_figure(history, epoch=window and window[1]), keep_figure(history, window=window)


def gates_figure(history: History, *, epoch: int | None = None) -> go.Figure:
    """Every gate as a point beside its group, and the threshold; faint lines show where it stood in epochs before.

    ``epoch``: the one to show; the last one that has gates by default.
    """
    known = [row for row in epochs_of(history) if row.get("gates")]
    rows = [row for row in known if epoch is None or row["epoch"] <= epoch] or known[:1]
    row = rows[-1]
    names = list(row["gates"])
    keep = row.get("keep") or {}
    height = max(200, _GROUP_PX * len(names) + 96)
    traces = [
        _points(row, names, state, name, marker)
        for state, name, marker in (
            ("1", "open", {"symbol": SYMBOLS[0], "color": ACCENT, "size": 6, "opacity": 0.75}),
            ("0", "closed", {"symbol": SYMBOLS[5], "color": PALETTE[4], "size": 6, "opacity": 0.75}),
        )
    ]
    thresholds = [float(r["threshold"]) for r in rows if isinstance(r.get("threshold"), int | float)][-_TRAIL - 1 :]
    shapes = [
        _upright(value, faded(WARNING, 0.08 + 0.3 * index / max(1, len(thresholds))), 1.0)
        for index, value in enumerate(thresholds[:-1])
    ]
    notes = []
    if thresholds:
        shapes.append(_upright(thresholds[-1], WARNING, 2.0))
        notes.append(_note(thresholds[-1], f"threshold {thresholds[-1]:.3g}", WARNING))
    layout = {
        "xaxis": {"showgrid": False, "fixedrange": True},
        "yaxis": {
            "tickmode": "array",
            "tickvals": list(range(len(names))),
            "ticktext": [
                f"{text} · {percent(keep[name])}" if name in keep else text
                for name, text in zip(names, layer_texts(names, 24), strict=True)
            ],
            "range": [len(names) - 0.5, -0.5],
            "showgrid": False,
            "fixedrange": True,
        },
        "shapes": shapes,
        "annotations": notes,
        "margin": {"l": 8, "r": 12, "t": 64, "b": 8},
        "legend": {"y": 1.0, "yref": "container", "yanchor": "top"},
        "hovermode": "closest",
    }
    return figure(
        x_title=f"gate after epoch {row['epoch']}; 1: mean of its layer before",
        height=height,
        legend=True,
        traces=traces,
        layout=layout,
    )


def keep_figure(history: History, *, window: tuple[int, int] | None = None) -> go.Figure:
    """What is open, or left, of every group over the epochs, light for early groups and dark for late ones; below it
    the units that came back, and in both the moment of the removal."""
    rows = [row for row in epochs_of(history) if row.get("keep")]
    epochs = [row["epoch"] for row in rows]
    names = list(rows[-1]["keep"])
    places = [0.3 + 0.5 * index / max(1, len(names) - 1) for index in range(len(names))]
    colours = sample_colorscale(SEQUENTIAL, places)
    few = len(names) <= _FEW_GROUPS
    traces: list[dict[str, Any]] = [
        {
            "type": "scatter",
            "x": epochs,
            "y": [row["keep"].get(name) for row in rows],
            "mode": "lines",
            "name": text,
            "line": {"color": colour, "width": 1.6},
            "hovertemplate": f"<b>{escape(name)}</b><br>epoch %{{x}}: %{{y:{per_cent()}}} open<extra></extra>",
            "showlegend": few,
        }
        for name, text, colour in zip(names, layer_texts(names, 24), colours, strict=True)
    ]
    traces.append(
        {
            "type": "scatter",
            "x": epochs,
            "y": [_share(row) for row in rows],
            "mode": "lines+markers",
            "name": "all units",
            "line": {"color": WARNING, "width": 2.4, "dash": "dash"},
            "marker": {"size": 4},
            "hovertemplate": f"<b>all units</b><br>epoch %{{x}}: %{{y:{per_cent(1)}}} open<extra></extra>",
        }
    )
    traces.append(
        {
            "type": "bar",
            "x": epochs,
            "y": [row.get("reopened") or 0 for row in rows],
            "yaxis": "y2",
            "name": "came back",
            "marker": {"color": faded(PALETTE[2], 0.8)},
            "hovertemplate": "epoch %{x}: %{y:,d} units opened again<extra></extra>",
            "showlegend": False,
        }
    )
    cut = next((row["epoch"] for row in rows if row.get("removal")), None)
    notes = [_title("Open, or left, of every group", 1.0), _title("Units that opened again", 0.22)]
    shapes = []
    if cut is not None:
        shapes.append(_upright(cut, MUTED, 1.5, dash="dot"))
        units = next(row["removal"].get("units") for row in rows if row.get("removal"))
        notes.append(_note(cut, f"{units:,} units removed", MUTED, y=0.34, anchor="left"))
    first, last = window or (1, max(2, planned_epochs(history)))
    layout = {
        "xaxis": {"range": [first - 0.5, last + 0.5], "tickformat": "d", "anchor": "y2"},
        "yaxis": {"domain": [0.34, 1.0], "range": [0.0, 1.04], "fixedrange": True, "tickformat": per_cent()},
        "yaxis2": {"domain": [0.0, 0.22], "rangemode": "tozero", "nticks": 3, "fixedrange": True, "anchor": "x"},
        "shapes": shapes,
        "annotations": notes,
        "hovermode": "closest",
        "margin": {"l": 8, "r": 12, "t": 64, "b": 8},
        "legend": {"y": 1.0, "yref": "container", "yanchor": "top"},
    }
    return figure(x_title="epoch", height=_HEIGHT_PX, legend=True, traces=traces, layout=layout)


def draw_gates(figures: Sequence[go.Figure], *, key: str) -> None:
    """Both pictures side by side; nothing for a run without gates."""
    if not figures:
        return
    left, right = st.columns(2, gap="medium")
    with left, st.container(height=_TALL_PX if figures[0].layout.height > _TALL_PX else "content", border=False):
        draw(
            figures[0],
            key=f"run-gates-{key}",
            alt="Gate values of every group, and the threshold below which they close",
        )
    with right:
        draw(
            figures[1], key=f"run-keep-{key}", alt="Share of open units by group and epoch, and units that opened again"
        )


def _points(
    row: Mapping[str, Any], names: Sequence[str], state: str, label: str, marker: dict[str, Any]
) -> dict[str, Any]:
    """The gates in one state: a little apart in their group's strip, always in the same place."""
    xs, ys, texts = [], [], []
    for place, name in enumerate(names):
        values, states = row["gates"][name], (row.get("open") or {}).get(name, "")
        for index, value in enumerate(values):
            is_open = states[index] if index < len(states) else "1" if value >= row.get("threshold", value) else "0"
            if is_open == state:
                xs.append(value)
                ys.append(place + 0.6 * ((index * 0.618034) % 1.0 - 0.5))
                texts.append(escape(name))
    return {
        "type": "scattergl",
        "mode": "markers",
        "x": xs,
        "y": ys,
        "name": label,
        "marker": marker,
        "customdata": texts,
        "hovertemplate": f"<b>%{{customdata}}</b><br>%{{x:.3f}}, {label}<extra></extra>",
    }


def _share(row: Mapping[str, Any]) -> float | None:
    left, closed = sum((row.get("groups") or {}).values()), row.get("closed") or 0
    return left / (left + closed) if left else None


def _upright(x: float, colour: str, width: float, *, dash: str = "solid") -> dict[str, Any]:
    line = {"color": colour, "width": width, "dash": dash}
    return {"type": "line", "xref": "x", "yref": "paper", "x0": x, "x1": x, "y0": 0, "y1": 1, "line": line}


def _note(x: float, text: str, colour: str, *, y: float = 1.0, anchor: str = "center") -> dict[str, Any]:
    font = {"size": 11, "color": colour}
    place = {"xref": "x", "yref": "paper", "x": x, "y": y, "xanchor": anchor, "yanchor": "bottom"}
    return {"text": text, "showarrow": False, "font": font, **place}


def _title(text: str, y: float) -> dict[str, Any]:
    place = {"xref": "paper", "yref": "paper", "x": 0, "y": y, "xanchor": "left", "yanchor": "bottom"}
    return {"text": f"<b>{text}</b>", "showarrow": False, "font": {"size": 12}, **place}
