"""Open a bundle that somebody sent: uploaded, checked in the background, opened as a session of one's own."""

import streamlit as st

from core.errors import EspalierError, StoreError
from dashboard import backend, state

from .format import escape, short

__all__ = ["import_form"]

_TITLE = "Opening a bundle"


def import_form() -> None:
    """Draw the form; opening creates a session and goes to it."""
    st.caption(
        "A session that was taken from another Espalier with *Share* on Compare: models, variants, measurements, "
        "plans. It is read as data, never as code, and checked before anything is stored."
    )
    upload = st.file_uploader("Bundle (.zip)", type=["zip"], key="import-file")
    clicked = st.button("Open the bundle", type="primary", key="import-go", disabled=upload is None)
    if not clicked or upload is None:
        return
    try:
        session_id = _begin(upload.name, upload.getvalue())
    except EspalierError as error:
        st.error(escape(error, markdown=True))
        return
    state.open_session(session_id, page="compare")


def _begin(name: str, data: bytes) -> str:
    """Store the file, and start the job that fills a new session from it; returns the session's id."""
    if not data.startswith(b"PK"):
        raise StoreError("This file is not a bundle: a bundle is a .zip file that Espalier wrote.")
    backend.count_upload(len(data))
    artifact = backend.workspace().artifacts.put_bytes(data, ".zip")
    session = backend.store().create_session(short(name.removesuffix(".zip").removesuffix(".espalier"), 60))
    backend.runner().submit("import", {"artifact": artifact}, session_id=session.id, title=_TITLE)
    return session.id
