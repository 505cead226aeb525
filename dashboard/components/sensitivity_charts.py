"""The pictures of the Sensitivity page: heat-map of layers or groups × sparsity, and the curves of chosen ones."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from dashboard.components.charts import DASHES, PALETTE, SYMBOLS, faded, figure, per_cent
from dashboard.components.format import chart_text, escape, layer_texts
from dashboard.components.sensitivity_data import Quantity, cells_by_name, curve, damage_matrix, levels_of

__all__ = ["curves_figure", "heatmap_figure"]

# From "nothing happens" to "this hurts": one hue, lightness strictly monotone, so that it also reads in grey.
_LIGHT_SCALE = ["#eef3f0", "#f5dfae", "#f0b25f", "#d9743a", "#a93a35", "#611a3c"]
_DARK_SCALE = ["#22302b", "#5b4326", "#93572c", "#cc7440", "#ee9f63", "#ffe3b0"]
_ROW_PX = 20
_UPRIGHT = {"type": "line", "xref": "x", "yref": "y domain", "y0": 0, "y1": 1}
_LEVEL = {"type": "line", "xref": "x domain", "yref": "y", "x0": 0, "x1": 1}


def heatmap_figure(
    result: Mapping[str, Any],
    layers: Sequence[str],
    quantity: Quantity,
    *,
    metric: str,
    overrides: Mapping[str, float],
    dark: bool,
) -> go.Figure:
    """Layers or groups (first on top) × sparsity. Every cell carries ``customdata = [name, sparsity]`` for clicks; a
    small ring marks those that still see more images.
    """
    levels = levels_of(result)
    z = damage_matrix(result, layers, quantity, levels=levels)
    known = z[~np.isnan(z)]
    top = 1.0 if result.get("estimated") else _nice_top(known, quantity)
    columns = [f"{100 * level:g} %" for level in levels]
    rows = layer_texts(layers, 26)
    unit = (
        "energy removed"
        if result.get("estimated")
        else f"{metric} lost, points"
        if quantity == "score"
        else "loss gained"
    )
    scale = _DARK_SCALE if dark else _LIGHT_SCALE
    cells = {
        "type": "heatmap",
        "z": z,
        "x": columns,
        "y": list(range(len(layers))),
        "zmin": 0.0,
        "zmax": top,
        "colorscale": [[i / (len(scale) - 1), colour] for i, colour in enumerate(scale)],
        "xgap": 2,
        "ygap": 2,
        "customdata": [[[layer, level] for level in levels] for layer in layers],
        "text": [[_hover(result, layer, level, metric) for level in levels] for layer in layers],
        "hovertemplate": "%{text}<extra></extra>",
        "colorbar": {
            "title": {"text": unit, "side": "right"},
            "thickness": 12,
            "outlinewidth": 0,
            "tickformat": per_cent() if result.get("estimated") else "",
            "len": min(1.0, 320 / max(180, _ROW_PX * len(layers))),
            "y": 1.0,
            "yanchor": "top",
        },
    }
    ink = "#f4f1ea" if dark else "#15211c"
    pinned = [
        (int(np.argmin([abs(level - overrides[name]) for level in levels])), row)
        for row, name in enumerate(layers)
        if name in overrides and levels
    ]
    pin = {"symbol": "square-open", "size": _ROW_PX - 5, "color": ink, "line": {"width": 2, "color": ink}}
    waiting = [
        (levels.index(round(float(cell["sparsity"]), 6)), row)
        for row, name in enumerate(layers)
        for cell in cells_by_name(result).get(name, ())
        if not cell.get("settled", True)
    ]
    ring = {"symbol": "circle-open", "size": 5, "color": "#8a938e", "line": {"width": 1}}
    return figure(
        height=max(180, _ROW_PX * len(layers) + 96),
        x_title=_alone(result),
        traces=[
            cells,
            *([_marks(columns, pinned, pin)] if pinned else ()),
            *([_marks(columns, waiting, ring)] if waiting else ()),
        ],
        layout={
            "xaxis": {"side": "top", "type": "category", "range": [-0.5, len(levels) - 0.5]},
            "yaxis": {
                "tickmode": "array",
                "tickvals": list(range(len(layers))),
                "ticktext": rows,
                "range": [len(layers) - 0.5, -0.5],
                "showgrid": False,
            },
            "margin": {"r": 8, "t": 56},
        },
    )


def _marks(columns: Sequence[str], places: Sequence[tuple[int, int]], marker: Mapping[str, Any]) -> dict[str, Any]:
    """A marker on each (column, row)."""
    return {
        "type": "scatter",
        "x": [columns[column] for column, _ in places],
        "y": [row for _, row in places],
        "mode": "markers",
        "marker": dict(marker),
        "hoverinfo": "skip",
        "showlegend": False,
    }


def curves_figure(
    result: Mapping[str, Any], layers: Sequence[str], quantity: Quantity, *, metric: str, overrides: Mapping[str, float]
) -> go.Figure:
    """Curves with interval bands of the chosen layers; the dense model is the dotted line."""
    scored, estimated = quantity == "score", bool(result.get("estimated"))
    factor, unit = (100.0, " %") if scored or estimated else (1.0, "")
    traces: list[dict[str, Any]] = []
    lines: list[dict[str, Any]] = []
    for index, (layer, text) in enumerate(zip(layers, layer_texts(layers), strict=True)):
        line = curve(result, layer, quantity)
        if line is None:
            continue
        colour = PALETTE[index % len(PALETTE)]
        x = [100.0 * value for value in line.sparsity]
        band = {
            "type": "scatter",
            "x": [*x, *reversed(x)],
            "y": [factor * v for v in line.high] + [factor * v for v in reversed(line.low)],
            "mode": "lines",
            "fill": "toself",
            "fillcolor": faded(colour, 0.16),
            "line": {"width": 0},
            "hoverinfo": "skip",
            "showlegend": False,
            "legendgroup": layer,
        }
        middle = {
            "type": "scatter",
            "x": x,
            "y": [factor * v for v in line.y],
            "mode": "lines+markers",
            "name": text,
            "legendgroup": layer,
            "line": {"width": 2, "color": colour, "dash": DASHES[index % len(DASHES)]},
            "marker": {"size": 7, "color": colour, "symbol": SYMBOLS[index % len(SYMBOLS)]},
            "customdata": [[factor * low, factor * high] for low, high in zip(line.low, line.high, strict=True)],
            "hovertemplate": (
                f"{escape(layer)}<br>%{{x:.0f}} % removed<br>%{{y:.2f}}{unit} "
                "[%{customdata[0]:.2f}, %{customdata[1]:.2f}]<extra></extra>"
            ),
        }
        traces += [band, middle]
        if layer in overrides:
            at, look = 100.0 * overrides[layer], {"color": colour, "width": 1, "dash": "dash"}
            lines.append({**_UPRIGHT, "x0": at, "x1": at, "line": look})
    dense = (result.get("dense") or {}).get("score") if scored else 0.0
    if dense is not None:
        at, look = factor * dense, {"width": 1, "dash": "dot", "color": "#8a938e"}
        lines.append({**_LEVEL, "y0": at, "y1": at, "line": look})
    gained = "energy removed, %" if estimated else "loss gained"
    return figure(
        height=340,
        x_title=f"{_alone(result)}, %",
        y_title=f"{metric}, %" if scored else gained,
        legend=True,
        traces=traces,
        layout={"xaxis": {"range": [-2, 100], "dtick": 20}, "shapes": lines},
    )


def _alone(result: Mapping[str, Any]) -> str:
    """What the sparsity axis counts."""
    return "units of this group alone that go" if result.get("kind") == "groups" else "sparsity of this layer alone"


def _nice_top(known: np.ndarray, quantity: Quantity) -> float:
    """Upper end of the colour scale: the 98th percentile, but never so small that noise looks like damage."""
    least = 2.0 if quantity == "score" else 0.05
    return least if known.size == 0 else float(max(least, np.quantile(known, 0.98)))


def _known(cell: Mapping[str, Any], result: Mapping[str, Any]) -> str:
    """On how many images a cell was measured, and whether that is all that it will see."""
    n, total = cell.get("n", result.get("n")), result.get("n")
    if not cell.get("settled", True):
        return f"a first number: {n} of {total} images"
    return f"measured on {n} images" if n == total or not total else f"measured on {n} of {total} images: enough"


def _hover(result: Mapping[str, Any], layer: str, level: float, metric: str) -> str:
    head = f"<b>{chart_text(layer, 60)}</b> · {100 * level:g} % removed"
    cells = cells_by_name(result).get(layer, ())
    cell = next((cell for cell in cells if abs(cell["sparsity"] - level) < 1e-6), None)
    if cell is None:
        return f"{head}<br>not measured yet"
    lines = [head]
    if cell.get("score") is not None:
        interval = ""
        if cell.get("low") is not None and cell.get("high") is not None:
            interval = f" [{100 * cell['low']:.1f}, {100 * cell['high']:.1f}]"
        lines.append(f"{metric} {100 * cell['score']:.1f} %{interval}")
    if result.get("estimated"):
        what = "group's scores Σs²" if result.get("kind") == "groups" else "layer's energy Σw²"
        lines.append(f"{100 * cell['dloss']:.1f} % of the {what} removed")
    elif cell.get("dloss") is not None:
        error = f" ± {1.96 * cell['dloss_se']:.3f}" if cell.get("dloss_se") is not None else ""
        lines.append(f"loss {cell['dloss']:+.3f}{error}".replace("-", "−"))
    lines.append("estimated from the weights only" if result.get("estimated") else _known(cell, result))
    lines.append("click to pin it into the plan")
    return "<br>".join(lines)
