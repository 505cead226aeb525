"""Guide: a tour, the terms, and what to do when something is not as expected."""

import functools
import re

import streamlit as st

from dashboard import theme
from dashboard.components.code_drawer import code_drawer

TITLE = "Guide"
ICON = ""
URL = "guide"
ORDER = 90


def render() -> None:
    """Draw the page."""
    st.title("Guide")
    sections = _sections()
    with st.container(key="guide"):
        for tab, text in zip(st.tabs(list(sections)), sections.values(), strict=True):
            tab.markdown(text)
    code_drawer("guide", {})


@functools.cache
def _sections() -> dict[str, str]:
    """Heading → text of each second-level section of the guide."""
    text = (theme.ASSETS / "guide.md").read_text(encoding="utf-8")
    parts = (part.partition("\n") for part in re.split(r"^## ", text, flags=re.MULTILINE)[1:])
    return {heading: body for heading, _, body in parts}
