"""Pictures of coupled groups: a bar per group, and the layers in execution order with a line through each group."""

import functools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from core.comb.sheet import Coupling, GroupSheet, SheetGroup
from dashboard.components.charts import MUTED, PALETTE, WARNING, faded, figure
from dashboard.components.format import chart_text, escape, layer_texts, percent
from dashboard.components.group_facts import size_words
from dashboard.components.group_preview import GroupRow

__all__ = ["BARS", "STYLES", "chain_figure", "group_bars", "lanes", "map_figure", "style_of"]

_ROW_PX = 20
_PAPER, _INK = "#F6F4EE", "#1C1A16"
_REMOVED = "rgba(138,147,142,0.28)"
_STATES = {"allocated": PALETTE[0], "fixed by you": PALETTE[1], "protected": PALETTE[2], "kind left out": PALETTE[6]}
BARS = {"share": "share", "units": "channels", "parameters": "parameters", "macs": "MACs"}
"""What the bars can be as long as."""


def _length(row: GroupRow, unit: str) -> float:
    """Length of the whole bar: what the group stands for in the dense model."""
    if unit == "parameters":
        return float(row.group.unit_parameters * row.group.units)
    if unit == "macs":
        return float(row.group.unit_macs * row.group.units)
    return float(row.group.units * row.group.width) if unit == "units" else 100.0


def group_bars(rows: Sequence[GroupRow], *, unit: str, chosen: str | None = None) -> go.Figure:
    """Horizontal bars, first group on top: what stays (solid) and what goes (pale). ``unit``: a key of ``BARS``."""
    lengths = [_length(row, unit) for row in rows]
    states = {state: [number for number, row in enumerate(rows) if row.state == state] for state in _STATES}
    traces = [_bar(rows, mine, lengths, state) for state, mine in states.items() if mine]
    traces.append(
        {
            "type": "bar",
            "x": [length * row.sparsity for row, length in zip(rows, lengths, strict=True)],
            "y": list(range(len(rows))),
            "orientation": "h",
            "name": "removed",
            "marker": {"color": _REMOVED, "line": {"width": 0}},
            "customdata": [[row.group.name] for row in rows],
            "hoverinfo": "skip",
        }
    )
    title = "share of the group's units, %" if unit == "share" else f"{BARS[unit]} that the group stands for"
    return figure(
        height=max(170, _ROW_PX * len(rows) + 92),
        x_title=title,
        traces=traces,
        layout={
            "yaxis": _named_rows([row.group.name for row in rows], chosen),
            "xaxis": {"side": "top", "rangemode": "tozero", "showgrid": True},
            "barmode": "stack",
            "bargap": 0.28,
            "showlegend": True,
            "margin": {"t": 76},
            "legend": {"y": 0.995, "yanchor": "top", "yref": "container", "traceorder": "normal"},
        },
    )


def _bar(rows: Sequence[GroupRow], mine: Sequence[int], lengths: Sequence[float], state: str) -> dict[str, Any]:
    return {
        "type": "bar",
        "x": [lengths[number] * (1.0 - rows[number].sparsity) for number in mine],
        "y": list(mine),
        "orientation": "h",
        "name": f"stays · {state}",
        "marker": {"color": _STATES[state], "line": {"width": 0}},
        "customdata": [[rows[number].group.name, _hover(rows[number])] for number in mine],
        "hovertemplate": "%{customdata[1]}<extra></extra>",
    }


def _hover(row: GroupRow) -> str:
    group = row.group
    saved = f"saves {percent(row.parameters_share)} of the parameters, {percent(row.macs_share)} of the MACs"
    return (
        f"<b>{chart_text(group.name, 60)}</b><br>{size_words(group)} → {size_words(group, row.kept)}"
        f"<br>{row.state}{f'<br>{saved}' if row.removed else ''}<br>{len(group.layers)} layers shrink together"
    )


def _bold(text: str, lit: bool) -> str:
    return f"<b>{text}</b>" if lit else text


