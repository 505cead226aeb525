"""What a page shows while there is nothing to show: why, and the next action. Never a blank page."""

import streamlit as st

from core.store.records import Model, Session
from dashboard import backend, state

from .format import escape, short
from .jobs import job_banner

__all__ = ["empty", "require_model", "require_session"]


def empty(title: str, text: str, *, action: str | None = None, url: str | None = None, alone: bool = False) -> None:
    """A quiet box with a title, one or two sentences, and a link to the page ``url`` where one goes on.

    ``alone``: the page has no other heading.
    """
    level = "h1" if alone else "h2"
    st.html(f'<div class="esp-empty"><{level}>{escape(title)}</{level}><p>{escape(text)}</p></div>')
    if action and url:
        state.link(url, label=action, icon=":material/arrow_forward:")


def require_session() -> Session:
    """The session of this page; where there is none the page says so, offers Start, and ends here."""
    session = state.current_session()
    if session is not None:
        return session
    if state.requested_id() is not None:
        empty(
            "This session is not here",
            "It may have been deleted, or it belongs to another workspace. Your other sessions are on the Start page.",
            alone=True,
        )
    else:
        empty(
            "Nothing is open yet",
            "Open a model and its data on the Start page, or take the demo: it needs no download.",
            alone=True,
        )
    with st.container(horizontal=True):
        state.link("start", label="Go to Start", icon=":material/arrow_forward:")
        last = next(iter(backend.store().list_sessions()), None)
        if last is not None:
            label = f"Go on with {escape(short(last.name), markdown=True)}"
            state.link("model", label=label, icon=":material/history:", session_id=last.id)
    return st.stop()


def require_model() -> tuple[Session, Model]:
    """The session and its model; while the model is being opened the page shows that work, and ends here."""
    session = require_session()
    model = state.current_model(session)
    if model is not None:
        return session, model
    job = next((job for job in backend.store().jobs(session_id=session.id) if job.kind in ("open", "import")), None)
    if job is None:
        empty("No model in this session", "Open one on the Start page.", action="Open a model", url="start")
    else:
        st.title("Opening" if job.state.live else "Not opened", anchor=False)
        job_banner(job)
        if job.state.live:
            st.caption("You may leave this page or close it: the work goes on, and this address brings you back.")
        else:
            state.link("start", label="Choose another model or data set", icon=":material/arrow_forward:")
    return st.stop()
