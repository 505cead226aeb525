"""Clicks on the heat-map: each pins a layer's sparsity into the draft plan of the session."""

from typing import Any

import streamlit as st

from dashboard.components.format import escape, percent
from dashboard.components.plan_draft import DraftEditor, with_override

__all__ = ["click_pending", "clicked_cell", "pin_pending", "remember_click"]

_CLICK = "sensitivity-clicked"


def clicked_cell(event: Any) -> tuple[str, float] | None:
    """Layer and sparsity of the clicked cell, read from a plotly selection; None when nothing usable was clicked."""
    points = ((event or {}).get("selection") or {}).get("points") or []
    data = points[0].get("customdata") if points else None
    if isinstance(data, dict):  # the browser sends arrays as {"0": …, "1": …}
        data = [data[index] for index in sorted(data)]
    if not data or len(data) < 2:
        return None
    return str(data[0]), float(data[1])


def remember_click(key: str) -> None:
    """Callback of the chart: keep the cell for the run that follows, because a live chart is replaced by then."""
    cell = clicked_cell(st.session_state.get(key))
    if cell is not None:
        st.session_state[_CLICK] = cell


def click_pending() -> bool:
    """Whether a click waits for ``pin_pending``."""
    return _CLICK in st.session_state


def pin_pending(editor: DraftEditor) -> str | None:
    """Pin the remembered click into the draft, once; returns the layer that was clicked."""
    cell = st.session_state.pop(_CLICK, None)
    if cell is None:
        return None
    layer, sparsity = cell
    if editor.edit(lambda plan: with_override(plan, layer, sparsity), redraw=True):
        st.toast(
            f"Pinned **{escape(layer, markdown=True)}** at {percent(sparsity, 0)} into the plan.",
            icon=":material/push_pin:",
        )
    else:
        st.toast(
            "Not pinned: the plan was changed elsewhere. Reload it on the Plan page.", icon=":material/sync_problem:"
        )
    return str(layer)
