"""Puts a plotly figure on the page, as a component of ours: ``assets/chart.js``.

Streamlit's own chart is taken down and drawn twice whenever its figure changes, and at every switch of pages, wherever
it is on the page: half of a click's time went there. Ours changes in place, and waits until it comes near the window.
"""

from collections.abc import Callable
from typing import Any, Literal

import orjson
import plotly.graph_objects as go
import plotly.io
import streamlit as st

from dashboard.browser_files import CHART_URL, PLOTLY_URL

__all__ = ["content_of", "draw"]

_NAME = "espalier_chart"
# Every chart brings the script along whenever it is drawn: it only names the file. A page that is left while it loads
# the file fails to; what is tried again a little later is not there any more to complain.
_SCRIPT = f"""const load = () => import(new URL("{CHART_URL}", document.baseURI).href);
const again = () => new Promise((wait) => setTimeout(wait, 400)).then(load);
export default (await load().catch(again)).default;"""


def draw(
    shown: go.Figure,
    *,
    key: str,
    alt: str,
    on_select: Literal["ignore", "rerun"] | Callable[..., None] = "ignore",
    width: Literal["stretch"] | int = "stretch",
) -> Any:
    """Show a figure. ``alt`` says in words what it shows. With ``on_select`` returns the click. ``width``: pixels.

    A click is ``{"selection": {"points": [{"customdata": …}]}}``, also in ``st.session_state[key]``, during the one
    run that it causes. Tests hand one over as a plain dict.
    """
    # Registered at every drawing: a server, and every page of a test, has its own list of components.
    frame = st.components.v2.component(_NAME, js=_SCRIPT, isolate_styles=False)
    listens = on_select != "ignore"
    reply: dict[str, Any] = {"on_selection_change": on_select if callable(on_select) else _nothing} if listens else {}
    return frame(key=key, data=content_of(shown, alt=alt, width=width, clicks=listens), width=width, **reply)


def content_of(shown: go.Figure, *, alt: str, width: Literal["stretch"] | int, clicks: bool) -> str:
    """What the browser's program gets, as JSON."""
    content = {
        "figure": _spec(shown),
        "alt": alt,
        "width": width if isinstance(width, int) else None,
        "height": shown.layout.height,
        "clicks": clicks,
        "plotly": PLOTLY_URL,
    }
    return orjson.dumps(content).decode()


def _spec(shown: go.Figure) -> str:
    """The figure as JSON, without a template: the browser adds one in the colours of its page."""
    body = shown.to_dict()
    layout = {name: value for name, value in body["layout"].items() if name != "template"}
    return plotly.io.json.to_json_plotly({"data": body["data"], "layout": layout}, engine="orjson")


def _nothing() -> None:
    """A click that only asks for the page to be drawn again."""
