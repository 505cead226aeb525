"""Open a model, take the demo, or go on with an earlier session."""

import streamlit as st

from dashboard import state
from dashboard.components import showcase
from dashboard.components.code_drawer import code_drawer
from dashboard.components.demo_progress import draw_demo_progress
from dashboard.components.empty import empty
from dashboard.components.import_form import import_form
from dashboard.components.link_form import link_form
from dashboard.components.open_form import open_form
from dashboard.components.recent import recent_sessions
from dashboard.components.samples import sample_cards

__all__ = ["ICON", "ORDER", "TITLE", "URL", "render"]

TITLE, ICON, URL, ORDER = "Start", "", "start", 0


def render() -> None:
    """Draw the page."""
    if state.requested_id() and state.current_session() is None:
        empty(
            "This session is not here",
            "It may have been deleted, or it belongs to another workspace. Open another one below, or start anew.",
        )
    case = showcase.find_showcase()
    st.title("What pruning costs, and what it buys", anchor=False)
    if case is not None:
        showcase.show(case)
    else:
        st.html(
            '<p class="esp-lede">Open a network, see which layers can spare weights, prune, and compare accuracy, file '
            "size and latency as they were measured on this machine. Nothing leaves it.</p>"
        )
    draw_demo_progress()
    recent_sessions()
    st.header("Begin with a sample", anchor=False)
    sample_cards()
    st.header("Open your own", anchor=False)
    open_form()
    with st.expander("Open a bundle or a link", icon=":material/folder_zip:", key="start-bundle"):
        import_form()
        link_form()
    code_drawer("start", {})
