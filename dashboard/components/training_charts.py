"""The pictures of a training run. One x axis (epochs) for all panels of a figure.

Streamlit 1.67 puts another chart in place of one whose data grew, and what was zoomed in the browser is gone. Hence one
cannot zoom by dragging: the epochs that are shown are a ``window`` that a slider keeps, and the y axes fit them.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from dashboard.components.charts import (
    ACCENT,
    DASHES,
    MUTED,
    PALETTE,
    SEQUENTIAL,
    SEQUENTIAL_DARK,
    SYMBOLS,
    WARNING,
    faded,
    figure,
    per_cent,
)
from dashboard.components.format import chart_text, escape, layer_texts, percent
from dashboard.components.training_data import (
    History,
    Line,
    Span,
    best_epoch,
    epochs_of,
    layer_matrix,
    line,
    loss_parts,
    metric_of,
    planned_epochs,
    stage_spans,
    within,
)

__all__ = ["layers_figure", "loss_figure", "panels", "score_figure", "shade_stages", "shown_until"]

Window = tuple[int, int] | None

_STAGE = "rgba(128,128,120,0.10)"
_MARKED_EPOCHS = 40
_PARTS = {"ce": "cross-entropy", "kd": "teacher", "attention": "attention"}
_GAP = 0.11
_HEIGHT_PX = 450
_ROW_PX = 18


def panels(titles: Sequence[str], *, shares: Sequence[float], height: int) -> go.Figure:
    """A figure with panels one above the other over the same epochs; traces choose theirs by ``yaxis="y2"`` …

    ``shares``: height of each panel relative to the others.
    """
    shown = figure(height=height, legend=True)
    style = shown.layout.yaxis.to_plotly_json()
    room = 1.0 - _GAP * (len(titles) - 1)
    top = 1.0
    for index, (title, share) in enumerate(zip(titles, shares, strict=True)):
        bottom = max(0.0, top - room * share / sum(shares))
        name = "yaxis" if index == 0 else f"yaxis{index + 1}"
        axis = {**style, "domain": [bottom, top], "fixedrange": True, "nticks": 4, "anchor": "x", "title": None}
        shown.update_layout({name: axis})
        shown.add_annotation(
            text=f"<b>{escape(title)}</b>",
            xref="paper",
            yref="paper",
            x=0,
            y=top,
            xanchor="left",
            yanchor="bottom",
            showarrow=False,
            font={"size": 12},
        )
        top = bottom - _GAP
    last = "y" if len(titles) == 1 else f"y{len(titles)}"
    shown.update_xaxes(anchor=last, title={"text": "epoch", "standoff": 6}, tickformat="d", showspikes=False)
    shown.update_layout(
        hovermode="x unified",
        margin={"l": 8, "r": 12, "t": 64, "b": 8},
        legend={"y": 1.0, "yref": "container", "yanchor": "top", "font": {"size": 12}},
    )
    return shown


def shade_stages(shown: go.Figure, spans: Sequence[Any], *, names: bool = True) -> None:
    """Every second stage shaded, a line where a stage begins, and above it the name of the stage."""
    for index, span in enumerate(spans):
        if index % 2 == 1:
            shown.add_shape(
                type="rect",
                xref="x",
                yref="paper",
                x0=span.first - 0.5,
                x1=span.last + 0.5,
                y0=0,
                y1=1,
                fillcolor=_STAGE,
                line={"width": 0},
                layer="below",
            )
        if index > 0:
            shown.add_shape(
                type="line",
                xref="x",
                yref="paper",
                x0=span.first - 0.5,
                x1=span.first - 0.5,
                y0=0,
                y1=1,
                line={"color": MUTED, "width": 1, "dash": "dot"},
                layer="below",
            )
        if names and index > 0:  # where the first one begins stands the title of the panel
            shown.add_annotation(
                text=chart_text(span.name, 26),
                x=span.first - 0.5,
                y=1.0,
                xref="x",
                yref="paper",
                xanchor="left",
                yanchor="bottom",
                showarrow=False,
                font={"size": 11},
            )


def score_figure(history: History, *, window: Window = None) -> go.Figure:
    """Score on the selection split with its interval, on training batches, and of the dense model; below it sparsity
    with its target and, where the method knows them, hidden weights."""
    end, history = shown_until(history), within(history, window)
    metric = metric_of(history)
    hidden = line(history, "hidden")
    titles = [
        metric.capitalize() if metric.islower() else metric,
        "Sparsity",
        *(["Hidden weights"] if hidden.values else []),
    ]
    shown = panels(titles, shares=(5, 2, 2)[: len(titles)], height=_HEIGHT_PX)
    _prepare(shown, history, window or (1, end), names=True)
    selected = line(history, "select_score", low="select_low", high="select_high")
    _band(shown, selected, ACCENT)
    trained = line(history, "train_score")
    _curve(shown, trained, "training batches", MUTED, dash=DASHES[2], width=1.5, form=per_cent(2))
    _curve(shown, selected, "selection split", ACCENT, form=per_cent(2))
    best = best_epoch(history)
    if best is not None and isinstance(best.get("select_score"), int | float):
        kept = "restored" if history.get("restored_epoch") else "best so far"
        shown.add_trace(
            go.Scatter(
                x=[best["epoch"]],
                y=[best["select_score"]],
                mode="markers",
                name=kept,
                marker={"symbol": "star", "size": 13, "color": WARNING, "line": {"width": 1, "color": "white"}},
                hovertemplate=f"{kept}<extra></extra>",
            )
        )
    dense = history.get("dense_score")
    if isinstance(dense, int | float):
        shown.add_hline(y=dense, line={"color": PALETTE[2], "width": 1.5, "dash": "dash"}, layer="below")
        shown.add_annotation(
            text=f"dense {percent(dense)}",
            xref="paper",
            x=1,
            y=dense,
            xanchor="right",
            yanchor="bottom",
            showarrow=False,
            font={"size": 11},
        )
    _events(shown, history)
    _curve(shown, line(history, "sparsity"), "sparsity", PALETTE[4], axis="y2", form=per_cent(2), legend=False)
    target = history.get("target")
    if isinstance(target, int | float) and target <= 1:
        shown.add_hline(y=target, yref="y2", line={"color": PALETTE[4], "width": 1, "dash": "dot"}, layer="below")
    low, high = _extent(selected, trained, dense)
    shown.update_layout(
        yaxis={"tickformat": per_cent(0 if high - low > 0.05 else 1)},
        yaxis2={"range": [0.0, 1.04], "tickvals": [0.0, 0.5, 1.0], "tickformat": per_cent()},
    )
    if hidden.values:
        _curve(shown, hidden, "hidden weights", PALETTE[5], axis="y3", form=",d", legend=False)
        shown.update_layout(yaxis3=_counts(hidden.values))
    return shown


def loss_figure(history: History, *, window: Window = None) -> go.Figure:
    """Loss and its parts, learning rate, and, where the method knows them, the weights that came back."""
    end, history = shown_until(history), within(history, window)
    revived = line(history, "revived")
    titles = ["Loss on training batches", "Learning rate", *(["Revived weights"] if revived.values else [])]
    shown = panels(titles, shares=(5, 2, 2)[: len(titles)], height=_HEIGHT_PX)
    _prepare(shown, history, window or (1, end), names=False)
    parts = loss_parts(history)
    _curve(shown, line(history, "loss"), "total" if parts else "loss", ACCENT, form=".4g")
    for index, (name, found) in enumerate(parts.items(), start=1):
        _curve(
            shown,
            found,
            _PARTS.get(name, name),
            PALETTE[index % len(PALETTE)],
            dash=DASHES[index % len(DASHES)],
            form=".4g",
        )
    _curve(shown, line(history, "learning_rate"), "learning rate", PALETTE[3], axis="y2", form=".3g", legend=False)
    shown.update_layout(yaxis={"rangemode": "tozero"}, yaxis2={"rangemode": "tozero", "nticks": 3, "tickformat": "~g"})
    if revived.values:
        _curve(shown, revived, "revived weights", PALETTE[4], axis="y3", form=",d", legend=False)
        shown.update_layout(yaxis3=_counts(revived.values))
    return shown


def layers_figure(history: History, *, dark: bool, window: Window = None) -> go.Figure:
    """Sparsity of every layer over time, first layer on top."""
    names, epochs, matrix = layer_matrix(within(history, window))
    shown = figure(height=max(150, _ROW_PX * len(names) + 76), x_title="epoch")
    shown.add_trace(
        go.Heatmap(
            z=matrix,
            x=epochs,
            y=list(range(len(names))),
            zmin=0.0,
            zmax=1.0,
            colorscale=SEQUENTIAL_DARK if dark else SEQUENTIAL,
            customdata=[[escape(name)] * len(epochs) for name in names],
            hovertemplate=f"<b>%{{customdata}}</b><br>epoch %{{x}}: %{{z:{per_cent(1)}}} removed<extra></extra>",
            ygap=1,
            colorbar={"thickness": 12, "outlinewidth": 0, "len": 1.0, "tickformat": per_cent()},
        )
    )
    shown.update_yaxes(
        tickmode="array",
        tickvals=list(range(len(names))),
        ticktext=layer_texts(names, 30),
        range=[len(names) - 0.5, -0.5],
        showgrid=False,
    )
    shown.update_xaxes(tickformat="d")
    return shown


def _counts(values: Sequence[float]) -> dict[str, Any]:
    """An axis from zero over counts: no tick between 0 and 1."""
    top = max(1.0, *values)
    steps = {"nticks": 3} if top > 6 else {"dtick": math.ceil(top / 2)}
    return {"range": [0, 1.1 * top], "tickformat": "~s", **steps}


def shown_until(history: History) -> int:
    """Where the axis of epochs ends: at the plan's end, for long runs in steps ahead of what there is."""
    planned, done = planned_epochs(history), len(epochs_of(history))
    return planned if planned <= _MARKED_EPOCHS else min(planned, max(20, 10 * math.ceil(1.25 * done / 10)))


