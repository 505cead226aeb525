"""The head of every page: brand, pages, and the strip that says which session this is and what is being worked on."""

from typing import Any

import streamlit as st

from core.store.records import Job, JobState, Session
from dashboard import backend, state, visitor
from dashboard.catalogue import catalogue
from dashboard.following import follow

from . import data_away, keep_view
from .badges import chips_html
from .format import escape, score, short
from .jobs import job_line, live_jobs

__all__ = ["draw"]

_OTHERS = {
    "view": "can look at a session if you give them its address, and cannot change it.",
    "refuse": "cannot see them.",
}

_ORIGINS = {"fork": "forked from", "import": "imported"}
_FOLLOWING = "runs"
"""The page that says itself, and in full, what is being worked on."""
_LOOK_S = 2.0
"""How often other pages look, in seconds; what they wait for themselves has a banner, which looks more often."""
_ASIDE = 90
"""Pages from this place on are no step of the work: they stand apart."""


def draw(url: str = "") -> None:
    """Draw the masthead of the page and, when the URL names a session, its strip; of pages that are not listed there,
    only the brand."""
    listed = [entry for entry in catalogue().values() if entry.listed]
    session = state.current_session()
    bare = url in catalogue() and not catalogue()[url].listed
    with st.container(key="masthead", horizontal=True, vertical_alignment="center", gap="small"):
        st.html('<span class="esp-brand">Espalier</span>', width="content")
        if bare:
            return
        for entry in listed:
            if entry.order < _ASIDE:
                state.link(entry.url)
        with st.container(
            key="masthead-aside", width="content", horizontal=True, vertical_alignment="center", gap="xsmall"
        ):
            if session is not None:
                keep_view.draw(session, url)
            for entry in listed:
                if entry.order >= _ASIDE:
                    state.link(entry.url)
            _person()
    if session is not None:
        _strip(session, url)
        data_away.draw(session)
        if not state.may_edit(session.id):
            _viewing(session)


def _person() -> None:
    """Who is logged in, and the way out."""
    door = backend.door()
    someone = visitor.person(door) if door is not None else None
    if door is None or someone is None:
        return
    with st.popover(short(someone.name, 24), icon=":material/person:"):
        st.caption(f"What you make belongs to you. Others {_OTHERS[door.policy.others]}")
        if st.button("Log out", icon=":material/logout:", width="stretch", key="log-out"):
            visitor.leave(door)
            st.rerun()


def _viewing(session: Session) -> None:
    """Says whose session this is that one may only look at."""
    door = backend.door()
    whose = f"{door.directory.name(session.owner)}’s" if door is not None and session.owner else "nobody’s"
    st.info(
        f"You are looking at **{escape(whose, markdown=True)}** session. You cannot change it.",
        icon=":material/visibility:",
    )


def _strip(session: Session, url: str) -> None:
    facts, work = st.columns([3, 1], vertical_alignment="center")
    facts.html(f'<div class="esp-strip"><b>{escape(short(session.name))}</b>{chips_html(_chips(session))}</div>')
    live = live_jobs(session.id) if url != _FOLLOWING else []
    with work:
        follow(_indicator, every_s=_LOOK_S if live else None)(session.id, tuple(job.id for job in live))


def _chips(session: Session) -> list[tuple[str, str]]:
    store = backend.store()
    chips = []
    if session.model_id:
        chips.append(("model", short(store.get_model(session.model_id).name, 32)))
    if session.data_id:
        chips.append(("data", short(store.get_dataset(session.data_id).name, 32)))
    if session.lineage:
        step = session.lineage[-1]
        chips.append((_ORIGINS.get(str(step.get("how")), "from"), short(step.get("title") or step.get("name", ""), 32)))
    dense = state.dense_variant(session)
    measured: dict[str, Any] = (dense.metrics.get("test") or {}) if dense else {}
    if measured.get("score") is not None:
        chips.append((f"dense {measured.get('metric', 'accuracy')}", score(measured)))
    return chips


def _indicator(session_id: str, seen: tuple[str, ...]) -> None:
    """The live job in few words. When jobs have ended or come since the page was drawn, the page is drawn anew."""
    if not seen:
        return
    live = live_jobs(session_id)
    if tuple(job.id for job in live) != seen:
        st.rerun(scope="app")
    job = next((job for job in reversed(live) if job.state is JobState.RUNNING), live[-1])
    more = f" (+{len(live) - 1})" if len(live) > 1 else ""
    st.html(
        f'<div class="esp-strip esp-work" role="status" title="{escape(job.title)}: {escape(job_line(job))}">'
        f'<span class="esp-live"></span><span>{escape(job.title)}{_done(job)}{more}</span></div>'
    )


def _done(job: Job) -> str:
    return f" · {100 * min(job.done / job.total, 1):.0f} %" if job.state.live and job.total > 0 else ""
