"""The page that everybody sees first where people log in."""

import streamlit as st

from core.access import Door
from core.errors import AccessError
from dashboard import visitor

from .format import escape

__all__ = ["draw"]


def draw(door: Door) -> None:
    """Draw the page; when the person is let in, the page that they asked for is drawn instead."""
    _left, middle, _right = st.columns([1, 2, 1])
    with middle:
        st.html('<span class="esp-brand">Espalier</span>', width="content")
        st.title("Log in", anchor=False)
        if door.policy.login == "oidc":
            _account()
        else:
            _passphrase(door)


def _account() -> None:
    st.write("This server is for people with an account.")
    st.button("Log in with your account", type="primary", on_click=st.login, width="stretch")


def _passphrase(door: Door) -> None:
    st.write("Whoever runs this server has given you its passphrase.")
    with st.form("login", border=True):
        given = st.text_input("Passphrase of this server", type="password", max_chars=1000, autocomplete="off")
        name = st.text_input("Your name", max_chars=60, help="Others see it beside your sessions and jobs.")
        own = st.text_input(
            "A word of your own (optional)",
            type="password",
            max_chars=1000,
            autocomplete="off",
            help="With the same name and word your sessions are yours again, on any browser. Without a word, everybody "
            "who gives your name finds your sessions.",
        )
        asked = st.form_submit_button("Log in", type="primary", width="stretch")
    if not asked:
        st.caption("Nothing is kept in your browser: after a reload you log in again. Your work stays here.")
        return
    try:
        visitor.let_in(door.enter(name, given, own_word=own, place=visitor.address()))
    except AccessError as error:
        st.error(escape(error, markdown=True))
    else:
        st.rerun()
