"""Where a person is: the session and what else the URL names. Identity only; everything else is in the store.

``st.session_state`` is for unsaved edits and nothing that a refresh must keep.
"""

import re
from typing import NoReturn

import streamlit as st

from core.access import PersonalStore
from core.errors import StoreError
from core.store.records import Model, Session, Variant

from . import backend
from .catalogue import catalogue, streamlit_page

__all__ = [
    "current_model",
    "current_session",
    "dense_variant",
    "go",
    "is_identity",
    "link",
    "may_edit",
    "open_session",
    "requested_id",
    "session_query",
]

_IDENTITY = re.compile(r"[A-Za-z0-9_\-]{1,80}")


def requested_id(parameter: str = "session") -> str | None:
    """An id from the URL, or None when there is none or it cannot be one (hostile parameters are ignored)."""
    value = st.query_params.get(parameter)
    return value if value is not None and is_identity(value) else None


def is_identity(text: str) -> bool:
    """Whether a text can be an id or a token."""
    return _IDENTITY.fullmatch(text) is not None


def current_session() -> Session | None:
    """The session that the URL names; None when it names none or one that is gone."""
    session_id = requested_id()
    if session_id is None:
        return None
    try:
        return backend.store().get_session(session_id)
    except StoreError:
        return None


def may_edit(session_id: str | None) -> bool:
    """Whether the person at this browser may change this session. Pages ask it to draw; core decides again."""
    store = backend.store()
    return not isinstance(store, PersonalStore) or store.owns(session_id)


def current_model(session: Session | None) -> Model | None:
    """The session's model, once it has been opened."""
    return backend.store().get_model(session.model_id) if session and session.model_id else None


def dense_variant(session: Session) -> Variant | None:
    """The model as it was opened: the session's variant without a plan."""
    return backend.store().dense_variant(session.id)


def session_query() -> dict[str, str]:
    """What every link to another page carries."""
    session_id = requested_id()
    return {"session": session_id} if session_id else {}


def go(url: str, **parameters: str) -> NoReturn:
    """Go to a page and keep the session in the URL; ``parameters`` are further ids."""
    st.switch_page(streamlit_page(catalogue()[url]), query_params={**session_query(), **parameters})


def open_session(session_id: str, *, page: str = "model") -> NoReturn:
    """Go to a page of another session."""
    st.switch_page(streamlit_page(catalogue()[page]), query_params={"session": session_id})


def link(url: str, *, label: str | None = None, icon: str | None = None, session_id: str | None = None) -> None:
    """A link to a page that keeps the session, or opens the one that is given; the browser can open it in a new tab.
    Draws nothing for a page that does not exist (yet)."""
    entry = catalogue().get(url)
    if entry is not None:
        query = {"session": session_id} if session_id else session_query()
        st.page_link(streamlit_page(entry), label=label or entry.title, icon=icon, query_params=query)
