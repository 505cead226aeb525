"""Background work as a person sees it: progress, time left, cancel; when it fails the reason, and the traceback in a
drawer. Polls once a second while the work is live and not at all afterwards."""

from typing import Any

import streamlit as st

from core.errors import AccessError
from core.jobs.kinds import kinds_of
from core.reach import confined
from core.store.records import Job, JobState, Session
from dashboard import backend
from dashboard.following import follow

from .format import duration, escape

__all__ = [
    "POLL_S",
    "as_it_stands",
    "cancel",
    "job_banner",
    "job_line",
    "latest_job",
    "live_jobs",
    "stands_still",
    "submit",
    "technical_details",
]

POLL_S = 1.0
_STILL = "waits while time is measured"
_ENDED = {
    JobState.CANCELLED: ("was cancelled.", ":material/block:"),
    JobState.INTERRUPTED: ("was interrupted when the program stopped. Start it again.", ":material/power_off:"),
}


def live_jobs(session_id: str) -> list[Job]:
    """Queued and running jobs of a session, newest first."""
    return list(backend.store().jobs(session_id=session_id, states=(JobState.QUEUED, JobState.RUNNING)))


def latest_job(session_id: str, kind: str) -> Job | None:
    """The newest job of one kind in a session."""
    return next((job for job in backend.store().jobs(session_id=session_id) if job.kind == kind), None)


def submit(kind: str, payload: dict[str, Any], *, session: Session, title: str | None = None) -> Job:
    """Start work in the background. A second click while the same work is live gives the job that already runs."""
    for job in live_jobs(session.id):
        if job.kind == kind and job.payload == payload:
            return job
    return backend.runner().submit(kind, payload, session_id=session.id, title=title)


def cancel(job: Job) -> None:
    """Stop a job, if it is this person's, and say so."""
    try:
        backend.runner().cancel(job.id)
    except AccessError as error:
        st.toast(escape(error, markdown=True), icon=":material/block:")
    else:
        st.toast("Stopping at the next safe point.")


def stands_still(job: Job) -> bool:
    """Whether a running job waits meanwhile for one that measures time, which runs alone."""
    timing = kinds_of("measure")
    if job.state is not JobState.RUNNING or job.kind in timing:
        return False
    return any(place.running and place.kind in timing for place in backend.store().queue())


def as_it_stands(job: Job) -> Job:
    """The job as people read it: one that ``stands_still`` says so, whatever it did last."""
    return job.model_copy(update={"message": _STILL, "eta_s": None}) if stands_still(job) else job


def job_line(job: Job) -> str:
    """Where the job stands, in one line: “Reading the data · 40 % · 12 s left”."""
    if job.state is JobState.QUEUED:
        return "waiting for its turn"
    parts = [job.message] if job.message else []
    if job.total > 0:
        parts.append(f"{100 * min(job.done / job.total, 1):.0f} %")
    if job.eta_s is not None:
        parts.append(f"{duration(job.eta_s)} left")
    return " · ".join(parts) or "starting"


def job_banner(job: Job, *, key: str = "") -> None:
    """Draw a job. While it is live the banner follows it, and when it ends the page is drawn anew, once.

    A finished job draws nothing: its result is what the page shows.
    """
    where = f"job-{key or 'banner'}-{job.id}"
    if job.state.live:
        follow(_follow, every_s=POLL_S)(job.id, where)
    else:
        _draw_ended(job)


def _follow(job_id: str, where: str) -> None:
    job = backend.store().get_job(job_id)
    if not job.state.live:
        st.rerun(scope="app")
    _draw_live(job, where)


def _draw_live(job: Job, where: str) -> None:
    with st.container(border=True, key=where, horizontal=True, vertical_alignment="center"):
        line = st.container(width="stretch")
        fraction = min(max(job.done / job.total, 0.0), 1.0) if job.total > 0 else 0.0
        words = escape(job_line(as_it_stands(job)), markdown=True)
        line.progress(fraction, text=f"**{escape(job.title, markdown=True)}** · {words}")
        if st.button("Cancel", key=f"{where}-cancel"):
            cancel(job)


def _draw_ended(job: Job) -> None:
    title = escape(job.title, markdown=True)
    if job.state is JobState.FAILED:
        st.error(
            f"**{title} failed.** {escape(job.error or 'No reason was recorded.', markdown=True)}",
            icon=":material/error:",
        )
        technical_details(job)
    elif job.state in _ENDED:
        words, icon = _ENDED[job.state]
        st.warning(f"**{title}** {words}", icon=icon)


def technical_details(job: Job) -> None:
    """A drawer with the traceback of a failed job; not on a server for others, whose folders it would name."""
    if job.traceback and not confined():
        with st.expander("Technical details"):
            st.code(job.traceback, language=None, wrap_lines=True)