def _named_rows(names: Sequence[str], lit: str | None = None) -> dict[str, Any]:
    """A vertical axis with one name per row, first on top; that of ``lit`` in bold."""
    texts = layer_texts(names, 26)
    labels = [_bold(text, name == lit) for name, text in zip(names, texts, strict=True)]
    return {
        "tickmode": "array",
        "tickvals": list(range(len(labels))),
        "ticktext": labels,
        "range": [len(labels) - 0.4, -0.6],
        "showgrid": False,
        "ticks": "",
    }


# -- the map: one row per layer, one line per group -------------------------------------------------------------------

STYLES: dict[str, tuple[str, str, float]] = {
    "coupled": ("coupled channels", PALETTE[0], 6.0),
    "channels": ("channels of one layer", PALETTE[5], 3.0),
    "heads": ("heads", PALETTE[1], 4.0),
    "head_width": ("head width", PALETTE[3], 4.0),
    "neurons": ("neurons", PALETTE[2], 4.0),
    "embedding": ("embedding", PALETTE[4], 6.0),
}
"""Look of a group: words for the legend, colour, width of its line in pixels."""


def style_of(group: SheetGroup) -> str:
    """Key of ``STYLES``: channels that several layers must make together stand out from those of one layer."""
    return "coupled" if group.kind == "channels" and len(group.creators) > 1 else group.kind


def lanes(spans: Mapping[str, tuple[int, int]]) -> dict[str, int]:
    """A lane for each span of rows, so that no two spans share a row of a lane; few lanes, long spans first."""
    ends: list[int] = []
    result = {}
    for name, (first, last) in sorted(spans.items(), key=lambda item: (item[1][0], -item[1][1])):
        lane = next((number for number, end in enumerate(ends) if end < first), len(ends))
        ends[lane:] = [last, *ends[lane + 1 :]]
        result[name] = lane
    return result


def _spans(groups: Sequence[SheetGroup], rows: Mapping[str, int]) -> dict[str, tuple[int, int]]:
    spans = {}
    for group in groups:
        mine = [rows[layer] for layer in (*group.creators, *group.readers) if layer in rows]
        if mine:
            spans[group.name] = min(mine), max(mine)
    return spans


@functools.lru_cache(maxsize=32)
def map_figure(sheet: GroupSheet, lit: tuple[str, ...] = (), layer: str | None = None) -> go.Figure:
    """Layers from top to bottom in execution order; a line through the layers of each group, ``lit`` ones bright.

    Filled: the layer makes the units. Open: it reads them. A cross: its outputs cannot shrink. Do not change what it
    returns: it is kept.
    """
    rows = {name: number for number, name in enumerate(sheet.prunable)}
    spans = _spans(sheet.groups, rows)
    lane = lanes(spans)
    width = max(lane.values(), default=0) + 1
    traces: list[dict[str, Any]] = []
    for style in STYLES:
        members = [group for group in sheet.groups if style_of(group) == style and group.name in spans]
        shining = [group for group in members if not lit or group.name in lit]
        pale = [group for group in members if group not in shining]
        traces += _group_traces(pale, rows, spans, lane, style, bright=False, legend=not shining)
        traces += _group_traces(shining, rows, spans, lane, style, bright=True, legend=True)
    traces += [*_frozen_traces(sheet, rows, width), _size_trace(sheet, rows, width, lit)]
    return figure(
        height=max(170, _ROW_PX * len(rows) + 84),
        traces=traces,
        layout={
            "yaxis": _named_rows(list(rows), layer),
            "xaxis": {"range": [-0.7, width - 0.3 + max(3.6, 0.7 * width)], "visible": False},
            "showlegend": True,
            "margin": {"t": 64, "r": 56},
            "legend": {
                "y": 0.998,
                "yanchor": "top",
                "yref": "container",
                "traceorder": "normal",
                "itemsizing": "constant",
            },
        },
    )


