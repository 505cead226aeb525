"""Times of layers for the latency of a plan: taken once per model and machine, in the background."""

import streamlit as st

from core.jobs.knowledge import PROFILE, latency_profile_of
from core.planning.latency import LatencyProfile
from core.store.records import JobState, Model, Session
from dashboard import backend
from dashboard.components.jobs import job_banner, latest_job, submit

__all__ = ["draw_times", "profile_of"]


def profile_of(model: Model) -> LatencyProfile | None:
    """The times of this model's layers on this machine, where they were taken."""
    return latency_profile_of(backend.store(), model.id)


def draw_times(session: Session, profile: LatencyProfile | None) -> None:
    """The button that times the layers, while there are no times."""
    if profile is not None:
        return
    job = latest_job(session.id, PROFILE)
    if job is not None and (job.state.live or job.state is JobState.FAILED):
        job_banner(job, key="times")
        return
    if st.button(
        "Time the layers, to see milliseconds here",
        icon=":material/timer:",
        type="tertiary",
        key="plan-times",
        help="Each layer alone in ONNX Runtime at a few channel numbers, on this machine: seconds for small networks. "
        "Other work waits meanwhile.",
    ):
        submit(PROFILE, {}, session=session, title="Time the layers")
        st.rerun()
