"""The “do it in code” drawer: Python lines that reproduce the page."""

from typing import Any

import streamlit as st

from dashboard.components.fold import fold

__all__ = ["code_drawer"]


def code_drawer(page: str, facts: dict[str, Any]) -> None:
    """Draw the drawer of ``page``; ``facts`` is what ``core.export.code.code_for`` needs to know of the session."""

    def draw() -> None:
        from core.export.code import code_for

        st.code(code_for(page, facts), language="python", wrap_lines=True)

    fold("Do it in code", draw, key=f"code-{page}", icon=":material/code:")
