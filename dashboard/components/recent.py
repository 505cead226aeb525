"""The sessions of this workspace: open, rename, delete."""

import streamlit as st

from core.store.records import Session
from dashboard import backend, state

from .format import ago, escape, short

__all__ = ["recent_sessions"]

_SHOWN = 5


def recent_sessions() -> None:
    """Draw the sessions, last used first. Draws nothing when there are none."""
    sessions = backend.store().list_sessions()
    if not sessions:
        return
    st.header("Your sessions", anchor=False)
    everything = len(sessions) <= _SHOWN or st.session_state.get("sessions-all", False)
    for session in sessions if everything else sessions[:_SHOWN]:
        _row(session)
    if len(sessions) > _SHOWN:
        st.toggle(f"Show all {len(sessions)}", key="sessions-all")


def _row(session: Session) -> None:
    with st.container(key=f"session-{session.id}"):
        facts, buttons = st.columns([5, 2], vertical_alignment="center")
        facts.html(
            f'<div class="esp-row"><b>{escape(short(session.name, 60))}</b><br><small>{_facts(session)}</small></div>'
        )
        with buttons.container(horizontal=True, horizontal_alignment="right", gap="small"):
            if st.button("Open", key=f"session-open-{session.id}"):
                state.open_session(session.id)
            more = st.menu_button("More", ["Rename", "Delete"], key=f"session-more-{session.id}")
            if more == "Rename":
                _rename(session)
            elif more == "Delete":
                _delete(session)


def _facts(session: Session) -> str:
    store = backend.store()
    variants = len(store.variants(session.id))
    parts = [
        short(store.get_model(session.model_id).name, 40) if session.model_id else "no model yet",
        short(store.get_dataset(session.data_id).name, 40) if session.data_id else "no data yet",
        "1 variant" if variants == 1 else f"{variants} variants",
        ago(session.updated),
    ]
    return " · ".join(escape(part) for part in parts)


@st.dialog("Rename this session")
def _rename(session: Session) -> None:
    name = st.text_input("Name", value=session.name, max_chars=120)
    if st.button("Rename", type="primary", disabled=not name.strip()):
        backend.store().rename_session(session.id, name)
        st.rerun()


@st.dialog("Delete this session?")
def _delete(session: Session) -> None:
    st.write(
        f"**{escape(session.name, markdown=True)}** with its plans, variants and measurements will be gone. "
        "This cannot be undone."
    )
    keep, delete = st.columns(2)
    if keep.button("Keep it", width="stretch"):
        st.rerun()
    if delete.button("Delete", type="primary", width="stretch"):
        for job in backend.store().jobs(session_id=session.id):
            if job.state.live:
                backend.runner().cancel(job.id)
        backend.store().delete_session(session.id)
        backend.workspace().remove_checkpoints()
        st.rerun()
