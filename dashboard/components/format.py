"""Numbers with units and sensible digits, and text that is safe to show. Knows nothing of Streamlit."""

import functools
import html
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from core import wording

__all__ = [
    "MINUS",
    "NOTHING",
    "ago",
    "chart_text",
    "count",
    "duration",
    "escape",
    "interval",
    "layer_texts",
    "macs",
    "menu_words",
    "milliseconds",
    "percent",
    "plain",
    "points",
    "score",
    "shape",
    "short",
    "short_path",
    "short_paths",
    "signed",
    "size",
    "span",
    "speedup",
    "split_unit",
    "unbroken",
    "whole",
]

MINUS = "−"
NOTHING = "–"

# Addresses become links and :words: pictures whatever is escaped in them: a word joiner, which nobody sees, parts them.
_ACTS = re.compile(r"https?(?=:)|www(?=\.)|@|:(?=[\w+/-]+:)", re.IGNORECASE)
_BREAKS = re.compile(r"(?<=\d) (?=[%×])|(?<=×) (?=\d)")
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+\-.!|~$<>:])")


def _significant(value: float, digits: int = 3) -> str:
    """``digits`` significant digits without an exponent: 1.23, 12.3, 123."""
    if value == 0:
        return "0"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    text = f"{value:.{decimals}f}"
    # Rounding up may have added a digit in front: 9.996 → 10.00.
    if decimals and len(text.lstrip("-").replace(".", "").lstrip("0")) > digits:
        text = f"{value:.{decimals - 1}f}"
    return text.replace("-", MINUS)


def _scaled(value: float | None, units: Sequence[tuple[float, str]]) -> str:
    if value is None or not math.isfinite(value):
        return NOTHING
    for factor, unit in units:
        if abs(value) >= factor * 0.9995:
            return f"{_significant(value / factor)} {unit}".rstrip()
    factor, unit = units[-1]
    return f"{_significant(value / factor)} {unit}".rstrip()


def whole(value: float | None) -> str:
    """A whole number with separators: 1,017."""
    return NOTHING if value is None else f"{round(value):,}".replace("-", MINUS)


def count(value: float | None) -> str:
    """A count: 853, 85.3 k, 1.23 M, 4.1 G."""
    if value is not None and abs(value) < 1000:
        return whole(value)
    return _scaled(value, ((1e9, "G"), (1e6, "M"), (1e3, "k")))


def macs(value: float | None) -> str:
    """Multiply–accumulate operations of one example: 41.5 MMACs."""
    if value is not None and abs(value) < 1000:
        return f"{whole(value)} MACs"
    return _scaled(value, ((1e12, "TMACs"), (1e9, "GMACs"), (1e6, "MMACs"), (1e3, "kMACs")))


