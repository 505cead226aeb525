"""Edits of a plan that speak of groups: fix, protect and free one or many; and their table."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from core.comb.sheet import GroupSheet, SheetGroup
from core.pruning.plan import Plan
from dashboard.components.group_facts import KINDS, groups_named, named
from dashboard.components.group_preview import GroupRow
from dashboard.components.plan_choices import Action, Item, choice_columns
from dashboard.components.plan_draft import normalised
from dashboard.components.plan_table import ChoiceTable

__all__ = ["BY_PANEL", "BY_TABLE", "group_frame", "group_items", "group_table", "stage_of", "with_groups"]

BY_TABLE, BY_PANEL = "plan-groups-by-table", "plan-groups-by-panel"
"""Counts of edits, in session_state: the table's widget must forget its own when the panel edits, and the reverse."""


def with_groups(
    plan: Plan, sheet: GroupSheet, groups: Iterable[SheetGroup], action: Action, sparsity: float = 0.0
) -> Plan:
    """``action`` on groups; what the plan said of other groups stays, also where one name stood for several."""
    chosen = {group.name: group for group in groups}

    def spread(name: str) -> list[str]:
        """The name itself, or, where it also meant chosen groups, the names of the groups that are not."""
        meant = groups_named(sheet, name)
        if not any(group.name in chosen for group in meant):
            return [name]
        return [named(group) for group in meant if group.name not in chosen]

    overrides = {new: ratio for name, ratio in plan.overrides.items() for new in spread(name)}
    protected = [new for name in plan.protected for new in spread(name)]
    if action == "protect":
        protected += [named(group) for group in chosen.values()]
    elif action == "fix":
        overrides |= {named(group): sparsity for group in chosen.values()}
    return normalised(plan.changed(overrides=overrides, protected=tuple(protected)))


def group_frame(rows: Sequence[GroupRow]) -> pd.DataFrame:
    """One row per group in execution order, with what this plan takes from it."""
    return pd.DataFrame(
        {
            "group": [row.group.name for row in rows],
            "kind": [KINDS[row.group.kind] for row in rows],
            "layers": [len(row.group.layers) for row in rows],
            "units": [row.group.units for row in rows],
            "width": [row.group.width for row in rows],
            "stay": pd.array([None if row.removed is None else row.kept for row in rows], dtype="Int64"),
            "removed %": [float("nan") if row.removed is None else 100.0 * row.sparsity for row in rows],
            **choice_columns([row.fixed for row in rows], [row.protected for row in rows]),
            "parameters %": [100.0 * row.parameters_share for row in rows],
            "macs %": [100.0 * row.macs_share for row in rows],
        }
    )


def stage_of(group: SheetGroup, stages: Mapping[str, str]) -> str:
    """The stage of the first layer that makes the units: the model's own word for it, else the head of the name."""
    first = group.creators[0] if group.creators else group.name
    return stages.get(first) or first.partition(".")[0]


def group_items(groups: Sequence[SheetGroup], stages: Mapping[str, str]) -> list[Item]:
    """The groups as filters see them: names are those of the group and of the layers that make its units."""
    return [Item(group.name, group.kind, stage_of(group, stages), (group.name, *group.creators)) for group in groups]


def group_table(sheet: GroupSheet, rows: Sequence[GroupRow], stages: Mapping[str, str]) -> ChoiceTable:
    """The table of all groups. ``stages``: layer → stage, as the model's reader says."""
    frame = group_frame(rows)
    if not bool((frame["width"] > 1).any()):
        frame = frame.drop(columns=["width"])

    def write(plan: Plan, names: Sequence[str], action: Action, sparsity: float, _pattern: str) -> Plan:
        return with_groups(plan, sheet, [sheet.group(name) for name in names], action, sparsity)

    def about(names: Sequence[str]) -> str:
        return f", {len({layer for name in names for layer in sheet.group(name).creators})} layers"

    return ChoiceTable(
        noun="group",
        items=group_items(sheet.groups, stages),
        frame=frame,
        columns=_columns(),
        write=write,
        kinds=KINDS,
        about=about,
    )


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
        "parameters %": number("Saves parameters, %", format="%.1f", help="Share of the model, this group alone"),
        "macs %": number("Saves MACs, %", format="%.1f", help="Share of the model, this group alone"),
    }
