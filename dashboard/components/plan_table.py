"""The editable table of the Plan page, of layers or of groups: cell by cell, in bulk, and what is protected."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import streamlit as st

from core.errors import PlanError
from core.pruning.patterns import PATTERNS
from core.pruning.plan import Plan
from dashboard.components.format import escape, menu_words, short_path, short_paths
from dashboard.components.plan_choices import FIXED, PATTERN, PROTECTED, Action, Item, Write, edited_plan, match_items
from dashboard.components.plan_draft import DraftEditor
from dashboard.components.tables import height_px

__all__ = ["ChoiceTable", "draw_bulk", "draw_patterns", "draw_protected", "draw_table", "picked_in_table"]

_ACTIONS: dict[Action, str] = {
    "fix": "Fix at",
    "pattern": "Give a pattern",
    "protect": "Protect",
    "free": "Let the allocation decide",
}
_MOST_ROWS = 16
_NAME_CHARS = 30
_SHOWN, _PICKED = "shown", "plan-table-picked"


@dataclass(frozen=True)
class ChoiceTable:
    """What the tables of layers and of groups differ in.

    ``noun``: “layer” or “group”. ``write`` puts a choice into a plan. ``refusal`` says why an item cannot have an N:M
    pattern, or None; without it no pattern is offered. ``kinds``: kind → its word in menus. ``about``: what a choice
    of items is in other words.
    """

    noun: str
    items: Sequence[Item]
    frame: pd.DataFrame
    columns: Mapping[str, Any]
    write: Write
    kinds: Mapping[str, str]
    refusal: Callable[[str, str], str | None] | None = None
    about: Callable[[Sequence[str]], str] = field(default=lambda _: "")

    @property
    def names(self) -> list[str]:
        """Names of all items."""
        return [item.name for item in self.items]


def picked_in_table() -> str | None:
    """The item that was just ticked in the table, once."""
    name = st.session_state.pop(_PICKED, None)
    return None if name is None else str(name)


def draw_table(editor: DraftEditor, table: ChoiceTable, *, key: str, chosen: str | None = None) -> bool:
    """The editable table. An edit is saved; returns True when there was one: the page is to be drawn again.

    ``chosen``: the item that is lit on the drawing; a tick at another one is kept for ``picked_in_table``.
    """
    own_frame, choices = table.frame, (FIXED, PATTERN, PROTECTED, _SHOWN)
    frame = own_frame.assign(**{_SHOWN: [name == chosen for name in own_frame.iloc[:, 0]]})
    picks = f"{_PICKED}-count"
    key = f"{key}-{st.session_state.get(picks, 0)}"
    number = st.column_config.NumberColumn
    own = {
        FIXED: number(
            "Fixed at, %",
            help="0 to below 100. Empty: the allocation decides.",
            min_value=0.0,
            max_value=99.99,
            step=0.01,
        ),
        PATTERN: st.column_config.SelectboxColumn(
            "Pattern", options=list(PATTERNS), width=70, help="Of every 4 (8) neighbouring inputs, 2 (4, 1) stay."
        ),
        PROTECTED: st.column_config.CheckboxColumn("Protected", help=f"Nothing is removed from this {table.noun}."),
        _SHOWN: st.column_config.CheckboxColumn(
            "Shown", width=85, help=f"The {table.noun} that is lit on the drawing and under the slider above."
        ),
    }
    edited = st.data_editor(
        frame.assign(**{str(frame.columns[0]): short_paths(frame.iloc[:, 0], _NAME_CHARS)}),
        key=key,
        alt=f"{len(frame)} {table.noun}s with what goes, fixed sparsity and protection",
        hide_index=True,
        num_rows="fixed",
        placeholder="–",
        disabled=[column for column in frame.columns if column not in choices],
        column_order=[_SHOWN, *own_frame.columns],
        height=height_px(len(frame), _MOST_ROWS),
        column_config={**table.columns, **{name: own[name] for name in choices if name in frame.columns}},
    )
    before = editor.plan
    ticked = [str(name) for name, now in zip(frame.iloc[:, 0], edited[_SHOWN], strict=True) if now]
    if ticked != [chosen] and chosen is not None:
        st.session_state[picks] = st.session_state.get(picks, 0) + 1  # the widget must forget the tick
        st.session_state[_PICKED] = next((name for name in ticked if name != chosen), chosen)
        return True
    try:
        wanted = edited_plan(before, frame, edited, table.write)
        refused = _refused(table, wanted, before)
    except PlanError as error:
        st.error(escape(error, markdown=True))
        return False
    if refused:
        st.error(escape(refused, markdown=True))
        return False
    return editor.edit(lambda _: wanted) and editor.plan != before


def _refused(table: ChoiceTable, wanted: Plan, before: Plan) -> str | None:
    """Why a pattern that was just chosen is impossible."""
    for name, pattern in wanted.patterns.items():
        if before.patterns.get(name) == pattern or table.refusal is None:
            continue
        problem = table.refusal(name, pattern)
        if problem:
            return f"{name} cannot be pruned {pattern}: {problem}. Choose a sparsity instead."
    return None


def draw_bulk(editor: DraftEditor, table: ChoiceTable) -> None:
    """One edit for many items: by kind, stage and pattern of names."""
    with st.popover("Bulk edit", icon=":material/checklist:"):
        found = _chosen(table, key="plan-bulk")
        if found is None:
            return
        actions = [action for action in _ACTIONS if action != "pattern" or table.refusal is not None]
        action: Any = st.segmented_control(
            "Do", actions, default="fix", required=True, format_func=_ACTIONS.__getitem__, key="plan-bulk-action"
        )
        percent, pattern = 50.0, ""
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
        elif action == "pattern":
            pattern, found = _with_pattern(table, found, key="plan-bulk")
        _apply(editor, table, found, action, percent / 100.0, pattern, key="plan-bulk-apply")


def draw_patterns(editor: DraftEditor, table: ChoiceTable) -> None:
    """N:M patterns for layers that stay after whole units went: the same choice, without sparsities."""
    with st.popover("N:M patterns", icon=":material/grid_on:"):
        st.caption("On top of what is removed: of every block of neighbouring inputs that is left, the largest stay.")
        found = _chosen(table, key="plan-nm")
        if found is None:
            return
        pattern, able = _with_pattern(table, found, key="plan-nm")
        _apply(editor, table, able, "pattern", 0.0, pattern, key="plan-nm-apply")
        if editor.plan.patterns and st.button("Remove all patterns", key="plan-nm-none"):
            editor.edit(lambda plan: plan.changed(patterns={}), redraw=True)
            st.rerun()


def draw_protected(editor: DraftEditor, table: ChoiceTable, protected: Sequence[str]) -> None:
    """What is protected, as a list to add to and take from. ``protected``: names of items."""
    chosen = st.multiselect(
        f"Protected {table.noun}s",
        table.names,
        default=list(protected),
        format_func=menu_words(table.names),
        placeholder="none: type a name to protect it",
        key=f"plan-protected-{editor.generation}-{hash(tuple(protected))}",
        disabled=editor.conflict,
    )
    added = [name for name in chosen if name not in protected]
    ended = [name for name in protected if name not in chosen]
    if added or ended:

        def changed(plan: Plan) -> Plan:
            plan = table.write(plan, added, "protect", 0.0, "") if added else plan
            return table.write(plan, ended, "free", 0.0, "") if ended else plan

        editor.edit(changed, redraw=True)
        st.rerun()


def _chosen(table: ChoiceTable, *, key: str) -> list[str] | None:
    """Filters, and the names that fit them; None where a filter is none."""
    known = [kind for kind in table.kinds if any(item.kind == kind for item in table.items)]
    kinds = st.multiselect(
        "Kinds", known, format_func=table.kinds.__getitem__, key=f"{key}-kinds", placeholder="all kinds"
    )
    parts = [stage for stage in dict.fromkeys(item.stage for item in table.items) if stage]
    stages = st.multiselect("Stages", parts, key=f"{key}-stages", placeholder="all stages")
    words = st.text_input("Name matches", key=f"{key}-pattern", placeholder="e.g. conv1$ or layer3.*", max_chars=200)
    glob = st.segmented_control(
        "The pattern is a",
        ("regular expression", "glob"),
        default="regular expression",
        required=True,
        key=f"{key}-pattern-kind",
        label_visibility="collapsed",
    )
    try:
        found = match_items(table.items, kinds=kinds, stages=stages, pattern=words, glob=glob == "glob")
    except PlanError as error:
        st.error(escape(error, markdown=True))
        return None
    names = [item.name for item in found]
    shown = ", ".join(escape(short_path(name, 30), markdown=True) for name in names[:4])
    st.caption(
        f"**{len(names)} of {len(table.items)} {table.noun}s**{table.about(names)}"
        + (f": {shown}{' …' if len(names) > 4 else ''}" if names else "")
    )
    return names


def _with_pattern(table: ChoiceTable, names: Sequence[str], *, key: str) -> tuple[str, list[str]]:
    """The pattern, and those of the names that can have it."""
    pattern = st.segmented_control(
        "Pattern", PATTERNS, default=PATTERNS[0], required=True, key=f"{key}-nm", label_visibility="collapsed"
    )
    refusal = table.refusal
    able = [name for name in names if refusal is not None and refusal(name, str(pattern)) is None]
    if len(able) < len(names):
        st.caption(
            f"{len(names) - len(able)} of them cannot: their number of inputs is no multiple of the block. They are "
            "left as they are."
        )
    return str(pattern), able


def _apply(
    editor: DraftEditor,
    table: ChoiceTable,
    names: Sequence[str],
    action: Action,
    sparsity: float,
    pattern: str,
    *,
    key: str,
) -> None:
    help_text = None if names else f"No {table.noun} fits these filters."
    if st.button("Apply", type="primary", key=key, disabled=not names, help=help_text):
        editor.edit(lambda plan: table.write(plan, names, action, sparsity, pattern), redraw=True)
        st.rerun()
