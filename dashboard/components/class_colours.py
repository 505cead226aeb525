"""One colour per class of a segmentation, the same on every picture."""

import colorsys
from collections.abc import Sequence

from dashboard.components.format import escape, short

__all__ = ["IGNORED", "class_colours", "legend_html"]

IGNORED = "#6E6E68"
"""Pixels whose true class is to be ignored."""

# Paul Tol's muted scheme, and Okabe and Ito's hues where it ends: apart for any colour vision, as far as many can be.
_COLOURS = (
    "#CC6677",
    "#332288",
    "#DDCC77",
    "#117733",
    "#88CCEE",
    "#882255",
    "#44AA99",
    "#D55E00",
    "#999933",
    "#AA4499",
    "#56B4E9",
    "#F0E442",
    "#0072B2",
    "#E69F00",
)
_GROUND = "#D6D3C8"
_GROUND_NAMES = ("ground", "background", "__background__", "void", "unlabelled", "unlabeled", "other")
_GOLDEN = 0.618034


def class_colours(names: Sequence[str]) -> list[str]:
    """A hex colour per class; a background is grey. Beyond the palette, hues a golden angle apart."""
    found: list[str] = []
    free = 0
    for name in names:
        if name.lower() in _GROUND_NAMES and _GROUND not in found:
            found.append(_GROUND)
            continue
        found.append(_COLOURS[free] if free < len(_COLOURS) else _generated(free))
        free += 1
    return found


def legend_html(entries: Sequence[tuple[str, str]]) -> str:
    """Swatches with names; entries are (name, colour)."""
    items = "".join(
        f'<span><i style="background:{colour}"></i>{escape(short(name, 24))}</span>' for name, colour in entries
    )
    return f'<div class="esp-legend">{items}</div>'


def _generated(index: int) -> str:
    red, green, blue = colorsys.hls_to_rgb(index * _GOLDEN % 1.0, (0.35, 0.5, 0.65)[index % 3], 0.6)
    return f"#{round(255 * red):02X}{round(255 * green):02X}{round(255 * blue):02X}"
