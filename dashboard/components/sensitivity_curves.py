"""The curves that the Sensitivity page shows: chosen in a menu, on the heat-map, on the drawing or in the table."""

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from dashboard.components.charts import draw
from dashboard.components.choice_in_url import wanted_choice, write_choice
from dashboard.components.format import menu_words, short
from dashboard.components.sensitivity_charts import curves_figure
from dashboard.components.sensitivity_data import Quantity, most_sensitive

__all__ = ["CURVES", "LIT", "chosen_curves", "draw_curves", "forget_curves_of", "show_curve_of", "show_curve_of_row"]

CURVES = "sensitivity-layers"
LIT = "sensitivity-network-lit"
"""The row that was clicked last: its group is lit on the drawing until it is clicked there again."""
_MOST_CURVES = 7
_FIRST = 3


def show_curve_of(name: str | None) -> None:
    """Put the curve of a layer or group that was clicked before the others."""
    if name is not None:
        others = [one for one in st.session_state.get(CURVES, ()) if one != name]
        st.session_state[CURVES] = [name, *others][:_MOST_CURVES]
        st.session_state[LIT] = name


def show_curve_of_row(key: str, names: Sequence[str]) -> None:
    """Callback of a table: the curve of the row that was clicked. ``names``: layer or group of each row."""
    rows = ((st.session_state.get(key) or {}).get("selection") or {}).get("rows") or []
    if rows and rows[0] < len(names):
        show_curve_of(str(names[rows[0]]))


def forget_curves_of(basis: str) -> None:
    """Choose anew for another model, and when measurements begin or are complete."""
    if st.session_state.setdefault(f"{CURVES}-basis", basis) != basis:
        st.session_state[f"{CURVES}-basis"] = basis
        st.session_state.pop(CURVES, None)


def chosen_curves(result: Mapping[str, Any], rows: Sequence[str], quantity: Quantity) -> list[str]:
    """The chosen layers or groups; at first what the address names, and the most sensitive ones."""
    start = most_sensitive(result, rows, quantity, count=_FIRST)
    if CURVES not in st.session_state:
        wanted = wanted_choice("layer")
        st.session_state[CURVES] = [wanted, *start] if wanted is not None and wanted not in start else start
    kept = [name for name in st.session_state[CURVES] if name in rows]
    st.session_state[CURVES] = kept or start
    found: list[str] = st.session_state[CURVES]
    if found:
        write_choice("layer", found[0], start=start[0] if start else "")
    return found


def draw_curves(
    result: Mapping[str, Any], rows: Sequence[str], quantity: Quantity, metric: str, overrides: Mapping[str, float]
) -> None:
    """The menu and the picture; call after ``chosen_curves``."""
    chosen = st.multiselect("Curves of", rows, key=CURVES, max_selections=_MOST_CURVES, format_func=menu_words(rows))
    if chosen:
        draw(
            curves_figure(result, chosen, quantity, metric=metric, overrides=overrides),
            key="sensitivity-curves",
            alt=f"Curves of {', '.join(short(name, 30) for name in chosen)} against sparsity with 95 % intervals",
        )
        if not result.get("estimated"):
            st.caption("Bands are 95 % intervals. Level line: the dense model. Upright line: pinned in the plan.")
