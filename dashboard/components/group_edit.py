"""Edits of a plan that speak of groups: fix, protect and free one or many, cell by cell or by a filter."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import pandas as pd

from core.comb.sheet import GroupSheet, SheetGroup
from core.errors import PlanError
from core.pruning.plan import Plan
from dashboard.components.group_facts import KINDS, choices_of, groups_named, named
from dashboard.components.group_preview import GroupRow
from dashboard.components.patterns import compiled
from dashboard.components.plan_draft import normalised

__all__ = ["FIXED", "PROTECTED", "Action", "edited_groups", "group_frame", "match_groups", "stage_of", "with_groups"]

FIXED = "fixed at %"
PROTECTED = "protected"

Action = Literal["fix", "protect", "free"]


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
            FIXED: pd.array([None if row.fixed is None else round(100.0 * row.fixed, 2) for row in rows], "Float64"),
            PROTECTED: [row.protected for row in rows],
            "parameters %": [100.0 * row.parameters_share for row in rows],
            "macs %": [100.0 * row.macs_share for row in rows],
        }
    )


def edited_groups(plan: Plan, sheet: GroupSheet, frame: pd.DataFrame) -> Plan:
    """The plan with what the table now says; only groups whose cells changed are written.

    Raises:
        PlanError: when a cell is not a percentage from 0 to below 100; it names the group.
    """
    fixed, held = choices_of(sheet, plan)
    by_name = {group.name: group for group in sheet.groups}
    for name, entered, whole in zip(frame["group"], frame[FIXED], frame[PROTECTED], strict=True):
        before = fixed.get(name)
        shown = None if before is None else round(100.0 * before, 2)
        now = None if pd.isna(entered) else float(entered)
        if now is not None and not 0.0 <= now < 100.0:
            raise PlanError(
                f"The sparsity of {name} must be at least 0 % and below 100 %; {now:g} % came. Clear the cell to let "
                "the allocation decide."
            )
        group = by_name[name]
        if bool(whole) != (name in held):
            plan = with_groups(plan, sheet, [group], "protect" if whole else "free")
        elif now != shown and not whole:
            plan = with_groups(plan, sheet, [group], "free" if now is None else "fix", (now or 0.0) / 100.0)
    return plan


def stage_of(group: SheetGroup, stages: Mapping[str, str]) -> str:
    """The stage of the first layer that makes the units: the model's own word for it, else the head of the name."""
    first = group.creators[0] if group.creators else group.name
    return stages.get(first) or first.partition(".")[0]


def match_groups(
    groups: Sequence[SheetGroup],
    *,
    kinds: Sequence[str] = (),
    stages: Sequence[str] = (),
    pattern: str = "",
    glob: bool = False,
    stage_names: Mapping[str, str] | None = None,
) -> list[SheetGroup]:
    """The groups that fit every filter that is not empty.

    ``pattern`` is looked for in the group's name and in those of the layers that make its units: a regular expression
    anywhere in a name, or a ``glob`` (``layer3.*``) over all of it.

    Raises:
        PlanError: when the pattern is not a regular expression, or one that could take for ever.
    """
    wanted = compiled(pattern, glob=glob)
    return [
        group
        for group in groups
        if (not kinds or group.kind in kinds)
        and (not stages or stage_of(group, stage_names or {}) in stages)
        and (wanted is None or any(wanted.search(name) for name in (group.name, *group.creators)))
    ]
