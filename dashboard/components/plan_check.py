"""Score of a plan on a slice of the selection split, measured in the background while one goes on editing.

Once the slider rests, a check starts by itself where nothing else waits or runs, and is cancelled when the plan changes
again. Its result takes the place of the estimate and is remembered: later estimates of this model learn from it.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from core.errors import PlanError
from core.methods import METHODS
from core.planning.outlook import untrained
from core.pruning.plan import Plan
from core.store.records import Dataset, Job, JobState, Session
from dashboard import backend
from dashboard.components.badges import number_html, numbers
from dashboard.components.format import interval, percent, points
from dashboard.components.jobs import job_banner, live_jobs, submit
from dashboard.components.plan_draft import normalised
from dashboard.following import follow

__all__ = ["REST_S", "check_of", "checkable", "checks_of", "draw_check", "same_plan"]

KIND = "check"
_IMAGES = 256
_LEAST = 16
REST_S = 1.2
"""How long a plan must stay as it is before it is checked by itself; also how often that is looked at."""


def same_plan(plan: Plan, other: Mapping[str, Any]) -> bool:
    """Whether a stored plan does the same as the draft; its name does not matter."""
    try:
        return normalised(Plan.parse(dict(other))).changed(name="") == normalised(plan).changed(name="")
    except ValueError:
        return False


def checkable(plan: Plan) -> Plan | None:
    """The plan that a check tries: what trains is tried before training. None where there is nothing to try."""
    try:
        return untrained(plan)
    except PlanError:  # it removes nothing, or its settings are to be corrected first
        return None


def checks_of(session: Session) -> list[Job]:
    """The checks of a session, newest first."""
    return [job for job in backend.store().jobs(session_id=session.id) if job.kind == KIND]


def check_of(plan: Plan, checks: Sequence[Job]) -> Job | None:
    """The newest finished check of this very plan, before training."""
    plan = checkable(plan) or plan
    done = (job for job in checks if job.state is JobState.DONE and job.result)
    return next((job for job in done if job.payload.get("plan") and same_plan(plan, job.payload["plan"])), None)


def draw_check(
    session: Session,
    plan: Plan,
    data: Dataset | None,
    *,
    metric: str,
    reason: str | None,
    checks: Sequence[Job],
) -> None:
    """Button, automatic mode, and the newest result. ``reason``: why the plan cannot be checked.

    A plan that trains is checked as it is before training.
    """
    trains = METHODS[plan.method].trains
    checked = checkable(plan)
    if data is None or checked is None:
        return
    plan = checked
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
            f"Check the {metric} before training" if trains else f"Check the {metric} now",
            icon=":material/fact_check:",
            key="plan-check-start",
            disabled=reason is not None,
            help=reason or "Removes, recalibrates and measures in the background. Nothing is kept but the result.",
            width="stretch",
        )
        always = auto.toggle(
            "After each edit",
            value=True,
            key="plan-check-auto",
            help="Check by itself once the plan rests and nothing else runs. The result replaces the estimate.",
        )
        job = checks[0] if checks else None
        edited = _edited(session, plan)
        if reason is None and asked:
            job = _start(session, plan, count)
        elif edited:
            _cancel_others(session, plan, count)
        _draw(plan, job, checks, metric)
        if reason is None and always and not asked and edited and not _is_of(job, plan, count):
            follow(_when_at_rest, every_s=REST_S)(session, plan, count, time.monotonic())


def _edited(session: Session, plan: Plan) -> bool:
    """Whether this tab has changed the plan since it first drew it; remembers when it last did."""
    body = plan.changed(name="").model_dump_json()
    seen = st.session_state.setdefault(f"plan-rest:{session.id}", {"plan": body, "since": 0.0})
    if seen["plan"] != body:
        seen |= {"plan": body, "since": time.monotonic()}
    return bool(seen["since"])


def _when_at_rest(session: Session, plan: Plan, images: int, drawn: float) -> None:
    """Start the check once the plan has rested and nothing else of this session waits or runs; then draw it.

    While the page itself is drawn (``drawn``) it is not drawn anew: that would lose the click that it is drawn for.
    """
    if not _is_of(next(iter(checks_of(session)), None), plan, images):
        rested = time.monotonic() - float(st.session_state[f"plan-rest:{session.id}"]["since"])
        if rested < REST_S or live_jobs(session.id):
            return
        _start(session, plan, images)
    if time.monotonic() - drawn > REST_S / 2:
        st.rerun(scope="app")


def _is_of(job: Job | None, plan: Plan, images: int) -> bool:
    """Whether the newest check was of this plan; one that failed is not repeated by itself."""
    return job is not None and job.payload.get("images") == images and same_plan(plan, job.payload.get("plan") or {})


def _cancel_others(session: Session, plan: Plan, images: int) -> None:
    """A check of an older plan is of no use any more."""
    for live in live_jobs(session.id):
        if live.kind == KIND and not _is_of(live, plan, images):
            backend.runner().cancel(live.id)


def _start(session: Session, plan: Plan, images: int) -> Job:
    _cancel_others(session, plan, images)
    payload = {"plan": plan.to_json(), "images": images}
    return submit(KIND, payload, session=session, title=f"Check on {images} images")


def _draw(plan: Plan, job: Job | None, checks: Sequence[Job], metric: str) -> None:
    """The work that goes on or failed, and the newest result, whatever plan it is of."""
    if job is not None and (job.state.live or job.state is JobState.FAILED):
        job_banner(job, key="check")
    done = check_of(plan, checks) or next((check for check in checks if check.state is JobState.DONE), None)
    if done is None or not done.result:
        if job is None:
            st.caption("Measured on a slice in the background; you can go on editing.")
        return
    body = done.result
    stale = not same_plan(plan, done.payload.get("plan") or body.get("plan") or {})
    numbers(
        [
            number_html(
                f"{metric[:1].upper()}{metric[1:]} on a slice",
                percent(body.get("score")),
                n=body.get("n"),
                interval=f"95 % interval {interval(body.get('low'), body.get('high'))}",
                note=f"dense {percent(body.get('dense_score'))}: {points(body.get('difference'))}{_expected(body)}",
            )
        ]
    )
    if stale:
        st.caption(":material/history: **Of an earlier plan**: the plan has changed since this was measured.")


def _expected(body: Mapping[str, Any]) -> str:
    """What had been said before the measurement."""
    said = body.get("estimated")
    return f"; expected had been {percent(said['score'])} ({interval(said['low'], said['high'])})" if said else ""