def _frozen_traces(sheet: GroupSheet, rows: Mapping[str, int], width: int) -> list[dict[str, Any]]:
    """Crosses beside the layers whose outputs cannot shrink."""
    frozen = {name: item.reason for item in sheet.frozen for name in item.layers if name in rows}
    if not frozen:
        return []
    return [
        {
            "type": "scatter",
            "x": [width - 0.2] * len(frozen),
            "y": [rows[name] for name in frozen],
            "mode": "markers+text",
            "name": "cannot shrink",
            "text": [" cannot shrink"] * len(frozen),
            "textposition": "middle right",
            "textfont": {"size": 11},
            "showlegend": False,
            "marker": {"symbol": "x", "size": 8, "color": MUTED},
            "customdata": [[name, ""] for name in frozen],
            "hovertext": [f"<b>{escape(name)}</b><br>cannot shrink: {escape(why)}" for name, why in frozen.items()],
            "hovertemplate": "%{hovertext}<extra></extra>",
        }
    ]


def _group_traces(
    groups: Sequence[SheetGroup],
    rows: Mapping[str, int],
    spans: Mapping[str, tuple[int, int]],
    lane: Mapping[str, int],
    style: str,
    *,
    bright: bool,
    legend: bool,
) -> list[dict[str, Any]]:
    """Lines and markers of the groups of one style, in two traces."""
    if not groups:
        return []
    title, colour, width = STYLES[style]
    shade = colour if bright else faded(colour, 0.36)
    xs: list[Any] = []
    ys: list[Any] = []
    for group in groups:
        xs += [lane[group.name], lane[group.name], None]
        ys += [*spans[group.name], None]
    points = [
        (group, layer, layer in group.creators)
        for group in groups
        for layer in (*group.creators, *group.readers)
        if layer in rows
    ]
    shared = {"type": "scatter", "name": title, "legendgroup": style}
    line = {**shared, "x": xs, "y": ys, "mode": "lines", "line": {"color": shade, "width": width}}
    return [
        {**line, "hoverinfo": "skip", "showlegend": False},
        {
            **shared,
            "x": [lane[group.name] for group, _, _ in points],
            "y": [rows[layer] for _, layer, _ in points],
            "mode": "markers",
            "showlegend": legend,
            "marker": _dots([makes for _, _, makes in points], shade, bright=bright),
            "customdata": [[layer, group.name] for group, layer, _ in points],
            "hovertext": [
                f"<b>{escape(layer)}</b> {'makes' if makes else 'reads'} {size_words(group)}"
                f"<br>group {chart_text(group.name, 50)} · {len(group.layers)} layers shrink together"
                for group, layer, makes in points
            ],
            "hovertemplate": "%{hovertext}<extra></extra>",
        },
    ]


def _dots(makes: Sequence[bool], colour: str, *, bright: bool = True) -> dict[str, Any]:
    """Markers: filled where a layer makes the units, a light ring where it reads them."""
    return {
        "symbol": ["circle" if made or bright else "circle-open" for made in makes],
        "size": [11 if made else 8 for made in makes],
        "color": [_PAPER if bright and not made else colour for made in makes],
        "line": {"width": 2, "color": colour},
        "opacity": 1,
    }


def _sizes(groups: Sequence[SheetGroup]) -> str:
    """As short as a phone needs it; the colour says of what kind a group is."""
    unit = {"heads": "heads", "head_width": "wide", "neurons": "neurons"}
    sizes = Counter(f"{group.units:,} {unit.get(group.kind, 'channels')}" for group in groups)
    return ", ".join(size if number == 1 else f"{number}×{size}" for size, number in sizes.items())


def _size_trace(sheet: GroupSheet, rows: Mapping[str, int], width: int, lit: Sequence[str]) -> dict[str, Any]:
    """Beside the row in which a group begins: how large it is."""
    starts: dict[int, list[SheetGroup]] = {}
    for group in sheet.groups:
        makers = [rows[layer] for layer in group.creators if layer in rows]
        if makers:
            starts.setdefault(min(makers), []).append(group)
    return {
        "type": "scatter",
        "x": [width - 0.3] * len(starts),
        "y": list(starts),
        "mode": "text",
        "text": [_bold(_sizes(mine), any(group.name in lit for group in mine)) for mine in starts.values()],
        "textposition": "middle right",
        "textfont": {"size": 11},
        "cliponaxis": False,  # on a phone it reaches into the margin
        "hoverinfo": "skip",
        "showlegend": False,
    }


