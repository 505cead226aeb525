"""Two bars per layer, one below the other: two shares, or two times, of the same layers."""

from collections.abc import Sequence

import plotly.graph_objects as go

from dashboard.components.charts import figure
from dashboard.components.format import layer_texts

__all__ = ["paired_bars"]

_ROW_PX = 26


def paired_bars(
    names: Sequence[str],
    pairs: Sequence[tuple[str, Sequence[float], str]],
    *,
    x_title: str,
    hover_names: Sequence[str],
    hover_unit: str = "%",
    factor: float = 100.0,
    hover_format: str = ".1f",
) -> go.Figure:
    """The figure, layers from above in the order of ``names``.

    Args:
        names: layers, shortened beside their bars.
        pairs: label, values (fractions, one per layer) and colour of each kind of bar.
        x_title: what the bars are.
        hover_names: the names as the hover shows them, safe to show.
        hover_unit: what follows a number there.
        factor: what the values are multiplied by, to be shown in ``hover_unit``.
        hover_format: of a number in the hover.
    """
    rows = list(range(len(names)))
    traces = [
        {
            "type": "bar",
            "orientation": "h",
            "name": label,
            "x": [factor * value for value in values],
            "y": rows,
            "customdata": list(hover_names),
            "hovertemplate": f"<b>%{{customdata}}</b><br>{label}: %{{x:{hover_format}}} {hover_unit}<extra></extra>",
            "marker": {"color": colour, "line": {"width": 0}},
        }
        for label, values, colour in pairs
    ]
    return figure(
        height=max(170, _ROW_PX * len(names) + 92),
        x_title=x_title,
        traces=traces,
        layout={
            "yaxis": {
                "tickmode": "array",
                "tickvals": rows,
                "ticktext": layer_texts(names),
                "range": [len(names) - 0.5, -0.5],
                "showgrid": False,
            },
            "xaxis": {"side": "top", "rangemode": "tozero", "showgrid": True},
            "barmode": "group",
            "bargap": 0.28,
            "showlegend": True,
            "margin": {"t": 76},
            "legend": {"y": 0.995, "yanchor": "top", "yref": "container", "traceorder": "normal"},
        },
    )
