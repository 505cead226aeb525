"""What a page keeps folded away."""

from collections.abc import Callable

import streamlit as st

from dashboard.following import follow

__all__ = ["START_OPEN", "fold"]

START_OPEN = False
"""Whether every part starts open; the tests turn it on, and so see what is in them."""


def fold(
    label: str, draw: Callable[[], object], *, key: str, icon: str, expanded: bool = False, alone: bool = True
) -> None:
    """A part under a title, drawn when somebody opens it.

    Streamlit draws what an expander holds whether it is open or not, and the page waits for it. ``alone``: opening it,
    and what is done inside, draws this part again and not its page.
    """

    def part() -> None:
        box = st.expander(label, icon=icon, expanded=expanded or START_OPEN, key=key, on_change="rerun")
        if box.open:
            with box:
                draw()

    if alone:
        follow(part, every_s=None)()
    else:
        part()
