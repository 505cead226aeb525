"""The measured share of time of every layer, and the button that measures it."""

import streamlit as st

from core.store.records import Job, Session
from dashboard import backend, state
from dashboard.components.format import percent
from dashboard.components.jobs import job_banner, latest_job, submit

__all__ = ["measured_times", "time_button"]


def measured_times(session: Session) -> tuple[dict[str, float] | None, Job | None]:
    """The measured share of time per layer, newest first, and the latest job that measures it."""
    dense = state.dense_variant(session)
    found = backend.store().measurements(dense.id, kind="layer_times") if dense else []
    newest = max(found, key=lambda measurement: measurement.created, default=None)
    return (dict(newest.result["shares"]) if newest else None), latest_job(session.id, "layer_times")


def time_button(session: Session, times: dict[str, float] | None, job: Job | None) -> None:
    """Measure, or measure again; while that runs, its progress."""
    if job is not None and (job.state.live or times is None):
        job_banner(job)
    if job is not None and job.state.live:
        return
    label = "Measure the time per layer" if times is None else "Measure the time again"
    if st.button(label, key="measure-times", icon=":material/timer:"):
        submit("layer_times", {}, session=session, title="Time per layer")
        st.rerun()
    if times is not None:
        rest = f" What has no weights takes {percent(times['other'], 0)}." if times.get("other") else ""
        st.caption(f"Share of time: measured in PyTorch on this machine, one example at a time.{rest}")
