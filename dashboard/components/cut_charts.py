"""The picture of a run that removes units: what is left of every group over the epochs."""

from collections.abc import Mapping
from typing import Any

import plotly.graph_objects as go

from dashboard.components.charts import MUTED, SEQUENTIAL, SEQUENTIAL_DARK, figure, per_cent
from dashboard.components.cut_data import cuts_of, has_cuts, shares, whole_units
from dashboard.components.format import chart_text, escape, layer_texts, percent
from dashboard.components.training_data import planned_epochs, stage_spans

__all__ = ["left_figure"]

_ROW_PX = 20
_NUMBERED = 16
_WIDE_AXIS = 40
_ABOVE = {"yref": "paper", "y": 1, "xanchor": "left", "yanchor": "bottom", "showarrow": False}


def left_figure(history: Mapping[str, Any], *, dark: bool, window: tuple[int, int] | None = None) -> go.Figure | None:
    """A row per group in execution order, a column per epoch, column 0 before training; what is left, in colour.

    Beside the name of a group stand its units, now and before. ``window``: first and last epoch to show. None for a
    run that removes no units while it trains.
    """
    if not has_cuts(history):
        return None
    names, epochs, matrix = shares(history)
    whole = whole_units(history)
    first, last = window or (0, planned_epochs(history))
    kept = [index for index, epoch in enumerate(epochs) if first <= epoch <= last]
    shown = [[row[index] for index in kept] for row in matrix]
    left = {name: round(row[-1] * whole[name]) for name, row in zip(names, matrix, strict=True) if row[-1] is not None}
    gone: dict[tuple[str, int], int] = {}
    for cut in cuts_of(history):
        gone[cut.group, cut.epoch] = gone.get((cut.group, cut.epoch), 0) + cut.units
    hover = [
        [_hover(name, epochs[index], row[index], whole[name], gone.get((name, epochs[index]), 0)) for index in kept]
        for name, row in zip(names, matrix, strict=True)
    ]
    end = last if window or last <= _WIDE_AXIS else max(20, round(1.25 * max(epochs)))
    later = [span for span in stage_spans(history)[1:] if first < span.first <= end]
    return figure(
        x_title="epoch (0: before training)" if first == 0 else "epoch",
        height=max(220, _ROW_PX * len(names) + 136),
        traces=[
            {
                "type": "heatmap",
                "z": shown,
                "x": [epochs[index] for index in kept],
                "y": list(range(len(names))),
                "zmin": 0.0,
                "zmax": 1.0,
                "colorscale": SEQUENTIAL_DARK if dark else SEQUENTIAL,
                "text": hover,
                "hovertemplate": "%{text}<extra></extra>",
                "ygap": 1,
                "xgap": 1 if end - first <= _WIDE_AXIS else 0,
                "colorbar": {
                    "orientation": "h",
                    "thickness": 10,
                    "outlinewidth": 0,
                    "tickformat": per_cent(),
                    "tickvals": [0.0, 0.5, 1.0],
                    "len": 0.7,
                    "yref": "container",
                    "y": 0.0,
                    "yanchor": "bottom",
                },
            }
        ],
        layout={
            "xaxis": {
                "range": [first - 0.5, end + 0.5],
                "fixedrange": True,
                **({"dtick": 1} if end - first <= _NUMBERED else {"tickformat": "d"}),
            },
            "yaxis": {
                "tickmode": "array",
                "tickvals": list(range(len(names))),
                "ticktext": [
                    f"{text} · {left.get(name, '?')}/{whole[name]}"
                    for name, text in zip(names, layer_texts(names, 26), strict=True)
                ],
                "range": [len(names) - 0.5, -0.5],
                "showgrid": False,
                "fixedrange": True,
            },
            "shapes": [
                {"type": "line", "xref": "x", "yref": "paper", "x0": x, "x1": x, "y0": 0, "y1": 1}
                | {"line": {"color": MUTED, "width": 1.5, "dash": "dot"}}
                for x in (span.first - 0.5 for span in later)
            ],
            "annotations": [
                {"text": "<b>Units left of every group</b>", "xref": "paper", "x": 0, "font": {"size": 12}}
                | {**_ABOVE, "yshift": 16},
                *[
                    {"text": chart_text(span.name, 26), "xref": "x", "x": span.first - 0.5}
                    | {"font": {"size": 11}, **_ABOVE}
                    for span in later
                ],
            ],
            "margin": {"l": 8, "r": 12, "t": 46, "b": 84},
        },
    )


def _hover(name: str, epoch: int, share: float | None, whole: int, gone: int) -> str:
    when = "before training" if epoch == 0 else f"after epoch {epoch}"
    left = "not known" if share is None else f"{round(share * whole)} of {whole} left ({percent(share, 0)})"
    return f"<b>{escape(name)}</b><br>{when}: {left}" + (f"<br>{gone} went in this epoch" if gone else "")
