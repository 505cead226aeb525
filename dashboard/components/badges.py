"""Numbers that say how they are known: measured (on n examples, with an interval) or estimated."""

from collections.abc import Iterable, Sequence

import streamlit as st

from .format import escape, percent, split_unit, unbroken, whole

__all__ = ["chips_html", "known_html", "number", "number_html", "numbers"]


def known_html(measured: bool | None, n: int | None = None) -> str:
    """The badge: “measured, n = 1,017” or “estimated”; nothing for exact counts (None)."""
    if measured is None:
        return ""
    word = "measured" if measured else "estimated"
    text = f"{word}, n = {whole(n)}" if n is not None else word
    return f'<span class="esp-known {word}">{text}</span>'


def number_html(
    label: str,
    value: str | float | None,
    unit: str = "",
    *,
    measured: bool | None = True,
    n: int | None = None,
    interval: tuple[float, float] | str | None = None,
    note: str | None = None,
) -> str:
    """One figure as HTML. See ``number``."""
    text = "–" if value is None else value if isinstance(value, str) else f"{value:,.4g}"
    if not unit:
        text, unit = split_unit(text)
    spread = interval if isinstance(interval, str) else None
    if isinstance(interval, tuple) and None not in interval:
        spread = f"95 % interval {percent(interval[0])} to {percent(interval[1])}"
    below = known_html(measured, n) + " · ".join(unbroken(escape(part)) for part in (spread, note) if part)
    return (
        f'<div class="esp-fig"><div class="l">{escape(label)}</div>'
        f'<div class="v">{escape(text)} <small>{escape(unit)}</small></div><div class="n">{below}</div></div>'
    )


def number(
    label: str,
    value: str | float | None,
    unit: str = "",
    *,
    measured: bool | None = True,
    n: int | None = None,
    interval: tuple[float, float] | str | None = None,
    note: str | None = None,
) -> None:
    """Draw one figure: label, value with unit, and how it is known.

    ``value`` is best a text of ``components.format`` (``percent(0.916)``). ``measured=None`` is for exact counts, which
    need no badge; ``interval`` is a pair of fractions (95 %) or a ready text; ``note`` one short phrase.
    """
    numbers([number_html(label, value, unit, measured=measured, n=n, interval=interval, note=note)])


def numbers(figures: Iterable[str]) -> None:
    """Draw figures of ``number_html`` in a row that wraps on a narrow screen."""
    st.html(f'<div class="esp-figs">{"".join(figures)}</div>')


def chips_html(chips: Sequence[tuple[str, str]]) -> str:
    """Chips (small label, text) as HTML."""
    return "".join(
        f'<span class="esp-chip" title="{escape(text)}"><small>{escape(label)}</small> {escape(text)}</span>'
        for label, text in chips
    )
