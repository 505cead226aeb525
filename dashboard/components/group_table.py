"""All groups of the Plan page as an editable table, and one edit for many of them."""

from collections.abc import Mapping
from typing import Any

import streamlit as st

from core.comb.sheet import GroupSheet
from core.errors import PlanError
from dashboard.components.format import escape, short
from dashboard.components.group_edit import (
    FIXED,
    PROTECTED,
    Action,
    edited_groups,
    group_frame,
    match_groups,
    stage_of,
    with_groups,
)
from dashboard.components.group_facts import KINDS
from dashboard.components.group_preview import GroupPreview
from dashboard.components.plan_draft import DraftEditor

__all__ = ["BY_PANEL", "BY_TABLE", "draw_group_bulk", "draw_group_table"]

BY_TABLE, BY_PANEL = "plan-groups-by-table", "plan-groups-by-panel"
"""Counts of edits, in session_state: the table's widget must forget its own when the panel edits, and the reverse."""

_ACTIONS: dict[Action, str] = {"fix": "Fix at", "protect": "Protect", "free": "Let the allocation decide"}
_ROW_PX, _MOST_ROWS = 35, 16


def draw_group_table(editor: DraftEditor, sheet: GroupSheet, shown: GroupPreview) -> None:
    """The editable table. An edit is saved and the page drawn again, because the pictures above show it, too."""
    frame = group_frame(shown.rows)
    wide = bool((frame["width"] > 1).any())
    edited = st.data_editor(
        frame if wide else frame.drop(columns=["width"]),
        key=f"plan-groups-{editor.generation}-{st.session_state.get(BY_PANEL, 0)}",
        alt=f"{len(frame)} groups with units, what stays, fixed sparsity and protection",
        hide_index=True,
        num_rows="fixed",
        placeholder="–",
        disabled=[column for column in frame.columns if column not in (FIXED, PROTECTED)],
        height=_ROW_PX * (min(len(frame), _MOST_ROWS) + 1) + 3,
        column_config=_columns(),
    )
    try:
        wanted = edited_groups(editor.plan, sheet, edited)
    except PlanError as error:
        st.error(escape(error, markdown=True))
        return
    before = editor.plan
    if editor.edit(lambda _: wanted) and editor.plan != before:
        st.session_state[BY_TABLE] = st.session_state.get(BY_TABLE, 0) + 1
        st.rerun()


def _columns() -> dict[str, Any]:
    number, text = st.column_config.NumberColumn, st.column_config.TextColumn
    return {
        "group": text("Group", width="medium", help="Named after the first layer that makes its units"),
        "kind": text("Kind", width="small"),
        "layers": number("Layers", width=65, help="Layers that shrink together, norms included"),
        "units": number("Units", width=60),
        "width": number("Width", width=60, help="Channels that one unit stands for"),
        "stay": number("Stay", width=60, help="Units that stay, after “round to” and “keep at least”"),
        "removed %": st.column_config.ProgressColumn("Removed, %", min_value=0, max_value=100, format="%.1f"),
        FIXED: number(
            "Fixed at, %",
            help="0 to below 100. Empty: the allocation decides.",
            min_value=0.0,
            max_value=99.99,
            step=0.01,
        ),
        PROTECTED: st.column_config.CheckboxColumn("Protected", help="Nothing is removed from this group."),
        "parameters %": number("Saves parameters, %", format="%.1f", help="Share of the model, this group alone"),
        "macs %": number("Saves MACs, %", format="%.1f", help="Share of the model, this group alone"),
    }


def draw_group_bulk(editor: DraftEditor, sheet: GroupSheet, stages: Mapping[str, str]) -> None:
    """One edit for many groups: by kind, stage and pattern. ``stages``: layer → stage, as the model's reader says."""
    groups = sheet.groups
    with st.popover("Bulk edit", icon=":material/checklist:"):
        known = [kind for kind in KINDS if any(group.kind == kind for group in groups)]
        kinds = st.multiselect(
            "Kinds", known, format_func=KINDS.__getitem__, key="plan-bulk-kinds", placeholder="all kinds"
        )
        parts = list(dict.fromkeys(stage_of(group, stages) for group in groups))
        chosen = st.multiselect("Stages", parts, key="plan-bulk-stages", placeholder="all stages")
        pattern = st.text_input(
            "Name matches", key="plan-bulk-pattern", placeholder="e.g. conv1$ or layer3.*", max_chars=200
        )
        glob = st.segmented_control(
            "The pattern is a",
            ("regular expression", "glob"),
            default="regular expression",
            required=True,
            key="plan-bulk-pattern-kind",
            label_visibility="collapsed",
        )
        try:
            found = match_groups(
                groups, kinds=kinds, stages=chosen, pattern=pattern, glob=glob == "glob", stage_names=stages
            )
        except PlanError as error:
            st.error(escape(error, markdown=True))
            return
        names = ", ".join(escape(short(group.name, 30), markdown=True) for group in found[:4])
        layers = len({layer for group in found for layer in group.creators})
        st.caption(
            f"**{len(found)} of {len(groups)} groups**, {layers} layers"
            + (f": {names}{' …' if len(found) > 4 else ''}" if found else "")
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
        help_text = None if found else "No group fits these filters."
        if st.button("Apply", type="primary", key="plan-bulk-apply", disabled=not found, help=help_text):
            editor.edit(lambda plan: with_groups(plan, sheet, found, action, percent / 100.0), redraw=True)
            st.rerun()
