"""Clicks on the heat-map: each pins the sparsity of a layer or group into the draft plan of the session."""

from typing import Any

import streamlit as st

from core.comb.sheet import GroupSheet
from core.methods import METHODS
from core.pruning.plan import Plan
from dashboard.components.format import escape, percent
from dashboard.components.group_edit import with_groups
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


def pin_pending(editor: DraftEditor, sheet: GroupSheet | None = None) -> str | None:
    """Pin the remembered click into the draft, once; returns the layer that was clicked.

    ``sheet``: the click was on one of its groups. These are pinned into a plan that removes units only.
    """
    cell = st.session_state.pop(_CLICK, None)
    if cell is None:
        return None
    name, sparsity = cell
    if sheet is not None and METHODS[editor.plan.method].removes != "units":
        st.toast(
            "Not pinned: the plan removes single weights. Choose a method that removes units on the Plan page.",
            icon=":material/block:",
        )
        return str(name)

    def pinned(plan: Plan) -> Plan:
        if sheet is None:
            return with_override(plan, name, sparsity)
        return with_groups(plan, sheet, [sheet.group(name)], "fix", sparsity)

    if editor.edit(pinned, redraw=True):
        st.toast(
            f"Pinned **{escape(name, markdown=True)}** at {percent(sparsity, 0)} into the plan.",
            icon=":material/push_pin:",
        )
    else:
        st.toast(
            "Not pinned: the plan was changed elsewhere. Reload it on the Plan page.", icon=":material/sync_problem:"
        )
    return str(name)
