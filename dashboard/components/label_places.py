"""Where the names of points stand, so that none lies on another or on a point: greedy, in the order of the points, and
once more with those first that found no place."""

from collections.abc import Sequence

__all__ = ["label_places"]

_LETTER_PX, _LINE_PX, _MARK_PX = 6.4, 15.0, 7.0
_TRIES = 4
# Plotly's words; x and y say to which side of its point a text goes.
_PLACES = {
    "top right": (1, 1),
    "bottom right": (1, -1),
    "top left": (-1, 1),
    "bottom left": (-1, -1),
    "top center": (0, 1),
    "bottom center": (0, -1),
}

Box = tuple[float, float, float, float]


def label_places(
    spots: Sequence[tuple[float, float]],
    texts: Sequence[str],
    *,
    x_range: tuple[float, float],
    y_range: tuple[float, float],
    width_px: float = 430.0,
    height_px: float = 250.0,
    kept: Sequence[str | None] = (),
) -> list[str | None]:
    """Plotly's ``textposition`` of each text; None where no place is free: that name is better left to the hover.

    Args:
        spots: points in the units of the axes.
        texts: their names.
        x_range: both ends of the axis. y_range: likewise.
        width_px: the smallest width at which the picture is drawn; wider ones have more room.
        height_px: likewise.
        kept: places found for a smaller width: they are free at every larger one, and stay.
    """
    x_scale = width_px / ((x_range[1] - x_range[0]) or 1.0)
    y_scale = height_px / ((y_range[1] - y_range[0]) or 1.0)
    pixels = [((x - x_range[0]) * x_scale, (y - y_range[0]) * y_scale) for x, y in spots]
    order = list(range(len(pixels)))
    best: list[str | None] = [None] * len(pixels)
    for _ in range(_TRIES):
        places = _placed(pixels, texts, order, width_px, kept)
        left_out = [index for index in order if places[index] is None]
        if places.count(None) < best.count(None):
            best = places
        if not left_out:
            break
        order = [*left_out, *(index for index in order if index not in left_out)]
    return best


def _placed(
    pixels: Sequence[tuple[float, float]],
    texts: Sequence[str],
    order: Sequence[int],
    width_px: float,
    kept: Sequence[str | None],
) -> list[str | None]:
    """The first free place of each text, taken in this order."""
    marks: list[Box] = [(x - _MARK_PX, y - _MARK_PX, x + _MARK_PX, y + _MARK_PX) for x, y in pixels]
    boxes = [
        {name: _box(x, y, _LETTER_PX * len(text), *side) for name, side in _PLACES.items()}
        for (x, y), text in zip(pixels, texts, strict=True)
    ]
    places: list[str | None] = list(kept) or [None] * len(pixels)
    taken = [_reach(boxes[index][place], pixels[index]) for index, place in enumerate(places) if place is not None]
    for index in order:
        if places[index] is not None:
            continue
        for name, box in boxes[index].items():
            reach = _reach(box, pixels[index])
            inside = box[0] >= 0 and box[2] <= width_px
            if inside and not any(_meet(box, mark) for mark in marks) and not any(_meet(reach, own) for own in taken):
                places[index] = name
                taken.append(reach)
                break
    return places


def _reach(box: Box, point: tuple[float, float]) -> Box:
    """A name's box with its point: two names that reach across each other would meet where there is more room."""
    (x, y), (left, bottom, right, top) = point, box
    return (min(left, x), min(bottom, y), max(right, x), max(top, y))


def _box(x: float, y: float, wide: float, right: int, up: int) -> Box:
    left = x + (_MARK_PX if right > 0 else -_MARK_PX - wide if right < 0 else -wide / 2)
    bottom = y + (_MARK_PX if up > 0 else -_MARK_PX - _LINE_PX)
    return (left, bottom, left + wide, bottom + _LINE_PX)


def _meet(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
