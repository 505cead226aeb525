"""What is chosen on a page, in its address: a link shows the same, and hostile values are no choice."""

import streamlit as st

__all__ = ["read_choice", "wanted_choice", "write_choice"]

_LONGEST = 300


def wanted_choice(parameter: str) -> str | None:
    """What the address names, which need not exist; None where it names nothing."""
    wanted = st.query_params.get(parameter)
    return wanted if wanted is not None and len(wanted) <= _LONGEST else None


def read_choice(key: str, parameter: str) -> None:
    """Before a widget is drawn for the first time: start where the address says. The widget's owner checks the value
    against what there is."""
    wanted = wanted_choice(parameter)
    if wanted is not None and key not in st.session_state:
        st.session_state[key] = wanted


def write_choice(parameter: str, value: str, *, start: str) -> None:
    """After it: the address says what is chosen, unless that is where the page starts anyway."""
    if value == start or len(value) > _LONGEST:
        if parameter in st.query_params:
            del st.query_params[parameter]
    elif st.query_params.get(parameter) != value:
        st.query_params[parameter] = value
