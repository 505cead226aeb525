"""The end of the Plan page: a name, the button, and what became of it."""

from typing import Any

import streamlit as st

from core.methods import METHODS
from core.pruning.allocation import ALLOCATIONS
from core.pruning.criteria import CRITERIA
from core.pruning.groups import GROUP_ALLOCATIONS, GROUP_CRITERIA
from core.pruning.plan import Plan
from core.store.records import Job, JobState, Session
from dashboard import state
from dashboard.components.format import escape
from dashboard.components.group_preview import effective, own_default
from dashboard.components.jobs import job_banner, latest_job, submit
from dashboard.components.plan_draft import DraftEditor

__all__ = ["default_name", "draw_run"]

_LAYERS: dict[str, Any] = {"allocation": ALLOCATIONS, "criterion": CRITERIA}
_GROUPS: dict[str, Any] = {"allocation": GROUP_ALLOCATIONS, "criterion": GROUP_CRITERIA}


def default_name(plan: Plan) -> str:
    """What a variant is called when nobody names it: ``LAMP 80 %``, ``Groups: Global 50 %, Taylor``, ``CPD 50 %``."""
    units = plan.method in METHODS and METHODS[plan.method].removes == "units"
    trains = plan.method in METHODS and METHODS[plan.method].trains
    parts = [METHODS[plan.method].title.split(" · ")[0] if trains else "Groups" if units else ""]
    if not units or own_default(plan.method, "allocation") is not None:  # else the method shares the cut itself
        parts = [f"{parts[0]}: " if parts[0] else "", _title(plan, "allocation", units=units)]
    name = f"{''.join(parts)} {100 * plan.sparsity:g} %"
    ranks = not units or own_default(plan.method, "criterion") is not None
    if ranks and effective(plan, "criterion") != "magnitude":
        name += f", {_title(plan, 'criterion', units=units).split(' ')[0]}"
    if plan.patterns:
        kinds = sorted(set(plan.patterns.values()))
        name += f", {' and '.join(kinds)} in {len(plan.patterns)}"
    return name + (f", {len(plan.overrides)} fixed" if plan.overrides else "")


def _title(plan: Plan, field: str, *, units: bool) -> str:
    """The menu's name of the allocation or criterion in force."""
    known: Any = _GROUPS[field] if units else _LAYERS[field]
    name = effective(plan, field)
    return str(known[name].title) if name in known else name


def draw_run(editor: DraftEditor, session: Session, *, reason: str | None) -> None:
    """Draw name and button; ``reason`` says why the plan cannot run as it stands."""
    with st.container(border=True, key="plan-run"):
        name = st.text_input(
            "Name of the variant",
            value=editor.plan.name,
            placeholder=default_name(editor.plan),
            max_chars=120,
            key=f"plan-name-{editor.generation}",
        )
        editor.edit(lambda plan: plan.changed(name=name.strip()))
        if editor.conflict:
            reason = "Reload the plan first: it was changed elsewhere."
        asked = st.button(
            "Run this plan",
            type="primary",
            icon=":material/play_arrow:",
            disabled=reason is not None,
            help=reason,
            key="plan-run-button",
            width="stretch",
        )
        if reason is not None:
            st.caption(escape(reason, markdown=True))
        if asked and reason is None:
            plan = editor.plan
            chosen = plan.name or default_name(plan)
            submit("prune", {"plan": plan.to_json(), "name": chosen}, session=session, title=f"Prune: {chosen}")
            st.toast("Queued. It runs in the background: you can go on.", icon=":material/check:")
        last = latest_job(session.id, "prune")
        if last is not None and (last.state is not JobState.DONE or last.payload.get("plan") == editor.plan.to_json()):
            _draw_last(last)


def _draw_last(job: Job) -> None:
    if job.state is JobState.DONE:
        st.success(f"**{escape(job.title, markdown=True)}** is done.", icon=":material/check_circle:")
        state.link("compare", label="Compare it with the dense model", icon=":material/arrow_forward:")
        return
    job_banner(job, key="plan")
    state.link("runs", label="See all runs", icon=":material/arrow_forward:")
