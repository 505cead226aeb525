"""Pictures of a search: every measured plan a point, the front a line. Knows nothing of Streamlit."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from core.planning.points import cost_of
from dashboard.components.charts import MUTED, PALETTE, SYMBOLS, WARNING, figure
from dashboard.components.format import NOTHING, chart_text, count, interval, macs, milliseconds, percent, points, size

__all__ = ["points_figure", "points_table"]

_AXES = {
    "bytes": ("file, kB", 1e-3, size),
    "parameters": ("parameters that are not zero, thousands", 1e-3, count),
    "macs": ("MMACs of one image", 1e-6, macs),
    "ms": ("ms of one image", 1.0, milliseconds),
}


def points_figure(result: Mapping[str, Any], *, metric: str) -> go.Figure:
    """Score over cost: a trace per family, the front, the dense model and what was asked for."""
    cost = result["target"]["cost"]
    title, factor, _ = _AXES[cost]
    plans = result["plans"]
    families = list(dict.fromkeys(body["family"] for body in plans))
    traces: list[dict[str, Any]] = []
    front = [plans[number] for number in result["front"]]
    if len(front) > 1:
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "x": [factor * cost_of(_costs(body), cost) for body in front],
                "y": [body["measured"]["score"] for body in front],
                "line": {"color": MUTED, "width": 1.5, "shape": "hv"},
                "name": "beaten by none",
                "hoverinfo": "skip",
            }
        )
    for number, family in enumerate(families):
        own = [(index, body) for index, body in enumerate(plans) if body["family"] == family]
        traces.append(_points(own, result, number, factor))
    dense = result["dense"]
    before = None if cost == "ms" and dense.get("latency_ms") is None else cost_of(dense, cost)
    if before:
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "x": [factor * before],
                "y": [dense["score"]],
                "marker": {"symbol": "star", "size": 13, "color": MUTED},
                "name": "dense",
                "hovertemplate": f"dense: {percent(dense['score'])}<extra></extra>",
            }
        )
    return figure(
        x_title=title,
        y_title=f"{metric}, selection split",
        height=340,
        legend=True,
        y_percent=True,
        traces=traces,
        layout={"shapes": _asked(result, factor)},
    )


def points_table(result: Mapping[str, Any]) -> pd.DataFrame:
    """One line per measured plan, in the order in which they were measured."""
    target = result["target"]
    words = _AXES[target["cost"]][2]
    rows = []
    for number, body in enumerate(result["plans"]):
        measured, said = body["measured"], body["estimated"]
        best = number == result["best"]
        rows.append(
            {
                "plan": number + 1,
                "family": chart_text(body["family"], 24),
                "amount": NOTHING if body["t"] is None else percent(body["t"]),
                "score": percent(measured["score"]),
                "difference": points(measured["difference"]),
                "95 % interval": interval(measured["comparison"]["low"], measured["comparison"]["high"]),
                "expected": NOTHING
                if said is None
                else f"{percent(said['score'])} ({interval(said['low'], said['high'])})",
                "cost": words(cost_of(_costs(body), target["cost"])),
                "": "best" if best else "keeps" if body["kept"] and target["goal"] != "front" else "",
            }
        )
    return pd.DataFrame(rows)


def _points(own: list[tuple[int, Mapping[str, Any]]], result: Mapping[str, Any], number: int, factor: float) -> Any:
    cost = result["target"]["cost"]
    words = _AXES[cost][2]
    best = result["best"]
    colour = PALETTE[number % len(PALETTE)]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": chart_text(own[0][1]["family"], 24),
        "x": [factor * cost_of(_costs(body), cost) for _, body in own],
        "y": [body["measured"]["score"] for _, body in own],
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": [body["measured"]["high"] - body["measured"]["score"] for _, body in own],
            "arrayminus": [body["measured"]["score"] - body["measured"]["low"] for _, body in own],
            "thickness": 1,
            "width": 0,
            "color": colour,
        },
        "marker": {
            "symbol": [SYMBOLS[number % len(SYMBOLS)] + ("" if body["kept"] else "-open") for _, body in own],
            "size": [14 if index == best else 9 for index, _ in own],
            "color": colour,
            "line": {"width": [2.5 if index == best else 1.5 for index, _ in own], "color": colour},
        },
        "customdata": [[index + 1] for index, _ in own],
        "text": [
            f"{percent(body['measured']['score'])}, {words(cost_of(_costs(body), cost))}"
            + (", best" if index == best else ", keeps what was asked" if body["kept"] else "")
            for index, body in own
        ],
        "hovertemplate": "plan %{customdata[0]}: %{text}<extra></extra>",
    }


def _asked(result: Mapping[str, Any], factor: float) -> list[dict[str, Any]]:
    """Lines at the score to keep and at the limit of the cost."""
    target = result["target"]
    limit = target["within_ms"] if target["cost"] == "ms" else target["within_bytes"]
    line = {"color": WARNING, "width": 1.5, "dash": "dash"}
    shapes = []
    if target["score"] is not None:
        shapes.append({"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": target["score"], "y1": target["score"]})
    if limit is not None:
        x = factor * limit
        shapes.append({"type": "line", "yref": "paper", "y0": 0, "y1": 1, "x0": x, "x1": x})
    return [{**shape, "line": line} for shape in shapes]


def _costs(body: Mapping[str, Any]) -> Mapping[str, Any]:
    return {**body["measured"], **body}
