"""The body of the Plan page for methods that remove units of coupled groups."""

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from core.comb.sheet import GroupSheet
from core.methods import METHODS
from core.store.records import Model, Session
from dashboard.components.charts import draw
from dashboard.components.empty import empty
from dashboard.components.format import short
from dashboard.components.group_charts import BARS, group_bars
from dashboard.components.group_edit import BY_PANEL, BY_TABLE, group_table
from dashboard.components.group_facts import choices_of, named
from dashboard.components.group_panel import CHOICE, draw_consequences, draw_panel
from dashboard.components.group_preview import GroupPreview
from dashboard.components.group_why import draw_frozen, pick_from_chart
from dashboard.components.jobs import job_banner, latest_job, submit
from dashboard.components.plan_draft import DraftEditor
from dashboard.components.plan_layers import layer_table
from dashboard.components.plan_start import Base
from dashboard.components.plan_table import draw_bulk, draw_patterns, draw_protected, draw_table

__all__ = ["draw_bars", "draw_groups", "find_groups", "nothing_to_remove"]

_TALL_PX = 470
_CHART = "plan-group-bars-chart"


def draw_bars(sheet: GroupSheet, shown: GroupPreview) -> None:
    """The bar of every group; a click chooses the group that is shown up close."""
    if not shown.rows:
        return
    unit = st.segmented_control(
        "Bars show",
        list(BARS),
        default="share",
        required=True,
        format_func=BARS.__getitem__,
        key="plan-group-bars",
        label_visibility="collapsed",
    )
    # Before the chart is drawn: it shows the choice, and a chart that changes after a click forgets the click.
    pick_from_chart(
        st.session_state.get(_CHART), key=CHOICE, prefix="group:", place=0, known=[*map(named, sheet.groups)]
    )
    chosen = str(st.session_state.get(CHOICE, "")).removeprefix("group:")
    picture = group_bars(shown.rows, unit=str(unit), chosen=chosen)
    tall = picture.layout.height > _TALL_PX
    with st.container(height=_TALL_PX if tall else "content", border=False, key="plan-group-bars-box"):
        most = max(shown.rows, key=lambda row: row.sparsity)
        draw(
            picture,
            key=_CHART,
            alt=f"Bar per group: what stays and what goes; most goes from {short(most.group.name, 40)}",
            on_select="rerun",
        )


def draw_groups(
    editor: DraftEditor,
    session: Session,
    base: Base,
    sheet: GroupSheet,
    shown: GroupPreview,
    layers: Sequence[Mapping[str, Any]],
) -> None:
    """Consequences, the group up close, the table of all groups, and what cannot shrink."""
    draw_consequences(sheet, editor.plan)
    st.header("A group up close", anchor=False)
    group = draw_panel(editor, session, base, sheet, shown)
    st.header("Groups", anchor=False)
    table = group_table(sheet, shown.rows, {str(row["name"]): str(row.get("stage") or "") for row in layers})
    with st.container(horizontal=True, vertical_alignment="bottom"):
        draw_bulk(editor, table)
        if not METHODS[editor.plan.method].trains:
            draw_patterns(editor, layer_table(layers, editor.plan, {}))
        held = choices_of(sheet, editor.plan)[1]
        draw_protected(editor, table, [name for name in table.names if name in held])
    key = f"plan-groups-{editor.generation}-{st.session_state.get(BY_PANEL, 0)}"
    if draw_table(editor, table, key=key, chosen=None if group is None else group.name):
        st.session_state[BY_TABLE] = st.session_state.get(BY_TABLE, 0) + 1
        st.rerun()
    draw_frozen(sheet, key="plan-frozen")


def find_groups(session: Session, model: Model) -> None:
    """For a model that was opened before groups were kept with it: read them once, in the background."""
    empty(
        "The groups of this model are not known yet",
        "It was opened by an earlier version. Reading its groups takes seconds and is done once; the plan runs "
        "without it, too, but nothing of it can be shown before.",
    )
    job = latest_job(session.id, "groups")
    if job is not None and (job.state.live or job.state.name != "DONE"):
        job_banner(job, key="groups")
    if (job is None or not job.state.live) and st.button(
        "Find the groups", type="primary", icon=":material/account_tree:", key=f"find-groups-{model.id[:12]}"
    ):
        submit("groups", {}, session=session, title=f"Groups of {model.name}")
        st.rerun()


def nothing_to_remove(sheet: GroupSheet) -> None:
    """A model without a group: which operation stands in the way, and what still works."""
    why = f" For example {sheet.frozen[0].name}: {sheet.frozen[0].reason}." if sheet.frozen else ""
    empty(
        "Nothing can shrink in this model",
        f"It has no group of channels, heads or neurons that could be removed.{why} Methods that mask single weights "
        "still work: choose another method.",
    )
    draw_frozen(sheet, key="plan-frozen")
