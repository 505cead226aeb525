"""Where variants come from: each below the one that it was made of, with the plan that made it."""

from collections.abc import Sequence

import streamlit as st

from core.errors import EspalierError
from core.methods import METHODS
from core.pruning.plan import Plan
from dashboard.components.compare_data import Row
from dashboard.components.fold import fold
from dashboard.components.format import escape, percent

__all__ = ["branches", "draw_lineage"]


def branches(rows: Sequence[Row]) -> list[tuple[int, Row]]:
    """Every row once, each with its depth: parents before children, siblings in the order in which they were made.

    A row whose parent is gone stands at the root.
    """
    known = {row.variant.id for row in rows}
    children: dict[str | None, list[Row]] = {}
    for row in rows:
        parent = row.variant.parent_id
        children.setdefault(parent if parent in known and parent != row.variant.id else None, []).append(row)
    found: list[tuple[int, Row]] = []
    waiting = [(0, row) for row in reversed(children.get(None, []))]
    while waiting:
        depth, row = waiting.pop()
        found.append((depth, row))
        waiting += [(depth + 1, child) for child in reversed(children.get(row.variant.id, []))]
    return found


def draw_lineage(rows: Sequence[Row]) -> None:
    """The tree, folded away; nothing for the dense model alone."""
    if len(rows) < 2:
        return
    fold(
        "Where the variants come from",
        lambda: st.html(_tree_html(rows)),
        key="compare-lineage",
        icon=":material/account_tree:",
    )


def _tree_html(rows: Sequence[Row]) -> str:
    lines = (
        f'<li style="margin-left: {1.4 * depth:.1f}rem"><b>{escape(row.variant.name)}</b> '
        f'<span class="esp-chip">{percent(row.score)}</span> <small>{escape(_made(row))}</small></li>'
        for depth, row in branches(rows)
    )
    return f'<ul class="esp-tree">{"".join(lines)}</ul>'


def _made(row: Row) -> str:
    """The plan in a few words."""
    if row.variant.plan is None:
        return "as it was opened"
    try:
        plan = Plan.parse(row.variant.plan)
        title = METHODS[plan.method].title
    except EspalierError:
        return "by a plan of another version"
    return f"{title}, {percent(plan.sparsity, 0)}, seed {plan.seed}"
