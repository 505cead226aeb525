"""The drawing of one network on one page: what is open, what colours and heights mean, and what a click meant.

What is chosen is the page's own: ``draw_canvas`` tells it of a click on a layer or on a part.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import plotly.graph_objects as go
import streamlit as st

from core.analysis.network_layout import Drawing, lay_out
from core.analysis.network_tree import Network, network_tree, openings, start_of
from dashboard import backend
from dashboard.components.charts import draw, settled
from dashboard.components.network_colours import COLOURS, legend_html
from dashboard.components.network_figure import network_figure
from dashboard.components.network_paint import Look

__all__ = ["Canvas", "after_click", "draw_canvas", "draw_controls", "picked"]

_SIZES = {"macs": "MACs", "parameters": "parameters"}
_PAGE_PX = 750
"""What is wider than this does not fit beside the panel."""


@functools.lru_cache(maxsize=8)
def _network(model_id: str, _workspace: str) -> Network:
    return network_tree(backend.store().get_model(model_id).description)


@functools.lru_cache(maxsize=64)
def _drawing(network: Network, opened: frozenset[str], size: str) -> Drawing:
    return lay_out(network, opened, size=size, width_px=_PAGE_PX)


@dataclass(frozen=True)
class _Shown:
    """A look, told from others by what can change of it while the model is the same."""

    look: Look = field(compare=False)
    said: str

    @classmethod
    def of(cls, look: Look) -> "_Shown":
        return cls(
            look, repr((look.size, look.dark, look.colouring, look.lit, look.chosen, look.marked, bool(look.coupled)))
        )


@functools.lru_cache(maxsize=32)
def _figure(network: Network, drawing: Drawing, shown: _Shown) -> go.Figure:
    """Most clicks change something else on the page."""
    return settled(network_figure(network, drawing, shown.look))


@dataclass(frozen=True)
class Canvas:
    """The drawing of a model on a page. ``page``: how the keys of its widgets begin."""

    model_id: str
    page: str = ""

    @property
    def network(self) -> Network:
        """The layers of the model as a tree."""
        return _network(self.model_id, str(backend.workspace().folder))

    def key(self, what: str) -> str:
        """A key of session_state that belongs to this model on this page."""
        return f"{self.page}network-{self.model_id[:12]}-{what}"

    @property
    def opened(self) -> frozenset[str]:
        """Names of the parts whose insides are drawn."""
        found: frozenset[str] = st.session_state[self.key("opened")]
        return found

    def open(self, names: frozenset[str]) -> None:
        """Open just these parts; the menu shows a level only where it is one."""
        st.session_state[self.key("opened")] = names
        level = next((title for title, level in openings(self.network).items() if level == names), None)
        st.session_state[self.key("detail")] = level


def draw_controls(
    canvas: Canvas,
    *,
    colour_key: str,
    size_key: str,
    colours: Sequence[str] = tuple(COLOURS),
    start: str = "kind",
) -> tuple[str, str]:
    """What is open, what the colours (those of ``colours``, first ``start``) and the heights mean."""
    network = canvas.network
    levels, detail, opened = openings(network), canvas.key("detail"), canvas.key("opened")
    if opened not in st.session_state:
        st.session_state[opened] = levels[start_of(network)]
        st.session_state[detail] = start_of(network)
    with st.container(horizontal=True, gap="medium", key=f"{canvas.page}network-controls"):
        if len(levels) > 1:
            st.segmented_control("Show", list(levels), key=detail, on_change=_open_level, args=(canvas,))
        colour = st.segmented_control(
            "Colour",
            list(colours),
            default=start,
            required=True,
            format_func=COLOURS.__getitem__,
            key=colour_key,
        )
        size = st.segmented_control(
            "Height",
            list(_SIZES),
            default="macs",
            required=True,
            format_func=_SIZES.__getitem__,
            key=size_key,
        )
    return str(colour), str(size)


def _open_level(canvas: Canvas) -> None:
    """Open the drawing as far as the menu says."""
    title = st.session_state.get(canvas.key("detail"))
    known = openings(canvas.network)
    if title in known:
        st.session_state[canvas.key("opened")] = known[title]


def draw_canvas(canvas: Canvas, look: Look, pick: Callable[[str, str], None]) -> None:
    """Legend and picture. A click opens a part, or closes it by its title, and calls ``pick`` with (``layer`` |
    ``group``, name) before the page is drawn again."""
    network = canvas.network
    drawing = _drawing(network, canvas.opened, look.size)
    st.html(legend_html(drawing, look, lit=bool(look.lit)))
    key = canvas.key("chart")
    count = sum(not box.opened for box in drawing.boxes)
    with st.container(key=f"{canvas.page}network-scroll", border=False):
        draw(
            _figure(network, drawing, _Shown.of(look)),
            key=key,
            alt=f"The network as {count} boxes from its input to its output, joined by lines; the menu and the table "
            "have the same layers as text",
            on_select=lambda: _clicked(canvas, pick),
            width=round(drawing.width),
        )
    if drawing.width > _PAGE_PX:
        st.caption("The network goes on to the right: scroll sideways.")


def _clicked(canvas: Canvas, pick: Callable[[str, str], None]) -> None:
    found = picked(st.session_state.get(canvas.key("chart")))
    after = None if found is None else after_click(canvas.network, canvas.opened, *found)
    if after is not None:
        kind, name, opened = after
        canvas.open(opened)
        pick(kind, name)


def after_click(
    network: Network, opened: frozenset[str], kind: str, name: str
) -> tuple[str, str, frozenset[str]] | None:
    """What was chosen (``layer`` | ``group``, name) and the open parts after a click; None for what there is not."""
    if kind == "layer" and name in network.leaves:
        return "layer", name, opened
    if kind in ("group", "open") and name in network.groups:
        return "group", name, (opened | {name} if kind == "group" else opened - {name})
    return None


def picked(event: Any) -> tuple[str, str] | None:
    """What was clicked: (``layer`` | ``group`` | ``open``, name); None when nothing usable was."""
    points = ((event or {}).get("selection") or {}).get("points") or []
    data = points[0].get("customdata") if points else None
    if isinstance(data, dict):  # the browser may send arrays as {"0": …, "1": …}
        data = [data[index] for index in sorted(data)]
    return (str(data[0]), str(data[1])) if isinstance(data, list | tuple) and len(data) == 2 else None
