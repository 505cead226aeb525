"""The comparison as a table: each figure with its interval, each column with how it is known."""

from collections.abc import Mapping, Sequence
from html import escape as html_escape

import streamlit as st

from dashboard.components.badges import known_html
from dashboard.components.compare_data import LatencyRow, Row, overlapping
from dashboard.components.format import (
    count,
    escape,
    interval,
    macs,
    milliseconds,
    percent,
    short,
    size,
    span,
    speedup,
    unbroken,
)
from dashboard.components.group_facts import listed

__all__ = ["draw_table", "ranking_words", "settings_of", "table_html"]

_STYLE = """<style>
.esp-cmp { overflow-x: auto; margin: .2rem 0 .4rem; }
.esp-cmp table { border-collapse: collapse; width: 100%; font-size: .94rem;
  font-variant-numeric: tabular-nums lining-nums; }
.esp-cmp th { text-align: right; font-weight: 600; vertical-align: bottom; padding: .35rem .7rem; white-space: nowrap; }
.esp-cmp th .esp-known { display: block; width: fit-content; margin: .15rem 0 0 auto; font-weight: 400; }
.esp-cmp td { text-align: right; vertical-align: top; padding: .5rem .7rem; white-space: nowrap;
  border-top: 1px solid color-mix(in srgb, currentColor 13%, transparent); }
.esp-cmp thead tr { border-bottom: 1px solid color-mix(in srgb, currentColor 30%, transparent); }
.esp-cmp th:first-child, .esp-cmp td:first-child { text-align: left; padding-left: 0; }
.esp-cmp td:first-child { white-space: normal; min-width: 11rem; max-width: 17rem; }
.esp-cmp small { display: block; opacity: .74; font-size: .8rem; white-space: normal; }
.esp-cmp td:not(:first-child) small { white-space: nowrap; }
.esp-cmp td:first-child b { font-weight: 600; overflow-wrap: anywhere; }
</style>"""


def settings_of(rows: Sequence[Row]) -> list[str]:
    """Every latency setting that some variant was measured under, in order of appearance."""
    return list(dict.fromkeys(latency.setting for row in rows for latency in row.latency))


def draw_table(rows: Sequence[Row], sentences: Mapping[str, str], *, setting: str | None) -> None:
    """Draw the table; ``setting`` chooses which latency is shown."""
    st.html(_STYLE + table_html(rows, sentences, setting=setting))


def table_html(rows: Sequence[Row], sentences: Mapping[str, str], *, setting: str | None) -> str:
    """The table as HTML; every text is escaped."""
    metric = rows[0].metric if rows else "accuracy"
    n = next((row.n for row in rows if row.n is not None), None)
    heads = [
        ("Variant", ""),
        (metric.capitalize() if metric.islower() else metric, known_html(True, n)),
        ("Sparsity", ""),
        ("Non-zero", ""),
        ("MACs", ""),
        ("Dense file", known_html(True)),
        ("Compressed", known_html(True)),
        ("ONNX", known_html(True)),
    ]
    if setting is not None:
        heads.append(("Latency", known_html(True)))
    head = "".join(f'<th scope="col">{escape(title)}{badge}</th>' for title, badge in heads)
    body = "".join(_line(row, sentences.get(row.variant.id, ""), setting) for row in rows)
    return f'<div class="esp-cmp" tabindex="0"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _line(row: Row, sentence: str, setting: str | None) -> str:
    name = f"<b>{escape(short(row.variant.name, 60))}</b>"
    name += f"<small>{'the model as it was opened' if row.dense else unbroken(html_escape(sentence))}</small>"
    cells = [
        name,
        _cell(percent(row.score), interval(row.low, row.high) if row.low is not None else ""),
        _cell(percent(row.sparsity)),
        _cell(count(row.nonzero), f"of {count(row.parameters)}"),
        _cell(macs(row.macs)),
        _cell(size(row.dense_bytes)),
        _cell(size(row.sparse_bytes)),
        _cell(
            size(row.onnx_bytes), "" if row.onnx is None else "checked" if row.onnx.get("passed") else "checks failed"
        ),
    ]
    if setting is not None:
        cells.append(_latency_cell(row.latency_at(setting)))
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def _cell(value: str, below: str = "") -> str:
    return escape(value) + (f"<small>{escape(below)}</small>" if below else "")


def _latency_cell(latency: LatencyRow | None) -> str:
    if latency is None:
        return _cell("–")
    spread = ""
    if latency.low_ms is not None and latency.high_ms is not None:
        spread = f"{span(latency.low_ms, latency.high_ms)} ms, {latency.pairs} pairs"
    if latency.reference or latency.ratio is None:
        return _cell(milliseconds(latency.median_ms), spread)
    known = latency.ratio_low is not None and latency.ratio_high is not None
    ratio = speedup(latency.ratio) + (f" [{latency.ratio_low:.2f}–{latency.ratio_high:.2f}]" if known else "")
    return _cell(milliseconds(latency.median_ms), f"{ratio} of dense speed") + (
        f"<small>{escape(spread)}</small>" if spread else ""
    )


def ranking_words(rows: Sequence[Row], setting: str) -> str:
    """What the latencies of one setting allow to be said: faster, slower, or not ranked."""
    measured = [(row, found) for row in rows if not row.dense and (found := row.latency_at(setting)) is not None]
    if not measured:
        return ""
    parts, alike = [], []
    for row, latency in measured:
        name = short(row.variant.name, 50)
        if latency.verdict in ("faster", "slower"):
            parts.append(f"{name} is {latency.verdict} than dense ({speedup(latency.ratio)})")
        else:
            alike.append((name, latency.pairs))
    if alike:
        pairs = sorted({pairs for _, pairs in alike})
        shown = f"no difference shown on {' to '.join(str(n) for n in dict.fromkeys((pairs[0], pairs[-1])))} pairs"
        are = "is" if len(alike) == 1 else "are"
        parts.append(f"{listed([name for name, _ in alike])} {are} not ranked against dense: {shown}")
    if overlapping([(latency.ratio_low, latency.ratio_high) for _, latency in measured]):
        parts.append("variants whose intervals overlap are not ranked against each other")
    return (f"{setting}: " + "; ".join(parts) + ".") if parts else ""
