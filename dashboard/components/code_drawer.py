"""The “do it in code” drawer: Python lines that reproduce the page."""

from typing import Any

import streamlit as st

__all__ = ["code_drawer"]


def code_drawer(page: str, facts: dict[str, Any]) -> None:
    """Draw the drawer of ``page``; ``facts`` is what ``core.export.code.code_for`` needs to know of the session."""
    from core.export.code import code_for

    with st.expander("Do it in code", icon=":material/code:"):
        st.code(code_for(page, facts), language="python", wrap_lines=True)
