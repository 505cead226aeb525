"""Accuracy of a plan on a slice of the selection split, measured in the background while one goes on editing."""

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from core.methods import METHODS
from core.pruning.plan import Plan
from core.store.records import Dataset, Job, JobState, Session
from dashboard import backend
from dashboard.components.badges import number_html, numbers
from dashboard.components.format import interval, percent, points
from dashboard.components.jobs import job_banner, live_jobs, submit
from dashboard.components.plan_draft import normalised

__all__ = ["draw_check", "same_plan"]

KIND = "check"
_IMAGES = 256
_LEAST = 16


def same_plan(plan: Plan, other: Mapping[str, Any]) -> bool:
    """Whether a stored plan does the same as the draft; its name does not matter."""
    try:
        return normalised(Plan.parse(dict(other))).changed(name="") == normalised(plan).changed(name="")
    except ValueError:
        return False


def draw_check(session: Session, plan: Plan, data: Dataset | None, *, metric: str, reason: str | None) -> None:
    """Button, automatic mode, and the newest result. ``reason``: why the plan cannot be checked."""
    if data is None or METHODS[plan.method].trains:
        return  # what trains takes longer than a check: it is run
    with st.container(border=True, key="plan-check"):
        most = int(data.description.get("counts", {}).get("select") or _IMAGES)
        images, button, auto = st.columns([2, 3, 2], vertical_alignment="bottom")
        wanted = images.number_input(
            "Images",
            min_value=min(_LEAST, most),
            max_value=most,
            value=min(_IMAGES, most),
            step=max(1, min(64, most // 4)),
            key="plan-check-images",
            help="From the selection split; the test split is left for the run.",
        )
        count = int(wanted or min(_IMAGES, most))
        asked = button.button(
            f"Check the {metric} now",
            icon=":material/fact_check:",
            key="plan-check-start",
            disabled=reason is not None,
            help=reason or "Removes, recalibrates and measures in the background. Nothing is kept but the result.",
            width="stretch",
        )
        always = auto.toggle("After each edit", key="plan-check-auto", help="Check again whenever the plan changes.")
        checks = [job for job in backend.store().jobs(session_id=session.id) if job.kind == KIND]  # newest first
        job = checks[0] if checks else None
        if reason is None and (asked or (always and not _is_of(job, plan, count))):
            job = _start(session, plan, count)
        _draw(plan, job, checks, metric)


def _is_of(job: Job | None, plan: Plan, images: int) -> bool:
    """Whether the newest check was of this plan; one that failed is not repeated by itself."""
    return job is not None and job.payload.get("images") == images and same_plan(plan, job.payload.get("plan") or {})


def _start(session: Session, plan: Plan, images: int) -> Job:
    """Check this plan; a check of an older one is of no use any more."""
    for live in live_jobs(session.id):
        if live.kind == KIND and not _is_of(live, plan, images):
            backend.runner().cancel(live.id)
    payload = {"plan": plan.to_json(), "images": images}
    return submit(KIND, payload, session=session, title=f"Check on {images} images")


def _draw(plan: Plan, job: Job | None, checks: Sequence[Job], metric: str) -> None:
    """The work that goes on or failed, and the newest result, whatever plan it is of."""
    if job is not None and (job.state.live or job.state is JobState.FAILED):
        job_banner(job, key="check")
    done = next((check for check in checks if check.state is JobState.DONE), None)
    if done is None or not done.result:
        if job is None:
            st.caption("Measured on a slice in the background; you can go on editing.")
        return
    body = done.result
    stale = not same_plan(plan, done.payload.get("plan") or body.get("plan") or {})
    note = f"dense {percent(body.get('dense_score'))}: {points(body.get('difference'))}"
    numbers(
        [
            number_html(
                f"{metric[:1].upper()}{metric[1:]} on a slice",
                percent(body.get("score")),
                n=body.get("n"),
                interval=f"95 % interval {interval(body.get('low'), body.get('high'))}",
                note=note,
            )
        ]
    )
    if stale:
        st.caption(":material/history: **Of an earlier plan**: the plan has changed since this was measured.")
