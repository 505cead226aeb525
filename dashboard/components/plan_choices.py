"""What a person may choose for each row of a plan's table, layers or groups: cell by cell, or for many by a filter.

Pure functions; they know nothing of Streamlit. A table is a frame with one row per item, the first column its name.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from core.errors import PlanError
from core.pruning.plan import Plan
from dashboard.components.patterns import compiled

__all__ = ["FIXED", "PATTERN", "PROTECTED", "Action", "Item", "Write", "choice_columns", "edited_plan", "match_items"]

FIXED = "fixed at %"
PATTERN = "pattern"
PROTECTED = "protected"

Action = Literal["fix", "pattern", "protect", "free"]

Write = Callable[[Plan, Sequence[str], Action, float, str], Plan]
"""``write(plan, names, action, sparsity, pattern)``: the plan after one action on items."""


@dataclass(frozen=True)
class Item:
    """A row as filters see it. ``names``: its own and others by which people may look for it."""

    name: str
    kind: str
    stage: str
    names: tuple[str, ...]


def choice_columns(
    fixed: Sequence[float | None], protected: Sequence[bool], patterns: Sequence[str | None] | None = None
) -> dict[str, object]:
    """The columns that a person may edit; sparsities as percentages with two decimals."""
    shown = pd.array([None if value is None else round(100.0 * value, 2) for value in fixed], dtype="Float64")
    columns: dict[str, object] = {FIXED: shown}
    if patterns is not None:
        columns[PATTERN] = list(patterns)
    return columns | {PROTECTED: list(protected)}


def edited_plan(plan: Plan, before: pd.DataFrame, after: pd.DataFrame, write: Write) -> Plan:
    """The plan with what the table now says; only cells that differ from the drawn ones are written.

    A cell shows two decimals: what nobody touched keeps its exact value, and so does what is not in the table. Rows are
    named by the first column of ``before``.

    Raises:
        PlanError: when a cell is not a percentage from 0 to below 100; it names the row.
    """
    name_column = str(before.columns[0])
    for row in range(len(before)):
        old, new = before.iloc[row], after.iloc[row]
        name = str(old[name_column])
        fixed, shown = new[FIXED], old[FIXED]
        if not pd.isna(fixed) and not 0.0 <= float(fixed) < 100.0:
            raise PlanError(
                f"The sparsity of {name} must be at least 0 % and below 100 %; {float(fixed):g} % came. Clear the cell "
                "to let the allocation decide."
            )
        if bool(new[PROTECTED]) != bool(old[PROTECTED]):
            plan = write(plan, [name], "protect" if new[PROTECTED] else "free", 0.0, "")
        elif PATTERN in before and _word(new[PATTERN]) != _word(old[PATTERN]):
            chosen = _word(new[PATTERN])
            plan = write(plan, [name], "pattern" if chosen else "free", 0.0, chosen)
        elif (pd.isna(fixed), pd.isna(shown)) != (True, True) and (
            pd.isna(fixed) or pd.isna(shown) or float(fixed) != float(shown)
        ):
            plan = write(plan, [name], *(("free", 0.0) if pd.isna(fixed) else ("fix", float(fixed) / 100.0)), "")
    return plan


def _word(cell: object) -> str:
    return cell if isinstance(cell, str) else ""


def match_items(
    items: Sequence[Item],
    *,
    kinds: Sequence[str] = (),
    stages: Sequence[str] = (),
    pattern: str = "",
    glob: bool = False,
) -> list[Item]:
    """The items that fit every filter that is not empty.

    ``pattern`` is looked for in the item's names: a regular expression anywhere in a name, or a ``glob``
    (``layer3.*``) over all of it.

    Raises:
        PlanError: when the pattern is not a regular expression, or one that could take for ever.
    """
    wanted = compiled(pattern, glob=glob)
    return [
        item
        for item in items
        if (not kinds or item.kind in kinds)
        and (not stages or item.stage in stages)
        and (wanted is None or any(wanted.search(name) for name in item.names))
    ]
