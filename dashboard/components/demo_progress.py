"""What is still being made of the demo: Start says so, and is drawn anew whenever there is more of it to see."""

import streamlit as st

from core.jobs.demo import demo_finished, demo_session
from dashboard import backend

from .jobs import job_banner, live_jobs

__all__ = ["draw_demo_progress"]


def draw_demo_progress() -> None:
    """Draw the job that the demo waits for (no check by a visitor); nothing when there is no demo, or all is there."""
    workspace = backend.workspace()
    session = demo_session(workspace)
    live = [job for job in live_jobs(session.id) if job.kind != "check"] if session is not None else []
    if session is not None and live and not demo_finished(workspace, session):
        st.caption("The demo is being made, by real work on this machine: more appears here as it is done.")
        job_banner(live[-1], key="demo")
