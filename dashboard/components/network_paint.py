"""How the boxes of a drawn network are painted: fill by value or kind, ink that reads on it, edges of what is lit."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from core.analysis.network_layout import Box, Drawing
from core.analysis.network_tree import Part
from dashboard.components.charts import ACCENT, SEQUENTIAL, SEQUENTIAL_DARK, WARNING, faded
from dashboard.components.network_values import KIND_COLOURS, Colouring, kind_of

__all__ = ["BESIDE", "EDGE", "INK", "SIGNS", "Look", "Paint", "kind_fill", "painted", "scale_of", "top_of", "value_of"]

EDGE = "rgba(128,128,120,0.60)"
INK = {False: "#21231F", True: "#E8E6DF"}
"""Colour of text on light and dark paper."""
BESIDE = (13, 7)
"""Widths of the drawing and of what stands beside it: at 1280 pixels a drawing of three columns is seen whole."""
SIGNS = {"makes": "●", "reads": "○", "follows": "·"}
"""What stands before the name of a layer that is lit."""
_PAPER = {False: "#FCFBF8", True: "#171916"}
_UNKNOWN = {False: "#EDEBE4", True: "#2A2D28"}
_INKS = ("#15211C", "#FBFAF6")
_DIM = 0.22


@dataclass(frozen=True)
class Look:
    """What the figure shows beside the boxes themselves.

    ``rows``: layer → row of the model's description. ``colouring``: None colours by kind. ``lit``: layer → ``makes``,
    ``reads`` or ``follows``; where there are any, all other boxes are dimmed. ``chosen``: key of the chosen part.
    ``marked``: layer → colour of the edge of its box. ``coupled``: layer → what the hover says of its group.
    """

    rows: Mapping[str, Mapping[str, Any]]
    size: str
    dark: bool
    colouring: Colouring | None = None
    lit: Mapping[str, str] = field(default_factory=dict)
    chosen: tuple[str, str] | None = None
    marked: Mapping[str, str] = field(default_factory=dict)
    coupled: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Paint:
    """How one box is drawn."""

    box: Box
    fill: str
    ink: str
    edge: str
    edge_px: float
    role: str


def value_of(part: Part, look: Look) -> float | str | None:
    """What colours a box: a number, or the kind that does most of its work."""
    if look.colouring is not None:
        value = look.colouring.of(part.layers)
        return None if value is None else float(value)
    work: dict[str, int] = {}
    for layer in part.layers:
        kind = kind_of(look.rows[layer])
        work[kind] = work.get(kind, 0) + int(look.rows[layer].get("macs") or 0)
    return max(work, key=lambda kind: work[kind]) if part.parts else kind_of(look.rows[part.layers[0]])


def top_of(drawing: Drawing, look: Look) -> float:
    """The largest number of any closed box: where the scale ends; 0 where there are none."""
    values = (value_of(box.part, look) for box in drawing.boxes if not box.opened)
    return max((value for value in values if isinstance(value, float)), default=0.0)


def painted(box: Box, value: float | str | None, top: float, look: Look) -> Paint:
    roles = [look.lit[layer] for layer in box.part.layers if layer in look.lit]
    role = next((role for role in SIGNS if role in roles), "")
    if isinstance(value, str):
        fill = kind_fill(value, dark=look.dark)
    else:
        share = max(0.0, value or 0.0) / top if top > 0 else 0.0
        fill = _UNKNOWN[look.dark] if value is None else _sampled(scale_of(dark=look.dark), share)
    ink = max(_INKS, key=lambda one: _contrast(one, fill))
    dim = bool(look.lit) and not role
    if dim:
        fill, ink = faded(fill, _DIM), faded(INK[look.dark], 0.62)
    edge, edge_px = EDGE, 1.0
    if role:
        edge, edge_px = WARNING, 3.0 if role == "makes" else 1.8
    mark = next((look.marked[layer] for layer in box.part.layers if layer in look.marked), None)
    if mark is not None:
        edge, edge_px = mark, 4.0
    if box.part.key == look.chosen:
        edge, edge_px = (WARNING if role else ACCENT), 4.0
    return Paint(box, fill, ink, edge, edge_px, role)


def scale_of(*, dark: bool) -> list[list[Any]]:
    """The plotly colour scale of numbers."""
    return SEQUENTIAL_DARK if dark else SEQUENTIAL


def kind_fill(kind: str, *, dark: bool) -> str:
    """The fill of a kind of layers: its colour, thinned so that text reads on it."""
    return _mixed(KIND_COLOURS[kind], _PAPER[dark], 0.45)


def _channels(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _mixed(colour: str, paper: str, share: float) -> str:
    mixed = (round(share * a + (1 - share) * b) for a, b in zip(_channels(colour), _channels(paper), strict=True))
    return "#" + "".join(f"{channel:02X}" for channel in mixed)


def _sampled(scale: Sequence[Sequence[Any]], share: float) -> str:
    """The colour of a plotly scale at 0…1."""
    share = min(1.0, share)
    for (low, one), (high, other) in itertools.pairwise(scale):
        if share <= high:
            return _mixed(other, one, (share - low) / (high - low))
    return str(scale[-1][1])


def _contrast(one: str, other: str) -> float:
    """Contrast of two colours, 1 to 21 (WCAG 2.2)."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: str) -> float:
    """Relative luminance, 0 to 1 (WCAG 2.2)."""
    shares = [channel / 255 for channel in _channels(colour)]
    red, green, blue = (s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
