"""Parts of a page that are drawn again and again by themselves."""

import functools
import logging
from collections.abc import Callable
from typing import ParamSpec

import streamlit as st

from core.errors import EspalierError

__all__ = ["follow"]

Parameters = ParamSpec("Parameters")

_LOG = logging.getLogger("espalier.dashboard")


def follow(draw: Callable[Parameters, None], *, every_s: float | None) -> Callable[Parameters, None]:
    """``draw`` as a fragment that runs every so many seconds; None: only with its page and its own widgets.

    What goes wrong in it (a workspace that is gone, a job that was deleted) is said by the page, which is drawn anew
    and follows nothing then: Streamlit itself would write a traceback once a second.
    """
    with_its_page = True

    @functools.wraps(draw)
    def guarded(*arguments: Parameters.args, **named: Parameters.kwargs) -> None:
        nonlocal with_its_page
        first, with_its_page = with_its_page, False
        try:
            draw(*arguments, **named)
        except EspalierError as error:
            if first:
                raise
            _LOG.info("A part of a page could not be drawn: %s", error)
            st.rerun(scope="app")

    return st.fragment(guarded, run_every=every_s)
