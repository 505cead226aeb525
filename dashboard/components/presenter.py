"""The head of a page in a presentation: which view this is, the ones before and after it, and the way out."""

import streamlit as st

from core.store.records import Session, View
from dashboard import backend, state
from dashboard.catalogue import catalogue, streamlit_page

from .format import escape, short
from .view_state import PRESENT, query_of, restore

__all__ = ["draw", "presenting", "show"]

_STYLE = """<style>
.stMainBlockContainer { max-width: 1440px; }
.esp-cmp table, .esp-figs, [data-testid="stCaptionContainer"] { zoom: 1.12; }
/* Work waits: what is looked at stays, what starts something or takes files away does not. */
.stExpander, .stPopover, .stDownloadButton, .st-key-export-card, .st-key-why-start, .st-key-measure-times,
  .st-key-plan-times { display: none; }
.st-key-presenter { border-bottom: 1px solid color-mix(in srgb, currentColor 14%, transparent); padding-bottom: .5rem; }
.esp-view { font-family: "Source Serif", serif; font-size: 1.5rem; font-weight: 600; line-height: 1.25; }
.esp-view small { font-family: "Source Sans", sans-serif; font-size: .95rem; font-weight: 400; opacity: .7;
  padding-left: .7rem; white-space: nowrap; }
</style>"""


def draw() -> bool:
    """Draw the head and put the view's choices on the page; False where the address names no view of the session."""
    view_id, session = state.requested_id(PRESENT), state.current_session()
    if view_id is None or session is None:
        return False
    views = [view for view in backend.store().views(session.id) if view.body.get("page") in catalogue()]
    place = next((place for place, view in enumerate(views) if view.id == view_id), None)
    if place is None:
        return False
    if st.session_state.get("presenter-shown") != view_id:
        st.session_state["presenter-shown"] = view_id
        restore(views[place].body)
    _head(session, views, place)
    return True


def presenting() -> bool:
    """Whether the page is shown as a view: sections that only offer work leave their headings out, too."""
    return state.requested_id(PRESENT) is not None


def show(session: Session, view: View) -> None:
    """Go to a view."""
    st.session_state.pop("presenter-shown", None)
    page = streamlit_page(catalogue()[str(view.body["page"])])
    st.switch_page(page, query_params={**query_of(view.body), "session": session.id, PRESENT: view.id})


def _head(session: Session, views: list[View], place: int) -> None:
    st.html(_STYLE)
    with st.container(key="presenter", horizontal=True, vertical_alignment="center"):
        name = escape(short(views[place].name, 70))
        st.html(f'<div class="esp-view">{name}<small>{place + 1} of {len(views)}</small></div>', width="stretch")
        back = st.button(
            "Previous", icon=":material/arrow_back:", shortcut="Left", disabled=place == 0, key="presenter-back"
        )
        on = st.button(
            "Next",
            icon=":material/arrow_forward:",
            icon_position="right",
            shortcut="Right",
            type="primary",
            disabled=place == len(views) - 1,
            key="presenter-on",
        )
        leave = st.button("End", icon=":material/close:", shortcut="Esc", key="presenter-end")
    if back or on:
        show(session, views[place + (1 if on else -1)])
    if leave:
        st.session_state.pop("presenter-shown", None)
        st.switch_page(streamlit_page(catalogue()["present"]), query_params={"session": session.id})