def _prepare(shown: go.Figure, history: History, window: tuple[int, int], *, names: bool) -> None:
    """The axis of epochs, and the stages behind."""
    first, last = window
    shown.update_xaxes(range=[first - 0.5, max(first + 1, last) + 0.5])
    spans = [
        Span(span.name, max(span.first, first), min(span.last, last))
        for span in stage_spans(history)
        if span.first <= last and span.last >= first
    ]
    shade_stages(shown, spans, names=names)


def _curve(
    shown: go.Figure,
    found: Line,
    name: str,
    colour: str,
    *,
    form: str,
    dash: str = "solid",
    width: float = 2.2,
    axis: str = "y",
    legend: bool = True,
) -> None:
    if not found.values:
        return
    shown.add_trace(
        go.Scatter(
            x=found.epochs,
            y=found.values,
            yaxis=axis,
            name=escape(name),
            mode="lines+markers" if len(found.epochs) <= _MARKED_EPOCHS else "lines",
            line={"color": colour, "width": width, "dash": dash},
            marker={"size": 5},
            hovertemplate=f"%{{y:{form}}}",
            showlegend=legend,
        )
    )


def _band(shown: go.Figure, found: Line, colour: str) -> None:
    if not found.low:
        return
    shown.add_trace(
        go.Scatter(
            x=[*found.epochs, *reversed(found.epochs)],
            y=[*found.high, *reversed(found.low)],
            mode="lines",
            fill="toself",
            fillcolor=faded(colour, 0.16),
            line={"width": 0},
            hoverinfo="skip",
            showlegend=False,
        )
    )


def _events(shown: go.Figure, history: History) -> None:
    """What happened on the way (early stop, restored state, diverged): marks at the bottom that speak when touched."""
    events: Sequence[Mapping[str, Any]] = [item for item in history.get("events") or () if item.get("text")]
    selected = line(history, "select_score", low="select_low", high="select_high")
    if not events or not selected.values:
        return
    shown.add_trace(
        go.Scatter(
            x=[max(1, int(item.get("epoch") or 1)) for item in events],
            y=[min(selected.low or selected.values)] * len(events),
            mode="markers",
            name="events",
            marker={"symbol": SYMBOLS[3], "size": 9, "color": WARNING},
            text=[chart_text(item["text"], 90) for item in events],
            hovertemplate="%{text}<extra></extra>",
        )
    )


def _extent(*found: Any) -> tuple[float, float]:
    values: list[float] = []
    for item in found:
        values += item.values if isinstance(item, Line) else [] if item is None else [item]
    return (min(values), max(values)) if values else (0.0, 1.0)
