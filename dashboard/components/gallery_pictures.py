"""The pictures of a gallery as HTML with PNGs inside: masks in colour, changed places outlined, flipped classes."""

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from core.analysis.gallery import Gallery
from dashboard.components.class_colours import IGNORED, class_colours, legend_html
from dashboard.components.format import escape, percent, short

__all__ = ["STYLE", "coloured", "enlarged", "flip_html", "legend_of", "mask_html", "outlined", "png_uri"]

STYLE = """<style>
.esp-masks { display: grid; grid-template-columns: repeat(4, minmax(0, 1fr)); gap: .25rem .6rem;
  margin: .1rem 0 .9rem; }
.esp-masks figure, .esp-flips figure { margin: 0; }
.esp-masks img { display: block; width: 100%; border-radius: 4px; }
.esp-masks figcaption { font-size: .8rem; opacity: .8; margin-bottom: .15rem; }
.esp-masks .what { grid-column: 1 / -1; font-size: .85rem; }
.esp-legend { display: flex; flex-wrap: wrap; gap: .2rem .9rem; font-size: .85rem; margin: .2rem 0 .6rem; }
.esp-legend i { display: inline-block; width: .8rem; height: .8rem; border-radius: 3px; margin-right: .35rem;
  vertical-align: -1px; border: 1px solid color-mix(in srgb, currentColor 30%, transparent); }
.esp-flips { display: grid; grid-template-columns: repeat(auto-fill, minmax(8.2rem, 1fr)); gap: .9rem .7rem; }
.esp-flips img { display: block; width: 6rem; height: 6rem; object-fit: contain; border-radius: 4px;
  image-rendering: pixelated; border: 1px solid color-mix(in srgb, currentColor 16%, transparent); }
.esp-flips figcaption { font-size: .82rem; line-height: 1.35; margin-top: .25rem; font-variant-numeric: tabular-nums; }
.esp-flips figcaption span { display: block; overflow-wrap: anywhere; }
@media (max-width: 640px) { .esp-masks { grid-template-columns: repeat(2, minmax(0, 1fr)); } }
</style>"""

_DRAWN_PX = 384
_LINE_PX = 2


def png_uri(pixels: np.ndarray[Any, Any]) -> str:
    """uint8 ``[H, W, 1]`` or ``[H, W, 3]`` as a data URI."""
    held = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(held, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(held.getvalue()).decode()}"


def coloured(mask: np.ndarray[Any, Any], colours: Sequence[str]) -> np.ndarray[Any, Any]:
    """Class numbers ``[H, W]`` as uint8 ``[H, W, 3]``; numbers without a colour are to be ignored."""
    table = np.tile(_rgb(IGNORED), (256, 1))
    table[: len(colours)] = [_rgb(colour) for colour in colours[:256]]
    found: np.ndarray[Any, Any] = table[mask]
    return found


def outlined(pixels: np.ndarray[Any, Any], where: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The picture enlarged, with a white line inside and a dark one around the places ``where`` ``[H, W]`` is true."""
    factor = max(1, round(_DRAWN_PX / max(where.shape)))
    large, inside = enlarged(pixels), where.repeat(factor, 0).repeat(factor, 1)
    white, dark = _beside(~inside), _beside(inside)
    for _ in range(_LINE_PX - 1 if factor > _LINE_PX else 0):
        white, dark = _beside(white) | white, _beside(dark) | dark
    large[inside & white] = 255
    large[~inside & dark] = 20
    return large


def enlarged(pixels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """A small picture with every pixel as a square, so that browsers do not blur it."""
    factor = max(1, round(_DRAWN_PX / max(pixels.shape[:2])))
    return pixels.repeat(factor, 0).repeat(factor, 1)


def mask_html(gallery: Gallery, index: int) -> str:
    """One image of a segmentation: what it is, the truth, both predictions with what differs outlined."""
    colours = class_colours(gallery.class_names)
    truth, dense, pruned = (getattr(gallery, name)[index] for name in ("truth", "dense", "pruned"))
    differs = (dense != pruned) & (truth != 255)
    parts = [
        ("image", enlarged(gallery.images[index])),
        ("ground truth", enlarged(coloured(truth, colours))),
        ("dense", outlined(coloured(dense, colours), differs)),
        ("pruned", outlined(coloured(pruned, colours), differs)),
    ]
    number, share = int(gallery.indices[index]), percent(float(gallery.changed_share[index]))
    right = f"right pixels {percent(gallery.dense_value[index])} → {percent(gallery.pruned_value[index])}"
    figures = "".join(
        f'<figure><figcaption>{name}</figcaption><img src="{png_uri(pixels)}" alt="Image {number}, {name}"></figure>'
        for name, pixels in parts
    )
    what = f"<b>Image {number}</b>: {share} of the pixels changed; {right}"
    return f'<div class="esp-masks"><div class="what">{what}</div>{figures}</div>'


def flip_html(gallery: Gallery, indices: Sequence[int]) -> str:
    """Cards of images whose predicted class changed."""
    return f'<div class="esp-flips">{"".join(_flip(gallery, index) for index in indices)}</div>'


def legend_of(gallery: Gallery, indices: Sequence[int]) -> str:
    """The classes that these images and their predictions show."""
    colours = class_colours(gallery.class_names)
    chosen = list(indices)
    seen = np.unique(np.concatenate([getattr(gallery, name)[chosen].ravel() for name in ("truth", "dense", "pruned")]))
    entries = [(gallery.class_names[label], colours[label]) for label in seen.tolist() if label < len(colours)]
    if seen.size and seen[-1] >= len(colours):
        entries.append(("not labelled", IGNORED))
    return legend_html(entries)


def _flip(gallery: Gallery, index: int) -> str:
    truth = int(gallery.truth[index])
    lines = [f"<span>true <b>{_class(gallery, truth)}</b></span>"]
    for word, label, confidence in (
        ("dense", int(gallery.dense[index]), gallery.dense_value[index]),
        ("pruned", int(gallery.pruned[index]), gallery.pruned_value[index]),
    ):
        mark = "✓" if label == truth else "✗"
        sure = f", {percent(float(confidence), 0)}" if label >= 0 else ""
        lines.append(f"<span>{mark} {word} <b>{_class(gallery, label)}</b>{sure}</span>")
    alt = f"Test image {int(gallery.indices[index])}, true class {_class(gallery, truth)}"
    return (
        f'<figure><img src="{png_uri(gallery.images[index])}" alt="{alt}">'
        f"<figcaption>{''.join(lines)}</figcaption></figure>"
    )


def _class(gallery: Gallery, label: int) -> str:
    if label < 0:
        return "not finite"
    return escape(short(gallery.class_names[label], 22)) if label < len(gallery.class_names) else f"class {label}"


def _beside(where: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Pixels with a neighbour for which ``where`` holds."""
    wide = np.pad(where, 1)
    found: np.ndarray[Any, Any] = wide[:-2, 1:-1] | wide[2:, 1:-1] | wide[1:-1, :-2] | wide[1:-1, 2:]
    return found


def _rgb(colour: str) -> np.ndarray[Any, Any]:
    return np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)], np.uint8)
