"""Rename a variant, delete it after a second question, or go on pruning it."""

import streamlit as st

from core.errors import StoreError
from core.store.records import Variant
from dashboard import backend, state
from dashboard.components.format import escape
from dashboard.components.plan_draft import DraftEditor

__all__ = ["draw_manage"]


def draw_manage(variant: Variant) -> None:
    """The menu of one variant."""
    with st.popover("Rename, delete, prune on", icon=":material/edit:"):
        name = st.text_input("Name", value=variant.name, max_chars=120, key=f"rename-{variant.id}")
        if st.button("Rename", key=f"rename-go-{variant.id}", disabled=not name.strip() or name == variant.name):
            backend.store().rename_variant(variant.id, name)
            st.rerun()
        if variant.plan is None:
            st.caption("The dense model is what every variant is compared with: it stays.")
            return
        if st.button(
            "Prune it further",
            icon=":material/content_cut:",
            key=f"further-{variant.id}",
            help="The draft plan starts from this variant instead of the dense model.",
        ):
            editor = DraftEditor(backend.store().get_session(variant.session_id))
            if editor.conflict:
                editor.reload()
            editor.edit(
                lambda plan: plan.changed(start=variant.id, overrides={}, patterns={}, protected=()), redraw=True
            )
            state.go("plan")
        asked = f"delete-asked-{variant.id}"
        if st.button("Delete …", icon=":material/delete:", key=f"delete-{variant.id}"):
            st.session_state[asked] = True
        if st.session_state.get(asked):
            _confirm(variant, asked)


def _confirm(variant: Variant, asked: str) -> None:
    st.markdown(
        f"**{escape(variant.name, markdown=True)}** and its measurements will be gone. "
        "Its plan can be run again from the Runs page."
    )
    with st.container(horizontal=True):
        if st.button("Delete it", type="primary", key=f"delete-yes-{variant.id}"):
            try:
                backend.store().delete_variant(variant.id)
            except StoreError as error:
                st.error(escape(error, markdown=True))
                return
            del st.session_state[asked]
            st.rerun()
        if st.button("Keep it", key=f"delete-no-{variant.id}"):
            del st.session_state[asked]
            st.rerun()