def size(size_bytes: float | None) -> str:
    """Bytes, decimal units: 3.20 MB."""
    if size_bytes is not None and abs(size_bytes) < 1000:
        return f"{whole(size_bytes)} B"
    return _scaled(size_bytes, ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")))


def milliseconds(value_ms: float | None) -> str:
    """A latency: 0.85 ms, 12.3 ms, 1.20 s."""
    if value_ms is None or not math.isfinite(value_ms):
        return NOTHING
    if value_ms >= 1000:
        return f"{_significant(value_ms / 1000)} s"
    return f"{_significant(value_ms)} ms"


def span(low: float, high: float) -> str:
    """From a number to another, with three digits each: 0.300–0.486."""
    return f"{_significant(low)}–{_significant(high)}"


def duration(seconds: float | None) -> str:
    """A waiting time: 8 s, 2 min 5 s, 1 h 12 min."""
    if seconds is None or not math.isfinite(seconds) or seconds < 0:
        return NOTHING
    whole_s = round(seconds)
    if whole_s < 60:
        return f"{whole_s} s"
    if whole_s < 3600:
        return f"{whole_s // 60} min {whole_s % 60} s"
    return f"{whole_s // 3600} h {whole_s % 3600 // 60} min"


def percent(fraction: float | None, digits: int = 1) -> str:
    """A fraction as per cent: 91.6 %."""
    if fraction is None or not math.isfinite(fraction):
        return NOTHING
    return wording.percent(fraction, digits)


def points(fraction: float | None, digits: int = 1) -> str:
    """A difference of two fractions in percentage points, with its sign: −1.2 points."""
    if fraction is None or not math.isfinite(fraction):
        return NOTHING
    value = round(100 * fraction, digits)
    sign = "+" if value > 0 else MINUS if value < 0 else "±"
    return f"{sign}{abs(value):.{digits}f} points"


def interval(low: float | None, high: float | None, digits: int = 1) -> str:
    """A 95 % interval of a fraction: 90.1–93.2 %."""
    if low is None or high is None:
        return NOTHING
    return f"{100 * low:.{digits}f}–{100 * high:.{digits}f} %"


def signed(value: float, digits: int = 3) -> str:
    """A number with a true minus: −0.00511; near 0 with a power of ten: 2.4 × 10⁻⁶."""
    if value == 0 or abs(value) >= 1e-3:
        text = f"{value:.{digits}g}" if abs(value) < 1e3 else f"{value:,.0f}"
        return text.replace("-", MINUS)
    mantissa, _, power = f"{value:.{digits - 1}e}".partition("e")
    raised = str(int(power)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{mantissa.replace('-', MINUS)} × 10{raised}"


def speedup(ratio: float | None) -> str:
    """A ratio of speeds: 2.15×."""
    return NOTHING if ratio is None or not math.isfinite(ratio) else f"{ratio:.2f}×"


def score(summary: dict[str, Any] | None) -> str:
    """The score of an ``Evaluation.summary``: 91.6 %."""
    return percent((summary or {}).get("score"))


def shape(dimensions: Sequence[int | None] | None) -> str:
    """A shape: 64 × 8 × 8."""
    return " × ".join("?" if d is None else str(d) for d in dimensions) if dimensions else NOTHING


def ago(moment: datetime, *, now: datetime | None = None) -> str:
    """How long since: just now, 4 min ago, 3 h ago, yesterday, 12 Mar 2026."""
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    seconds = ((now or datetime.now(UTC)) - moment).total_seconds()
    if seconds < 60:
        return "just now"
    if seconds < 3600:
        return f"{int(seconds // 60)} min ago"
    if seconds < 24 * 3600:
        return f"{int(seconds // 3600)} h ago"
    if seconds < 48 * 3600:
        return "yesterday"
    return f"{moment.day} {moment:%b %Y}"


def plain(text: object) -> str:
    """Text without control and direction characters, on one line."""
    kept = (c if c.isprintable() else " " for c in str(text))
    return re.sub(r"\s+", " ", "".join(kept)).strip()


def short(text: object, limit: int = 48) -> str:
    """One line of at most ``limit`` characters; the middle is left out, because names differ at their ends."""
    line = plain(text)
    if len(line) <= limit:
        return line
    head = (limit - 1) * 2 // 3
    return f"{line[:head]}…{line[len(line) - (limit - 1 - head) :]}"


def short_paths(names: Iterable[object], limit: int = 34) -> list[str]:
    """Names of layers in at most ``limit`` characters each. In all of them as many leading parts as needed become a
    letter and their number, for layers differ by their numbers and at their ends: ``e.l.e10.mlp.3``. Names that could
    not be told apart so stay whole."""
    return [*_shortened(tuple(map(plain, names)), limit)]


@functools.lru_cache(maxsize=64)  # several menus, tables and pictures of a page name the same layers
def _shortened(names: tuple[str, ...], limit: int) -> tuple[str, ...]:
    paths = [name.split(".") for name in names]
    shown: list[str] = []
    for leading in range(max(map(len, paths), default=0)):
        shown = [_abbreviated(path, leading) for path in paths]
        if all(len(name) <= limit for name in shown):
            break
    texts = [short(name, limit) for name in shown]
    alike = Counter(text for text, _ in set(zip(texts, names, strict=True)))
    return tuple(text if alike[text] == 1 else name for text, name in zip(texts, names, strict=True))


def _abbreviated(path: Sequence[str], leading: int) -> str:
    """The first ``leading`` parts, but never the last one, as a letter and a number; what is short stays."""
    end = min(leading, len(path) - 1)
    shortened = [part if len(part) < 4 else part[0] + _number_at_end(part[1:]) for part in path[:end]]
    return ".".join([*shortened, *path[end:]])


def _number_at_end(text: str) -> str:
    return text[len(text.rstrip("0123456789")) :]


def menu_words(names: Sequence[str], limit: int = 48) -> Callable[[str], str]:
    """``format_func`` of a menu of layers: see ``short_paths``."""
    return dict(zip(names, short_paths(names, limit), strict=True)).__getitem__


def short_path(name: object, limit: int = 48) -> str:
    """One name of ``short_paths``."""
    return short_paths([name], limit)[0]


def escape(text: object, *, markdown: bool = False) -> str:
    """Text for HTML and for plotly, which draws a subset of HTML and fills in ``%{…}``; or for Streamlit's markdown
    with ``markdown=True``: nothing in it acts as markup."""
    line = plain(text)
    if not markdown:
        return html.escape(line).replace("%{", "%&#123;")
    return _MARKDOWN.sub(r"\\\1", _ACTS.sub("\\g<0>\u2060", line))


def chart_text(text: object, limit: int = 48) -> str:
    """A name as a label in a picture: shortened, and escaped after that, so that no escape is cut in two."""
    return escape(short(text, limit))


def layer_texts(names: Iterable[object], limit: int = 34) -> list[str]:
    """Names of layers as labels in a picture: see ``short_paths``; escaped."""
    return [escape(name) for name in short_paths(names, limit)]


def unbroken(text: str) -> str:
    """The same text, in which a number and its per cent sign stay on one line, as do the sides of a shape."""
    return _BREAKS.sub("\u00a0", text)


def split_unit(text: str) -> tuple[str, str]:
    """``"1.23 M"`` → ``("1.23", "M")``."""
    value, _, unit = text.partition(" ")
    return value, unit