# -- the chain: one group, its layers, and where they are tied --------------------------------------------------------

_BEND = [math.sin(math.pi * step / 12) for step in range(1, 12)]
_TURN = [math.cos(math.pi * step / 12) for step in range(1, 12)]
_SIGNS = {
    "addition": "+",
    "multiplication": "×",
    "concatenation": "⧺",
    "depthwise": "≡",
    "attention": "attention",
    "product": "·",
    "joined": "∘",
    "tied": "=",
}


@functools.lru_cache(maxsize=64)
def chain_figure(sheet: GroupSheet, name: str) -> go.Figure:
    """One group: its layers from top to bottom, and arcs where an operation ties two of them.

    Do not change what it returns: it is kept.
    """
    group = sheet.group(name)
    members = {*group.creators, *group.readers}
    members |= {layer for coupling in group.couplings for layer in coupling.layers}
    order = [layer for layer in sheet.prunable if layer in members]
    order = [*(layer for layer in group.layers if layer in members and layer not in order), *order]
    rows = {layer: number for number, layer in enumerate(order)}
    title, colour, width = STYLES[style_of(group)]
    arcs = [
        (min(mine), max(mine), coupling)
        for coupling in group.couplings
        if len(mine := [rows[layer] for layer in coupling.layers if layer in rows]) > 1
    ]
    lane = lanes({str(number): (first, last - 1) for number, (first, last, _) in enumerate(arcs)})
    reach = [0.9 + 0.7 * lane[str(number)] for number in range(len(arcs))]
    makes = [layer in group.creators for layer in order]
    line = {"x": [0, 0], "y": [0, len(rows) - 1], "mode": "lines", "line": {"color": colour, "width": width}}
    dots = {
        "type": "scatter",
        "x": [0] * len(order),
        "y": list(range(len(order))),
        "mode": "markers",
        "marker": _dots(makes, colour),
        "hovertext": [
            f"<b>{escape(layer)}</b> {'makes' if made else 'reads'} {title}"
            for layer, made in zip(order, makes, strict=True)
        ],
        "hovertemplate": "%{hovertext}<extra></extra>",
    }
    return figure(
        height=max(120, _ROW_PX * len(rows) + 30),
        traces=[{"type": "scatter", **line, "hoverinfo": "skip"}, *_arc_traces(arcs, reach), dots],
        layout={
            "yaxis": _named_rows(order),
            "xaxis": {"range": [-0.5, max([4.0, *(1.6 + x for x in reach)])], "visible": False},
            "margin": {"t": 6, "b": 6},
        },
    )


def _arc_traces(arcs: Sequence[tuple[int, int, Coupling]], reach: Sequence[float]) -> list[dict[str, Any]]:
    """Half circles between the first and the last layer of each coupling, and its sign at the outermost point."""
    xs: list[Any] = []
    ys: list[Any] = []
    for (first, last, _), x in zip(arcs, reach, strict=True):
        xs += [0.12, *(0.12 + (x - 0.12) * bend for bend in _BEND), 0.12, None]
        ys += [first, *(first + (last - first) * (1 - turn) / 2 for turn in _TURN), last, None]
    line = {"x": xs, "y": ys, "mode": "lines", "line": {"color": WARNING, "width": 1.5}, "hoverinfo": "skip"}
    signs = {
        "x": list(reach),
        "y": [(first + last) / 2 for first, last, _ in arcs],
        "mode": "markers+text",
        "marker": {"size": 13, "color": WARNING, "opacity": 1},
        "text": [_SIGNS[coupling.reason] for _, _, coupling in arcs],
        "textfont": {"size": 11, "color": _INK, "weight": 700},
        "hovertext": [escape(coupling.text) for _, _, coupling in arcs],
        "hovertemplate": "%{hovertext}<extra></extra>",
    }
    return [{"type": "scatter", **line}, {"type": "scatter", **signs}] if arcs else []
