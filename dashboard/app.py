"""The app: page configuration, masthead, the page that the URL names. Run by ``dashboard/entry/main.py``."""

import functools
import gc
import logging
import traceback

import streamlit as st

from core.errors import EspalierError
from core.reach import confined
from core.store.reading import one_reading
from dashboard import backend, theme, visitor
from dashboard.catalogue import catalogue, first_page_by_name, streamlit_page
from dashboard.components import login, masthead, presenter
from dashboard.components.format import escape

__all__ = ["main"]

_LOG = logging.getLogger("espalier.dashboard")


def main() -> None:
    """Draw the page that the URL names."""
    entries = catalogue().values()
    st.set_page_config(page_title="Espalier", page_icon=theme.ASSETS / "mark.png", layout="wide")
    page = st.navigation([*map(streamlit_page, entries), first_page_by_name()], position="hidden")
    theme.inject()
    try:
        backend.check()
        door = backend.door()
        if door is not None and visitor.person(door) is None and not _is_public(page.url_path):
            login.draw(door)
            return
        with one_reading():
            if not presenter.draw():
                masthead.draw(page.url_path)
            page.run()
        _settle()
    except EspalierError as error:
        _LOG.warning("%s: %s", page.title, error)
        st.error(escape(error, markdown=True))
    except Exception as error:
        # A page with a fault in it must not show a bare traceback, and must not hide what happened either.
        _LOG.exception("page %s", page.title)
        st.error(
            f"This page ran into a fault of the program ({type(error).__name__}). Your work is saved; reload to go on."
        )
        if not confined():  # on a server for others it names folders of somebody else's machine; the log has it
            with st.expander("What happened"):
                st.code(traceback.format_exc(), language=None)


@functools.cache
def _settle() -> None:
    """Once a first page was drawn, nearly all modules are there, and stay: the garbage collector need not look through
    them again. It took 0.1 s every few clicks."""
    gc.collect()
    gc.freeze()


def _is_public(url: str) -> bool:
    """Whether a page is for people who have only a link. Streamlit calls the first page by an empty path."""
    entry = catalogue().get(url)
    return entry is not None and entry.public
