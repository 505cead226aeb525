"""The end of the Plan page: a name, the button, and what became of it."""

import streamlit as st

from core.methods.naming import default_name
from core.store.records import Job, JobState, Session
from dashboard import state
from dashboard.components.format import escape
from dashboard.components.jobs import job_banner, latest_job, submit
from dashboard.components.plan_draft import DraftEditor

__all__ = ["draw_run"]


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
