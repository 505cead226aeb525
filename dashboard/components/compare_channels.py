"""What went where in a variant whose units were removed for good: channels of every layer before and after."""

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
import streamlit as st

from dashboard.components.charts import PALETTE, draw, faded, figure
from dashboard.components.format import chart_text, escape, layer_texts, percent

__all__ = ["channel_rows", "channels_figure", "draw_channels", "proof_of"]

_ROW_PX = 22
_TALL_PX = 560
_PROOF = "Verified:"


def channel_rows(
    layers: Sequence[Mapping[str, Any]], shapes: Mapping[str, Sequence[int]]
) -> list[tuple[str, tuple[int, ...], tuple[int, ...], tuple[str, ...]]]:
    """(layer, shape before, shape after, groups of its outputs) of every layer whose shape is known before and after.

    Empty for a variant of masks: its layers keep their shapes. ``shapes``: layer → weight shape in the dense model.
    """
    found = []
    for layer in layers:
        before, after = tuple(shapes.get(str(layer["name"])) or ()), tuple(layer.get("kept_shape") or ())
        if after and len(before) == len(after):
            found.append((str(layer["name"]), before, after, tuple(layer.get("groups") or ())))
    return found


def channels_figure(rows: Sequence[tuple[str, tuple[int, ...], tuple[int, ...], tuple[str, ...]]]) -> go.Figure:
    """A bar per layer, as long as its output channels were: solid what stays, pale what went, with both numbers."""
    places = list(range(len(rows)))
    hover = [
        f"<b>{escape(name)}</b><br>{before[0]} → {after[0]} outputs"
        + (f", {before[1]} → {after[1]} inputs" if len(before) > 1 else "")
        + (f"<br>group {chart_text(', '.join(groups), 60)}" if groups else "<br>its outputs belong to no group")
        for name, before, after, groups in rows
    ]
    gone = [before[0] - after[0] for _, before, after, _ in rows]
    shared = {"type": "bar", "orientation": "h", "y": places, "hovertext": hover}
    shared |= {"hovertemplate": "%{hovertext}<extra></extra>"}
    text = [f"{before[0]} → {after[0]}" if before[0] != after[0] else f"{after[0]}" for _, before, after, _ in rows]
    stays = {"x": [after[0] for _, _, after, _ in rows], "name": "stays", "marker": {"color": PALETTE[0]}}
    went = {"x": gone, "name": "removed", "marker": {"color": faded(PALETTE[6], 0.35)}}
    return figure(
        height=max(180, _ROW_PX * len(rows) + 84),
        x_title="output channels",
        traces=[
            {**shared, **stays},
            {**shared, **went, "text": text, "textposition": "outside", "cliponaxis": False, "textfont": {"size": 11}},
        ],
        layout={
            "xaxis": {"side": "top", "range": [0, 1.18 * max((before[0] for _, before, _, _ in rows), default=1)]},
            "yaxis": {
                "tickmode": "array",
                "tickvals": places,
                "ticktext": layer_texts(name for name, _, _, _ in rows),
                "range": [len(rows) - 0.5, -0.5],
                "showgrid": False,
            },
            "barmode": "stack",
            "bargap": 0.25,
            "showlegend": True,
            "margin": {"t": 76},
            "legend": {"y": 0.995, "yanchor": "top", "yref": "container", "traceorder": "normal"},
        },
    )


def proof_of(notes: Sequence[str]) -> str | None:
    """The sentence of the verification among a run's notes."""
    return next((note for note in notes if note.startswith(_PROOF)), None)


def draw_channels(layers: Sequence[Mapping[str, Any]], description: Mapping[str, Any], *, key: str) -> bool:
    """Draw the picture; False, having drawn nothing, for a variant of masks."""
    shapes = {str(row["name"]): row.get("weight_shape") or () for row in description.get("layers", ())}
    rows = channel_rows(layers, shapes)
    if not rows:
        return False
    before = sum(row[1][0] for row in rows)
    after = sum(row[2][0] for row in rows)
    st.caption(f"{after:,} of {before:,} output channels stay ({percent(1 - after / max(1, before))} went, for good).")
    picture = channels_figure(rows)
    tall = picture.layout.height > _TALL_PX
    with st.container(height=_TALL_PX if tall else "content", border=False, key=f"{key}-box"):
        draw(picture, key=key, alt=f"Output channels of {len(rows)} layers before and after the removal")
    return True
