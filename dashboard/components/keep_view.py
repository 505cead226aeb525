"""Keep what a page shows now as a view, to be shown again in a presentation."""

import streamlit as st

from core.errors import EspalierError
from core.store.records import Session
from dashboard import backend, state
from dashboard.catalogue import catalogue

from .format import escape
from .view_state import captured

__all__ = ["draw"]


def draw(session: Session, url: str) -> None:
    """The button, on pages that belong to a session."""
    if url not in catalogue() or url == "present" or session.model_id is None or not state.may_edit(session.id):
        return
    with st.popover("Keep", icon=":material/bookmark_add:", type="tertiary", key="keep-view"):
        st.caption("Keeps this page with what is chosen on it. Present shows the views one after another.")
        name = st.text_input("Name", value=catalogue()[url].title, max_chars=120, key=f"keep-view-name-{url}")
        if st.button("Keep this view", type="primary", disabled=not name.strip(), key="keep-view-go"):
            try:
                view = backend.store().save_view(session.id, name, captured(url))
            except EspalierError as error:
                st.error(escape(error, markdown=True))
            else:
                st.toast(f"Kept as “{escape(view.name, markdown=True)}”.", icon=":material/bookmark_added:")
        state.link("present", label="All views", icon=":material/slideshow:")
