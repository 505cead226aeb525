"""What is still being made of the demo: Start says so, and is drawn anew whenever there is more of it to see."""

import streamlit as st

from core.jobs.demo import demo_session
from dashboard import backend

from .jobs import job_banner, live_jobs

__all__ = ["draw_demo_progress"]


def draw_demo_progress() -> None:
    """Draw the job that the demo waits for; nothing when there is no demo, or when it is finished."""
    session = demo_session(backend.workspace())
    live = live_jobs(session.id) if session is not None else []
    if live:
        st.caption("The demo is being made, by real work on this machine: more appears here as it is done.")
        job_banner(live[-1], key="demo")
