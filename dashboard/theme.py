"""How Espalier looks: colours, type and the few rules that Streamlit's theme cannot say.

``STREAMLIT_OPTIONS`` are server options (``run_app.py`` passes them as flags); ``inject`` adds ``assets/style.css``.
Text, links and what stands on the accent have a contrast of 4.5 in both schemes, and the accent itself 3 with the page
(WCAG 2.2, AA; tests measure it). The dark accent must carry white, so where it is text itself the style sheet takes the
link's colour. Type: Source Serif for headings and figures, Source Sans for the rest; both are inside Streamlit's wheel.
"""

from pathlib import Path
from typing import Any

import streamlit as st

__all__ = ["ASSETS", "STREAMLIT_OPTIONS", "inject"]

ASSETS = Path(__file__).parent / "assets"

_SHARED: dict[str, Any] = {
    "theme.font": "sans-serif",
    "theme.headingFont": "serif",
    "theme.baseFontSize": 16,
    "theme.headingFontSizes": ["2.1rem", "1.45rem", "1.15rem", "1rem", "0.95rem", "0.9rem"],
    "theme.headingFontWeights": [600, 600, 600, 600, 600, 600],
    "theme.baseRadius": "6px",
    "theme.buttonRadius": "6px",
    "theme.paddingTop": "1.25rem",
    "theme.paddingBottom": "4rem",
    "theme.showWidgetBorder": True,
}

_LIGHT: dict[str, Any] = {
    "primaryColor": "#0B6E57",
    "backgroundColor": "#FCFBF8",
    "secondaryBackgroundColor": "#F3F1EB",
    "textColor": "#21231F",
    "linkColor": "#0B6E57",
    "borderColor": "#DDD9CE",
    "dataframeBorderColor": "#E5E1D7",
    "dataframeHeaderBackgroundColor": "#F3F1EB",
}

_DARK: dict[str, Any] = {
    "primaryColor": "#26826A",
    "backgroundColor": "#171916",
    "secondaryBackgroundColor": "#20231F",
    "textColor": "#E8E6DF",
    "linkColor": "#63C7A8",
    "borderColor": "#3A3E37",
    "dataframeBorderColor": "#32362F",
    "dataframeHeaderBackgroundColor": "#20231F",
}

STREAMLIT_OPTIONS: dict[str, Any] = {
    **_SHARED,
    **{f"theme.light.{name}": value for name, value in _LIGHT.items()},
    **{f"theme.dark.{name}": value for name, value in _DARK.items()},
    "client.toolbarMode": "minimal",
    "client.showErrorLinks": "false",
}
"""Server options by their full name. Lists are JSON when given as command-line flags."""


def inject() -> None:
    """Add the style sheet to the page; call once per run, before anything is drawn."""
    st.html(ASSETS / "style.css")
