"""The Share panel: read-only links, and the session as a file."""

import re

import streamlit as st

from core.errors import EspalierError
from core.sharing import links
from core.sharing.bundle import bundle_bytes, bundle_name
from core.store.records import Session, Share
from dashboard import backend, state
from dashboard.components.format import ago, escape, short

__all__ = ["draw_share", "server_address"]


def server_address(url: str | None) -> str:
    """The address of the server, from that of one of its pages (``st.context.url``)."""
    return re.sub(r"/[a-z_]*/?$", "", (url or "").split("?")[0])


def draw_share(session: Session) -> None:
    """The panel, behind a button; nothing for those who may only look."""
    if not state.may_edit(session.id):
        return
    with st.popover("Share", icon=":material/share:", key="share-panel"):
        _new(session)
        _existing(session)
        _file(session)


def _new(session: Session) -> None:
    st.markdown("**Read-only link**")
    st.caption("A report of the session as it is now. Who opens it can neither compute nor change anything.")
    title = st.text_input("Title", value=session.name, max_chars=120, key="share-title")
    onnx = st.checkbox("ONNX files may be downloaded", key="share-onnx")
    forks = st.checkbox(
        "May be taken along",
        key="share-fork",
        help="As a fork on this server, or as a bundle: with models, plans and variants.",
    )
    if st.button("Create link", type="primary", icon=":material/add_link:", key="share-create"):
        try:
            made = links.share(
                backend.workspace(), session.id, title=title, allow_onnx=bool(onnx), allow_fork=bool(forks)
            )
        except EspalierError as error:
            st.error(escape(error, markdown=True))
            return
        st.session_state[_key(session)] = (made.share.id, made.token)
    fresh = st.session_state.get(_key(session))
    if fresh is not None and backend.store().get_share(fresh[0]).revoked is None:
        st.code(links.link_address(server_address(st.context.url), fresh[1]), language=None, wrap_lines=True)
        st.caption("Copy it now. It is not kept: only who has the link can open the report.")


def _key(session: Session) -> str:
    return f"share-made-{session.id}"


def _existing(session: Session) -> None:
    found = [share for share in backend.store().shares(session.id) if share.revoked is None]
    if not found:
        return
    st.markdown(f"**{len(found)} open link{'s' if len(found) > 1 else ''}**")
    for share in found:
        with st.container(horizontal=True, vertical_alignment="center", key=f"share-row-{share.id}"):
            st.markdown(f"{escape(short(share.title, 40), markdown=True)}  \n:small[{_facts(share)}]", width="stretch")
            if st.button("Withdraw", key=f"share-revoke-{share.id}", help="Nobody can open it any more."):
                links.revoke(backend.workspace(), share.id)
                st.rerun()


def _facts(share: Share) -> str:
    words = [ago(share.created)]
    words += ["ONNX"] if share.allow_onnx else []
    words += ["may be taken along"] if share.body.get("allow_fork") else []
    return " · ".join(words)


def _file(session: Session) -> None:
    st.markdown("**Bundle**")
    st.caption("One file that opens on another machine, without the code of the model. Your images stay here.")
    st.download_button(
        "Download bundle",
        data=lambda: bundle_bytes(backend.workspace(), session.id),
        file_name=bundle_name(session.name),
        mime="application/zip",
        icon=":material/folder_zip:",
        on_click="ignore",
        key="share-bundle",
    )
