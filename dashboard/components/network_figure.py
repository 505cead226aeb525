"""A laid out network as a plotly figure: boxes to click, lines, and text that never leaves its box.

The figure is as large as the drawing, pixel by pixel: where the page is narrower, its container scrolls.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from core.analysis.network_layout import HEADER_PX, Box, Drawing
from core.analysis.network_routes import Line, Point
from core.analysis.network_tree import Network, Part
from dashboard.components.charts import ACCENT, MUTED, WARNING, faded, figure
from dashboard.components.format import escape, macs, percent, shape, short, whole
from dashboard.components.network_paint import EDGE, INK, SIGNS, Look, Paint, painted, top_of, value_of
from dashboard.components.network_text import fitted, width_px
from dashboard.components.network_values import spec_of

__all__ = ["network_figure", "titles_of"]

_NAME_PX, _NOTE_PX = 12.0, 10.5
_INSET_PX = 8.0
_ROUND_PX = 6.0
_LINE = "rgba(128,128,120,0.95)"


def titles_of(part: Part) -> tuple[str, ...]:
    """Names of a part inside the part around it, the best first: one that begins with a number says of what it is."""
    steps = part.label.count(".") + 2
    return (*((".".join(part.name.split(".")[-steps:]),) if part.label[:1].isdigit() else ()), part.label)


def network_figure(network: Network, drawing: Drawing, look: Look) -> go.Figure:
    """The figure. A click gives ``customdata`` = (``layer`` | ``group`` | ``open``, name)."""
    closed = [box for box in drawing.boxes if not box.opened]
    opened = [box for box in drawing.boxes if box.opened]
    values = {box.part.key: value_of(box.part, look) for box in closed}
    top = top_of(drawing, look)
    paints = [painted(box, values[box.part.key], top, look) for box in closed]
    traces = [
        _frames(opened, look),
        _titles(network, opened, look),
        _boxes(network, paints, values, look),
        *_lines(drawing.lines),
        _marks([line.points[-1] for line in drawing.lines if line.arrow], "triangle-down", 7, lift=3.5),
        _marks(drawing.joints, "circle", 6),
        *_texts(network, paints, opened, values, look),
    ]
    axis = {"visible": False, "fixedrange": True, "automargin": False}
    return figure(
        height=round(drawing.height),
        traces=[trace for trace in traces if trace["x"]],
        layout={
            "width": round(drawing.width),
            "margin": {"l": 0, "r": 0, "t": 0, "b": 0, "pad": 0},
            "xaxis": {**axis, "range": [0, drawing.width]},
            "yaxis": {**axis, "range": [drawing.height, 0], "showgrid": False},
            "barmode": "overlay",
            "bargap": 0,
            "uirevision": "network",
            "hoverlabel": {"align": "left"},
        },
    )


def _bars(boxes: Sequence[tuple[float, float, float, float]], **more: Any) -> dict[str, Any]:
    """Rectangles (left, top, width, height) as horizontal bars, which plotly hovers and clicks as areas."""
    return {
        "type": "bar",
        "orientation": "h",
        "base": [left for left, _, _, _ in boxes],
        "x": [width for _, _, width, _ in boxes],
        "y": [top + height / 2 for _, top, _, height in boxes],
        "width": [height for _, _, _, height in boxes],
        "showlegend": False,
        "selected": {"marker": {"opacity": 1}},
        **more,
    }


def _frames(opened: Sequence[Box], look: Look) -> dict[str, Any]:
    chosen = [box.part.key == look.chosen for box in opened]
    line = {"color": [ACCENT if one else EDGE for one in chosen], "width": [3 if one else 1 for one in chosen]}
    return _bars(
        [(box.x, box.y, box.width, box.height) for box in opened],
        marker={"color": faded(MUTED, 0.08), "line": line},
        hoverinfo="skip",
    )


def _titles(network: Network, opened: Sequence[Box], look: Look) -> dict[str, Any]:
    return _bars(
        [(box.x, box.y, box.width, HEADER_PX) for box in opened],
        marker={"color": faded(MUTED, 0.16), "line": {"width": 0}},
        customdata=[["open", box.part.name] for box in opened],
        hovertext=[f"{_hover(network, box.part, look)}<br><i>click to close</i>" for box in opened],
        hovertemplate="%{hovertext}<extra></extra>",
    )


def _boxes(
    network: Network, paints: Sequence[Paint], values: Mapping[tuple[str, str], float | str | None], look: Look
) -> dict[str, Any]:
    texts = []
    for paint in paints:
        part, value = paint.box.part, values[paint.box.part.key]
        lines = [_hover(network, part, look)]
        if look.colouring is not None:
            number = look.colouring.words(value if isinstance(value, float) else None)
            lines.append(f"{escape(look.colouring.title)}: {number}")
        if paint.role:
            lines.append(f"{paint.role} the chosen units")
        coupled = "" if part.parts else look.coupled.get(part.layers[0], "")
        lines += [escape(coupled)] if coupled else []
        lines += ["<i>click to open</i>"] if part.parts else []
        texts.append("<br>".join(lines))
    return _bars(
        [(paint.box.x, paint.box.y, paint.box.width, paint.box.height) for paint in paints],
        marker={
            "color": [paint.fill for paint in paints],
            "line": {"color": [paint.edge for paint in paints], "width": [paint.edge_px for paint in paints]},
        },
        customdata=[list(paint.box.part.key) for paint in paints],
        hovertext=texts,
        hovertemplate="%{hovertext}<extra></extra>",
    )


def _hover(network: Network, part: Part, look: Look) -> str:
    """Name, what it is, and its share of the work and of the parameters."""
    lines = [f"<b>{escape(short(part.name, 60))}</b>"]
    if part.parts:
        lines.append(f"{len(part.layers)} layers")
    else:
        row = look.rows[part.layers[0]]
        words = [escape(row.get("kind") or ""), spec_of(row), f"output {shape(row.get('output_shape'))}"]
        lines.append(" · ".join(word for word in words if word))
        if part.layers[1:]:
            lines.append(f"with {escape(short(', '.join(part.layers[1:]), 60))}")
    own, weights = network.cost(part, "macs"), network.cost(part, "parameters")
    lines.append(f"{macs(own)} ({_share(network, part, 'macs')}) · {whole(weights)} parameters")
    return "<br>".join(lines)


def _share(network: Network, part: Part, size: str) -> str:
    total = network.cost(network.root, size)
    return percent(network.cost(part, size) / total if total else 0.0)


def _lines(lines: Sequence[Line]) -> list[dict[str, Any]]:
    traces = []
    for back in (False, True):
        xs: list[float | None] = []
        ys: list[float | None] = []
        for line in lines:
            if line.back == back:
                for x, y in _rounded(line.points):
                    xs.append(x)
                    ys.append(y)
                xs.append(None)
                ys.append(None)
        style = {
            "color": WARNING if back else _LINE,
            "width": 1.4,
            "dash": "dot" if back else "solid",
            "simplify": False,
        }
        traces.append({"type": "scatter", "mode": "lines", "x": xs, "y": ys, "line": style, "hoverinfo": "skip"})
    return [{**trace, "showlegend": False} for trace in traces]


def _rounded(points: Sequence[Point]) -> list[Point]:
    """The same polyline with round corners."""
    result = [points[0]]
    for (ax, ay), (bx, by), (cx, cy) in zip(points, points[1:], points[2:], strict=False):
        before, after = abs(ax - bx) + abs(ay - by), abs(cx - bx) + abs(cy - by)
        radius = min(_ROUND_PX, before / 2, after / 2)
        sx, sy = bx + (ax - bx) * radius / before, by + (ay - by) * radius / before
        ex, ey = bx + (cx - bx) * radius / after, by + (cy - by) * radius / after
        for t in (0.0, 0.33, 0.67, 1.0):
            one, two, three = (1 - t) ** 2, 2 * t * (1 - t), t**2
            result.append((round(one * sx + two * bx + three * ex, 1), round(one * sy + two * by + three * ey, 1)))
    return [*result, points[-1]]


def _marks(points: Sequence[Point], symbol: str, size: int, lift: float = 0.0) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [x for x, _ in points],
        "y": [y - lift for _, y in points],
        "marker": {"symbol": symbol, "size": size, "color": _LINE.replace("0.95", "1")},
        "hoverinfo": "skip",
        "showlegend": False,
    }


def _texts(
    network: Network,
    paints: Sequence[Paint],
    opened: Sequence[Box],
    values: Mapping[tuple[str, str], float | str | None],
    look: Look,
) -> list[dict[str, Any]]:
    """Names on the left, what is to be known on the right or below; only what fits."""
    names: list[tuple[float, float, str, str]] = []
    notes: list[tuple[float, float, str, str]] = []
    rights: list[tuple[float, float, str, str]] = []
    for box in opened:
        ink, middle = INK[look.dark], box.y + HEADER_PX / 2
        note = f"{len(box.part.layers)} layers · {_share(network, box.part, look.size)}"
        _line_of(box, [f"▾ {title}" for title in titles_of(box.part)], note, middle, ink, names, rights)
    for paint in paints:
        box, part = paint.box, paint.box.part
        value = values[part.key]
        known = look.colouring.words(value) if look.colouring and isinstance(value, float) else ""
        sign = SIGNS[paint.role] if paint.role else "▸" if part.parts else ""
        named = [f"{sign} {title}".strip() for title in titles_of(part)]
        if part.parts:
            _line_of(box, named, known, box.y + box.height / 2 - 7, paint.ink, names, rights)
            note = f"{len(part.layers)} layers · {_share(network, part, look.size)} of {_SIZES[look.size]}"
            text = fitted(note, box.width - 2 * _INSET_PX, _NOTE_PX)
            notes.append((box.x + _INSET_PX, box.y + box.height / 2 + 8, escape(text), paint.ink))
        else:
            right = known or spec_of(look.rows[part.layers[0]])
            _line_of(box, named, right, box.y + box.height / 2, paint.ink, names, rights)
    return [
        _text(names, "middle right", _NAME_PX),
        _text(notes, "middle right", _NOTE_PX),
        _text(rights, "middle left", _NOTE_PX),
    ]


_SIZES = {"macs": "MACs", "parameters": "parameters"}


def _line_of(
    box: Box,
    named: Sequence[str],
    right: str,
    y: float,
    ink: str,
    names: list[tuple[float, float, str, str]],
    rights: list[tuple[float, float, str, str]],
) -> None:
    """One line in a box: the first of its names that fits, and what is on its right where there is room for both."""
    room = box.width - 2 * _INSET_PX
    beside = width_px(right, _NOTE_PX) + _INSET_PX
    shown = bool(right) and beside + min(width_px(named[-1], _NAME_PX), room / 2) <= room
    left = room - (beside if shown else 0.0)
    name = next((name for name in named if width_px(name, _NAME_PX) <= left), named[-1])
    names.append((box.x + _INSET_PX, y, escape(fitted(name, left, _NAME_PX)), ink))
    if shown:
        rights.append((box.x + box.width - _INSET_PX, y, escape(right), ink))


def _text(items: Sequence[tuple[float, float, str, str]], position: str, size: float) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "text",
        "x": [x for x, _, _, _ in items],
        "y": [y for _, y, _, _ in items],
        "text": [text for _, _, text, _ in items],
        "textposition": position,
        "textfont": {"size": size, "color": [ink for _, _, _, ink in items]},
        "hoverinfo": "skip",
        "showlegend": False,
        "cliponaxis": False,
    }
