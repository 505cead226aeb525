"""Runs: the queue and the history of this session, with progress, causes, and ways to go on."""

import streamlit as st

from core.store.records import Job, JobState
from dashboard import backend
from dashboard.components.code_drawer import code_drawer
from dashboard.components.empty import empty, require_session
from dashboard.components.jobs import POLL_S, live_jobs
from dashboard.components.runs_data import kind_words, split_live
from dashboard.components.runs_list import draw_ended, draw_live
from dashboard.components.runs_race import draw_race
from dashboard.components.runs_training import draw_curves
from dashboard.components.server_queue import draw_server_queue
from dashboard.components.training_data import trains
from dashboard.following import follow

TITLE = "Runs"
ICON = ""
URL = "runs"
ORDER = 50

_Standing = tuple[tuple[str, JobState], ...]

_CURVES_S = 3.0
"""How often curves are asked for, in seconds: an epoch seldom takes less, and they weigh most of what is sent."""
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
        st.header("Now", anchor=False)
        _now(session.id, live)
    else:
        draw_server_queue()
    race = draw_race(jobs, poll_s=_CURVES_S)
    if ended:
        _history(ended, alone=not live and not race)
    code_drawer("runs", {"session_id": session.id})


def _now(session_id: str, live: list[Job]) -> None:
    """The live jobs. Of a training the numbers, which are few, are asked for often, and its curves seldom."""
    seen = _standing(live)
    training = next((job for job in live if job.state is JobState.RUNNING and trains(job)), None)
    if training is not None:
        with st.container(border=True, key=f"run-{training.id}"):
            follow(_training, every_s=POLL_S)(session_id, training.id, seen)
            follow(draw_curves, every_s=_CURVES_S)(training)
    if training is None or len(live) > 1 or backend.door() is not None:
        follow(_queue, every_s=POLL_S)(session_id, seen, None if training is None else training.id)


def _training(session_id: str, job_id: str, seen: _Standing) -> None:
    for job in _as_before(session_id, seen):
        if job.id == job_id:
            draw_live(job)


def _queue(session_id: str, seen: _Standing, besides: str | None) -> None:
    """The live jobs but one that is drawn already, and those of other people."""
    for job in _as_before(session_id, seen):
        if job.id != besides:
            with st.container(border=True, key=f"run-{job.id}"):
                draw_live(job)
    draw_server_queue()


def _as_before(session_id: str, seen: _Standing) -> list[Job]:
    """The live jobs. When one has begun, ended or come, the whole page is drawn anew: the history changes, too."""
    live, _ = split_live(live_jobs(session_id))
    if _standing(live) != seen:
        st.rerun(scope="app")
    return live


def _standing(live: list[Job]) -> _Standing:
    return tuple((job.id, job.state) for job in live)


def _history(ended: list[Job], *, alone: bool) -> None:
    kinds = list(dict.fromkeys(job.kind for job in ended))
    if not alone:
        st.header("History", anchor=False)
    chosen = None
    if len(kinds) > 1:
        chosen = st.pills(
            "Show",
            kinds,
            format_func=kind_words,
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
