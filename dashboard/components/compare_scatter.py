"""Accuracy against cost: which cost, which points, and whether a Pareto line would be honest."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import streamlit as st

from core.wording import inside
from dashboard.components.charts import draw
from dashboard.components.compare_charts import ScatterPoint, scatter_figure
from dashboard.components.compare_data import COST_AXES, Row, overlapping
from dashboard.components.compare_limit import best_within, choose_limit, limit_words, mark_limit
from dashboard.components.compare_table import settings_of
from dashboard.components.format import count, escape, interval, milliseconds, percent, size

__all__ = ["choose_cost", "draw_scatter", "points_of"]

LATENCY = "latency: "


def choose_cost(rows: Sequence[Row]) -> str:
    """The menu of costs that at least two variants have. Latencies come first: they are what people ask for."""
    options = [f"{LATENCY}{name}" for name in settings_of(rows)]
    for name, axis in COST_AXES.items():
        if sum(getattr(row, axis.attribute) is not None for row in rows) > 1:
            options.append(name)
    if not options:
        options = ["nonzero"]

    def words(option: str) -> str:
        return option.removeprefix(LATENCY) if option.startswith(LATENCY) else COST_AXES[option].title

    chosen = st.pills(
        "Cost",
        options,
        default=options[0],
        required=True,
        format_func=words,
        # Once latencies are there, the plot turns to them: they are what people ask for.
        key=f"compare-cost-{options[0].startswith(LATENCY)}",
        label_visibility="collapsed",
    )
    return chosen if chosen in options else options[0]


def points_of(rows: Sequence[Row], cost: str, sentences: Mapping[str, str]) -> list[ScatterPoint]:
    """The variants that have both a score and this cost."""
    points = []
    for row in rows:
        if row.score is None:
            continue
        low: float | None = None
        high: float | None = None
        if cost.startswith(LATENCY):
            latency = row.latency_at(cost.removeprefix(LATENCY))
            value = None if latency is None else latency.median_ms
            if latency is not None:
                low, high = latency.low_ms, latency.high_ms
            shown = milliseconds(value)
        else:
            value = getattr(row, COST_AXES[cost].attribute)
            shown = size(value) if COST_AXES[cost].unit == "bytes" else count(value)
        if value is None:
            continue
        lines = [
            f"<b>{escape(row.variant.name)}</b>",
            f"{row.metric} {percent(row.score)} [{interval(row.low, row.high)}]",
            shown,
        ]
        if sentences.get(row.variant.id):
            lines.append(escape(sentences[row.variant.id]))
        points.append(
            ScatterPoint(
                variant_id=row.variant.id,
                name=row.variant.name,
                dense=row.dense,
                cost=float(value),
                cost_low=low,
                cost_high=high,
                score=row.score,
                low=row.low,
                high=row.high,
                hover="<br>".join(lines),
            )
        )
    return points


def draw_scatter(rows: Sequence[Row], cost: str, sentences: Mapping[str, str]) -> None:
    """The plot, and under it what it does not show."""
    exact = points_of(rows, cost, sentences)
    if not exact:
        st.caption("No variant has both a score and this cost yet.")
        return
    timed = cost.startswith(LATENCY)
    unit, scale = ("ms", 1.0) if timed else _unit(exact, COST_AXES[cost].unit)
    points = [_scaled(point, scale) for point in exact]
    title = f"latency, ms ({cost.removeprefix(LATENCY)})" if timed else f"{inside(COST_AXES[cost].title)}, {unit}"
    same_cost = timed and overlapping([(point.cost_low, point.cost_high) for point in points])
    metric = rows[0].metric
    figure = scatter_figure(points, metric=metric, cost_title=title, line=not same_cost)
    place = st.container()
    limit = choose_limit(points, unit=unit, key=f"compare-limit-{cost}") if len(points) > 1 else None
    best = best_within(points, limit) if limit is not None else None
    if limit is not None:
        mark_limit(figure, limit, best)
        words_of = milliseconds if timed else size if COST_AXES[cost].unit == "bytes" else count
        st.markdown(limit_words(points, limit, best, metric=metric, shown=lambda value: words_of(scale * value)))
    with place:
        draw(
            figure,
            key="compare-scatter",
            alt=f"{len(points)} variants: {metric} against {title}, with 95 % intervals",
        )
    words = ["Bars are 95 % intervals, measured."]
    if same_cost:
        words.append("No Pareto line: latency intervals overlap, so these variants are not ranked by speed.")
    if overlapping([(point.low, point.high) for point in points]):
        words.append(
            f"Intervals of {metric} overlap: read the paired differences in the table, not the height of the points."
        )
    st.caption(" ".join(words))


def _scaled(point: ScatterPoint, scale: float) -> ScatterPoint:
    low, high = (None if bound is None else bound / scale for bound in (point.cost_low, point.cost_high))
    return replace(point, cost=point.cost / scale, cost_low=low, cost_high=high)


def _unit(points: Sequence[ScatterPoint], unit: str) -> tuple[str, float]:
    """In what the axis counts, and how much that is."""
    millions = max(point.cost for point in points) >= 2e6
    if unit == "bytes":
        return ("MB", 1e6) if millions else ("kB", 1e3)
    return ("millions", 1e6) if millions else ("thousands", 1e3)
