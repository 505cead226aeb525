"""The network on the Sensitivity page: coloured by what was measured; a click shows the curve of a layer or group."""

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from core.comb.sheet import GroupSheet
from core.store.records import Model, Session
from dashboard.components.charts import PALETTE
from dashboard.components.format import escape, short
from dashboard.components.layer_time import measured_times, time_button
from dashboard.components.network_canvas import Canvas, draw_canvas, draw_controls
from dashboard.components.network_colours import colouring_of
from dashboard.components.network_coupling import coupled_words, group_of_layer, roles_of
from dashboard.components.network_paint import Look
from dashboard.components.network_values import Colouring, sensitivity_of
from dashboard.components.plan_draft import DraftEditor
from dashboard.components.sensitivity_curves import CURVES, LIT, show_curve_of

__all__ = ["draw_sensitivity_network"]


def draw_sensitivity_network(
    session: Session,
    model: Model,
    result: Mapping[str, Any],
    *,
    sheet: GroupSheet | None,
    rows: Sequence[str],
    curves: Sequence[str],
) -> None:
    """The drawing. ``sheet``: the rows are its groups; None: they are layers. ``curves``: rows whose curves are shown,
    outlined in the colours of their curves."""
    canvas = Canvas(model.id, "sensitivity-")
    colour, size = draw_controls(
        canvas,
        colour_key="sensitivity-network-colour",
        size_key="sensitivity-network-size",
        start="sensitivity",
    )
    times, job = measured_times(session)
    makers = {row: sheet.group(row).creators if sheet is not None else (row,) for row in rows}
    lit = str(st.session_state.get(LIT, ""))
    if colour == "sensitivity":
        colouring: Colouring | None = sensitivity_of(result, makers)
    else:
        colouring = colouring_of(colour, session, model, DraftEditor(session).plan, times)
    look = Look(
        rows={str(row["name"]): row for row in model.description["layers"]},
        size=size,
        dark=st.context.theme.type == "dark",
        colouring=colouring,
        lit=roles_of(sheet.group(lit)) if sheet is not None and lit in curves else {},
        marked={
            layer: PALETTE[place % len(PALETTE)]
            for place, row in reversed(list(enumerate(curves)))
            for layer in makers.get(row, ())
        },
        coupled=coupled_words(sheet),
    )
    draw_canvas(canvas, look, lambda kind, name: _pick(sheet, rows, name) if kind == "layer" else None)
    whose = "its curve" if sheet is None else "the curve of its group"
    st.caption(f"Click a layer to see {whose}; click it again to take the curve away.")
    if colour == "time":
        time_button(session, times, job)


def _pick(sheet: GroupSheet | None, rows: Sequence[str], layer: str) -> None:
    """Show the curve of the layer, or of its group, and light it; away with it where it was lit already."""
    row: str | None = layer
    if sheet is not None:
        group = group_of_layer(sheet, layer)
        row = None if group is None else group.name
    if row is None or row not in rows:
        st.toast(f"{escape(short(layer, 60), markdown=True)} has no curve: nothing of it can be removed.")
        return
    shown = list(st.session_state.get(CURVES, ()))
    if st.session_state.get(LIT) == row and row in shown and len(shown) > 1:
        shown.remove(row)
        st.session_state[CURVES] = shown
        st.session_state.pop(LIT)
    else:
        show_curve_of(row)
