"""Runs: the queue and the history of this session, with progress, causes, and ways to go on."""

import streamlit as st

from core.store.records import Job, JobState
from dashboard import backend
from dashboard.components.code_drawer import code_drawer
from dashboard.components.empty import empty, require_session
from dashboard.components.jobs import POLL_S, live_jobs
from dashboard.components.runs_data import KIND_WORDS, split_live
from dashboard.components.runs_list import draw_ended, draw_live
from dashboard.components.runs_race import draw_race
from dashboard.components.server_queue import draw_server_queue

TITLE = "Runs"
ICON = ""
URL = "runs"
ORDER = 50

_PAGE = 15
_LIMIT = 200


def render() -> None:
    """Draw the page."""
    session = require_session()
    st.title("Runs")
    jobs = backend.store().jobs(session_id=session.id, limit=_LIMIT)
    if not jobs:
        empty(
            "Nothing has run yet",
            "Opening, measuring, pruning, timing and exporting run in the background and appear here.",
            action="Make a plan" if session.model_id else "Open a model",
            url="plan" if session.model_id else "start",
        )
        return
    live, ended = split_live(jobs)
    if live:
        st.subheader("Now")
        st.fragment(_queue, run_every=POLL_S)(session.id, tuple(sorted(job.id for job in live)))
    else:
        draw_server_queue()
    race = draw_race(jobs, poll_s=POLL_S)
    if ended:
        _history(ended, alone=not live and not race)
    code_drawer("runs", {"session_id": session.id})


def _queue(session_id: str, seen: tuple[str, ...]) -> None:
    """The live jobs. When one has ended or come, the whole page is drawn anew: the history changes, too."""
    live, _ = split_live(live_jobs(session_id))
    if tuple(sorted(job.id for job in live)) != seen:
        st.rerun(scope="app")
    for job in live:
        draw_live(job)
    draw_server_queue()


def _history(ended: list[Job], *, alone: bool) -> None:
    kinds = list(dict.fromkeys(job.kind for job in ended))
    if not alone:
        st.subheader("History")
    chosen = None
    if len(kinds) > 1:
        chosen = st.pills(
            "Show",
            kinds,
            format_func=lambda kind: KIND_WORDS.get(kind, kind),
            key="runs-kinds",
            selection_mode="single",
            label_visibility="collapsed",
        )
    fitting = [job for job in ended if chosen in (None, job.kind)]
    pages = st.session_state.setdefault("runs-shown", _PAGE)
    for index, job in enumerate(fitting[:pages]):
        # The newest run that did not end well shows how far it came.
        draw_ended(job, unfold=index == 0 and job.state is not JobState.DONE)
    if len(fitting) > pages and st.button(f"Show {len(fitting) - pages} more", key="runs-more"):
        st.session_state["runs-shown"] = pages + _PAGE
        st.rerun()
