"""What a page keeps folded away."""

from collections.abc import Callable

import streamlit as st

from dashboard.following import follow

__all__ = ["fold"]


def fold(label: str, draw: Callable[[], object], *, key: str, icon: str, expanded: bool = False) -> None:
    """A part under a title, drawn when somebody opens it.

    Streamlit draws what an expander holds whether it is open or not, and the page waits for it.
    """

    def part() -> None:
        box = st.expander(label, icon=icon, expanded=expanded, key=key, on_change="rerun")
        if box.open:
            with box:
                draw()

    follow(part, every_s=None)()
