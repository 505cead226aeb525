"""Text that fits: how wide a line is on a drawing, and what is left of a name where room is short."""

import unicodedata

from dashboard.components.format import plain, short

__all__ = ["fitted", "width_px"]

_NARROW = frozenset("ijltfrI.,:;|!()[]{}'` ·")
_WIDE = frozenset("mwMW@%—…→⧺")


def width_px(text: str, size_px: float) -> float:
    """About how wide a line of Source Sans is; rather too much than too little."""
    width = 0.0
    for sign in text:
        if sign in _NARROW:
            width += 0.31
        elif sign in _WIDE or unicodedata.east_asian_width(sign) in "WF":
            width += 1.0 if ord(sign) > 0x2E80 else 0.88
        else:
            width += 0.64 if sign.isupper() else 0.54
    return width * size_px


def fitted(text: str, room_px: float, size_px: float) -> str:
    """The text on one line; its middle is left out where it is wider than the room. Empty where not even that fits."""
    line = plain(text)
    if width_px(line, size_px) <= room_px:
        return line
    low, high = 0, min(len(line), int(room_px / (0.31 * size_px)) + 1)
    while low < high:  # the longest that fits
        middle = (low + high + 1) // 2
        low, high = (middle, high) if width_px(short(line, middle), size_px) <= room_px else (low, middle - 1)
    return short(line, low) if low > 2 else ""
