"""The layer table of the Plan page, cell by cell and in bulk."""

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from core.errors import PlanError
from dashboard.components.format import escape, short
from dashboard.components.plan_draft import DraftEditor, with_bulk
from dashboard.components.plan_layers import (
    FIXED,
    PROTECTED,
    edited_plan,
    kinds_of,
    layer_frame,
    match_layers,
    stages_of,
)

__all__ = ["draw_bulk", "draw_table"]

_ACTIONS = {"fix": "Fix at", "protect": "Protect", "free": "Let the allocation decide"}
_ROW_PX, _MOST_ROWS = 35, 16


def draw_table(editor: DraftEditor, layers: Sequence[Mapping[str, Any]], planned: Mapping[str, float]) -> None:
    """The editable table. An edit is saved and the page drawn again, because the pictures above show it, too."""
    frame = layer_frame(layers, editor.plan, planned)
    edited = st.data_editor(
        frame,
        key=f"plan-layers-{editor.generation}",
        alt=f"{len(frame)} prunable layers with planned sparsity, fixed sparsity and protection",
        hide_index=True,
        num_rows="fixed",
        placeholder="–",
        disabled=["layer", "kind", "weights", "planned %"],
        height=_ROW_PX * (min(len(frame), _MOST_ROWS) + 1) + 3,
        column_config={
            "layer": st.column_config.TextColumn("Layer", width="medium"),
            "kind": st.column_config.TextColumn("Kind", width="small"),
            "weights": st.column_config.NumberColumn("Weights", format="localized", width="small"),
            "planned %": st.column_config.ProgressColumn("Planned, %", min_value=0, max_value=100, format="%.1f"),
            FIXED: st.column_config.NumberColumn(
                "Fixed at, %",
                help="0 to below 100. Empty: the allocation decides.",
                min_value=0.0,
                max_value=99.99,
                step=0.01,
            ),
            PROTECTED: st.column_config.CheckboxColumn("Protected", help="Nothing is removed from this layer."),
        },
    )
    try:
        wanted = edited_plan(editor.plan, edited)
    except PlanError as error:
        st.error(escape(error, markdown=True))
        return
    before = editor.plan
    if editor.edit(lambda _: wanted) and editor.plan != before:
        st.rerun()


def draw_bulk(editor: DraftEditor, layers: Sequence[Mapping[str, Any]]) -> None:
    """One edit for many layers: by kind, stage and pattern."""
    with st.popover("Bulk edit", icon=":material/checklist:"):
        kinds = st.multiselect("Kinds", kinds_of(layers), key="plan-bulk-kinds", placeholder="all kinds")
        stages = st.multiselect("Stages", stages_of(layers), key="plan-bulk-stages", placeholder="all stages")
        pattern = st.text_input(
            "Name matches", key="plan-bulk-pattern", placeholder="regular expression, e.g. conv1$", max_chars=200
        )
        try:
            names = match_layers(layers, kinds=kinds, stages=stages, pattern=pattern)
        except PlanError as error:
            st.error(escape(error, markdown=True))
            return
        shown = ", ".join(escape(short(name, 30), markdown=True) for name in names[:4])
        st.caption(
            f"**{len(names)} of {len(layers)} layers**"
            + (f": {shown}{' …' if len(names) > 4 else ''}" if names else "")
        )
        action = st.segmented_control(
            "Do",
            list(_ACTIONS),
            default="fix",
            required=True,
            format_func=_ACTIONS.__getitem__,
            key="plan-bulk-action",
        )
        percent = 50.0
        if action == "fix":
            entered = st.number_input(
                "Sparsity of each, %",
                min_value=0.0,
                max_value=99.99,
                value=50.0,
                step=5.0,
                format="%.4g",
                key="plan-bulk-percent",
            )
            percent = float(entered if entered is not None else 0.0)
        help_text = None if names else "No layer fits these filters."
        if st.button("Apply", type="primary", key="plan-bulk-apply", disabled=not names, help=help_text):
            editor.edit(lambda plan: with_bulk(plan, names, str(action), percent / 100.0), redraw=True)
            st.rerun()
