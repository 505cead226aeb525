"""Open what somebody sent a link to: a shared report, or a session of this workspace."""

from urllib.parse import parse_qs, urlsplit

import streamlit as st

from dashboard import state
from dashboard.catalogue import catalogue, streamlit_page

__all__ = ["link_form", "parameters_of"]

_LONGEST = 2000


def parameters_of(link: str) -> tuple[str, dict[str, str]] | None:
    """Page and parameters that a link names; None when it leads to no report and no session.

    A bare token is a report. Where the link points to does not matter: the report is looked for in this workspace.
    """
    link = link.strip()[:_LONGEST]
    try:
        parts = urlsplit(link)
        asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
    except ValueError:
        return None
    if asked.get("token"):
        return "share", {"token": asked["token"]}
    if asked.get("session"):
        page = parts.path.rsplit("/", 1)[-1]
        return page if page in catalogue() else "model", {"session": asked["session"]}
    return ("share", {"token": link}) if state.is_identity(link) else None


def link_form() -> None:
    """Draw the field; a link leads to its page."""
    with st.form("open-link", border=False):
        link = st.text_input("Link to a report or a session", placeholder="http://…/share?token=…", max_chars=_LONGEST)
        asked = st.form_submit_button("Open the link", icon=":material/link:")
    if not asked or not link.strip():
        return
    found = parameters_of(link)
    if found is None:
        st.error("This is no link to a report or a session: it has neither “token=” nor “session=”.")
        return
    page, parameters = found
    st.switch_page(streamlit_page(catalogue()[page]), query_params=parameters)
