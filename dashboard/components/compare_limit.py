"""A limit on the cost: which variant is the best that keeps it."""

from collections.abc import Callable, Sequence

import plotly.graph_objects as go
import streamlit as st

from dashboard.components.charts import WARNING
from dashboard.components.compare_charts import ScatterPoint
from dashboard.components.format import escape, percent

__all__ = ["best_within", "choose_limit", "limit_words", "mark_limit"]


def choose_limit(points: Sequence[ScatterPoint], *, unit: str, key: str) -> float | None:
    """A field for the most that a variant may cost, in ``unit``, that of the points; None while empty."""
    value = st.number_input(
        f"At most, {unit}",
        min_value=0.0,
        value=None,
        step=max(point.cost for point in points) / 20 or 1.0,
        format="%.4g",
        placeholder="no limit",
        key=key,
        width=260,
        help="Marks the variant with the best score that keeps this limit.",
    )
    return float(value) if value is not None else None


def best_within(points: Sequence[ScatterPoint], limit: float) -> ScatterPoint | None:
    """The highest score among the points that cost at most ``limit``; of equal ones the cheapest."""
    inside = [point for point in points if point.cost <= limit]
    return max(inside, key=lambda point: (point.score, -point.cost), default=None)


def mark_limit(figure: go.Figure, limit: float, best: ScatterPoint | None) -> None:
    """Draw the limit as a line, and a ring around the best point that keeps it."""
    figure.add_vline(x=limit, line={"color": WARNING, "width": 1.5, "dash": "dash"})
    if best is not None:
        figure.add_trace(
            go.Scatter(
                x=[best.cost],
                y=[100 * best.score],
                mode="markers",
                marker={"size": 24, "symbol": "circle-open", "color": WARNING, "line": {"width": 2.5}},
                hoverinfo="skip",
                name="best within the limit",
            )
        )


def limit_words(
    points: Sequence[ScatterPoint], limit: float, best: ScatterPoint | None, *, metric: str, shown: Callable[..., str]
) -> str:
    """What the limit leaves. ``shown`` writes a cost with its unit."""
    if best is None:
        cheapest = min(points, key=lambda point: point.cost)
        return (
            f"No variant costs at most {shown(limit)}: the cheapest, **{escape(cheapest.name, markdown=True)}**, "
            f"costs {shown(cheapest.cost)}."
        )
    words = (
        f"Best within {shown(limit)}: **{escape(best.name, markdown=True)}**, {percent(best.score)} {metric} for "
        f"{shown(best.cost)}."
    )
    if best.cost_high is not None and best.cost_high > limit:
        words += f" Its interval reaches to {shown(best.cost_high)}, beyond the limit."
    alike = sum(point.cost <= limit and _alike(point, best) for point in points if point is not best)
    if alike:
        words += f" {alike} other{'s' if alike > 1 else ''} within the limit may be as good: the intervals overlap."
    return words


def _alike(point: ScatterPoint, best: ScatterPoint) -> bool:
    """Whether the interval of a point reaches up to that of the best."""
    return point.high is not None and best.low is not None and point.high >= best.low
