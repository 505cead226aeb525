"""One chart style for light and dark pages, in colours that people with any colour vision can tell apart.

``figure`` makes an empty plotly figure in that style and ``draw`` shows it. Text and paper follow Streamlit's theme;
colours of data are given here, in middle tones that read on both papers. Never tell things apart by colour alone: also
use a marker symbol, a dash or a label.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from dashboard.components.chart_frame import draw

__all__ = [
    "ACCENT",
    "CHECKED",
    "DASHES",
    "DIVERGING",
    "MUTED",
    "PALETTE",
    "SEQUENTIAL",
    "SEQUENTIAL_DARK",
    "SYMBOLS",
    "WARNING",
    "draw",
    "faded",
    "figure",
    "per_cent",
    "settled",
]

PALETTE = ("#159E72", "#E06A1C", "#2B67B3", "#80602C", "#CE6CA8", "#3A93E6", "#6E6872")
"""Categories, Okabe and Ito's hues: green, vermillion, blue, brown, purple, sky, grey.

Moved apart until any two differ for people of any colour vision, with a contrast of 3 on both papers; tests measure it.
"""

SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "star")
"""Marker symbols, one per colour of ``PALETTE``."""

DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot", "solid")
"""Line dashes, one per colour of ``PALETTE``."""

ACCENT, WARNING, MUTED = PALETTE[0], PALETTE[1], PALETTE[6]

SEQUENTIAL = [[0.0, "#EFF3E6"], [0.25, "#B6D6C0"], [0.5, "#5FAE9B"], [0.75, "#1F7276"], [1.0, "#123B4E"]]
"""Little → much, monotone in lightness, for heat-maps."""

SEQUENTIAL_DARK = [[0.0, "#1B2420"], [0.25, "#1F4A4C"], [0.5, "#2F7F78"], [0.75, "#7CC0A0"], [1.0, "#EAF4DE"]]
"""The same on dark paper: what there is much of stands out there, too."""

DIVERGING = [[0.0, "#2E6FA7"], [0.5, "#EFEDE6"], [1.0, "#B5511C"]]
"""Below → above a middle."""

CHECKED = False
"""Whether plotly checks figures that are given whole; the tests turn it on."""

_GRID = "rgba(128,128,120,0.20)"
_LINE = "rgba(128,128,120,0.55)"
_AXIS = {"gridcolor": _GRID, "zeroline": False, "linecolor": _LINE, "ticks": "outside", "ticklen": 4}
# Labels that stick out make room for themselves. Hidden instead, all of them in a column that is still opening, they
# put the axis' title at minus infinity.
_AXIS |= {"tickcolor": _LINE, "automargin": True, "ticklabeloverflow": "allow"}


def faded(colour: str, alpha: float = 0.18) -> str:
    """A colour of ``PALETTE`` made transparent, for bands and bars behind others."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha})"


def per_cent(digits: int = 0) -> str:
    """The format, for ticks and hover texts, in which a fraction reads “90 %”.

    Plotly's own leaves the space out. ``$`` asks for the unit of money, and ``chart.js`` says that it is “ %”.
    """
    return f"$.{digits}%"


def figure(
    *,
    x_title: str = "",
    y_title: str = "",
    height: int = 320,
    legend: bool = False,
    x_percent: bool = False,
    y_percent: bool = False,
    x_log: bool = False,
    y_log: bool = False,
    traces: Sequence[Mapping[str, Any]] = (),
    layout: Mapping[str, Any] | None = None,
) -> go.Figure:
    """A figure in the house style. ``*_percent`` axes take fractions and show per cent.

    ``traces`` and ``layout`` (merged with the style's, axes and legend key by key) are what plotly calls so: a figure
    that is given whole is made in a fraction of the time that ``add_trace`` and ``update_layout`` take.
    """

    def axis(title: str, percent: bool, log: bool) -> dict[str, Any]:
        kind = ({"tickformat": per_cent()} if percent else {}) | ({"type": "log"} if log else {})
        return {**_AXIS, **kind, "title": {"text": title, "standoff": 10}}

    style: dict[str, Any] = {
        "height": height,
        "margin": {"l": 8, "r": 12, "t": 12, "b": 8},
        "showlegend": legend,
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "title": {"text": ""}},
        "hovermode": "closest",
        "dragmode": False,
        "bargap": 0.04,
        "xaxis": {**axis(x_title, x_percent, x_log), "showgrid": False},
        "yaxis": axis(y_title, y_percent, y_log),
        "colorway": list(PALETTE),
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
    }
    for name, value in (layout or {}).items():
        style[name] = {**style[name], **value} if isinstance(style.get(name), dict) else value
    # Plotly looks at every entry of every trace; what is given whole was looked at so in the tests.
    return go.Figure({"data": list(traces), "layout": style}, _validate=CHECKED or not traces)


def settled(shown: go.Figure) -> go.Figure:
    """The figure, which is not changed any more: what the browser gets is made of it once, not at every drawing."""
    made = shown.to_dict()
    shown.to_dict = lambda: made
    return shown
