"""Present: views that were kept, in order, to be shown one after another."""

import streamlit as st

from core.store.records import Session, View
from dashboard import backend, state
from dashboard.catalogue import catalogue
from dashboard.components import presenter
from dashboard.components.code_drawer import code_drawer
from dashboard.components.empty import empty, require_session
from dashboard.components.format import escape, short

TITLE = "Present"
ICON = ""
URL = "present"
ORDER = 95


def render() -> None:
    """Draw the page."""
    session = require_session()
    st.title("Present", anchor=False)
    views = backend.store().views(session.id)
    if not views:
        empty(
            "No view is kept yet",
            "On any page, choose what should be seen and keep it with “Keep” at its head. Here the views become a "
            "presentation.",
            action="Go to Compare",
            url="compare",
        )
        return
    known = [view for view in views if view.body.get("page") in catalogue()]
    if st.button("Start", type="primary", icon=":material/slideshow:", key="present-start", disabled=not known):
        presenter.show(session, known[0])
    st.caption("Arrow keys step through the views, Esc ends.")
    own = state.may_edit(session.id)
    for place, view in enumerate(views):
        _row(session, view, place, last=place == len(views) - 1, own=own)
    code_drawer("present", {"session_id": session.id})


def _row(session: Session, view: View, place: int, *, last: bool, own: bool) -> None:
    store, entry = backend.store(), catalogue().get(str(view.body.get("page")))
    with st.container(key=f"view-{view.id}", horizontal=True, vertical_alignment="center"):
        where = entry.title if entry else "a page that is not here any more"
        name = escape(short(view.name, 60), markdown=True)
        st.markdown(f"{place + 1}. **{name}**  \n:small[{escape(where, markdown=True)}]", width="stretch")
        with st.container(horizontal=True, width="content"):  # on a phone they go below the name together
            if entry is not None and st.button("Show", key=f"view-show-{view.id}"):
                presenter.show(session, view)
            if not own:
                return
            key = view.id
            up = st.button(
                "", icon=":material/arrow_upward:", key=f"view-up-{key}", disabled=place == 0, help="Earlier"
            )
            down = st.button("", icon=":material/arrow_downward:", key=f"view-down-{key}", disabled=last, help="Later")
            gone = st.button("", icon=":material/delete:", key=f"view-delete-{key}", help="Delete this view")
            with st.popover("", icon=":material/edit:", help="Rename", key=f"view-rename-{key}"):
                label = st.text_input("Name", value=view.name, max_chars=120, key=f"view-name-{key}")
                if st.button("Rename", disabled=not label.strip(), key=f"view-name-go-{key}"):
                    store.rename_view(key, label)
                    st.rerun()
    if up or down:
        store.move_view(view.id, -1 if up else 1)
        st.rerun()
    if gone:
        store.delete_view(view.id)
        st.rerun()
