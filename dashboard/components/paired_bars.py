"""Two bars per layer, one below the other: what two shares of the same layers are."""

from collections.abc import Sequence

import plotly.graph_objects as go

from dashboard.components.charts import figure
from dashboard.components.format import chart_text

__all__ = ["paired_bars"]

_ROW_PX = 26


def paired_bars(
    names: Sequence[str],
    pairs: Sequence[tuple[str, Sequence[float], str]],
    *,
    x_title: str,
    hover_names: Sequence[str],
    hover_unit: str = "%",
) -> go.Figure:
    """The figure, layers from above in the order of ``names``.

    Args:
        names: layers, shortened beside their bars.
        pairs: label, shares (fractions, one per layer) and colour of each kind of bar.
        x_title: what the shares are of.
        hover_names: the names as the hover shows them, safe to show.
        hover_unit: what follows a number there.
    """
    rows = list(range(len(names)))
    traces = [
        {
            "type": "bar",
            "orientation": "h",
            "name": label,
            "x": [100.0 * share for share in shares],
            "y": rows,
            "customdata": list(hover_names),
            "hovertemplate": f"<b>%{{customdata}}</b><br>{label}: %{{x:.1f}} {hover_unit}<extra></extra>",
            "marker": {"color": colour, "line": {"width": 0}},
        }
        for label, shares, colour in pairs
    ]
    return figure(
        height=max(170, _ROW_PX * len(names) + 92),
        x_title=x_title,
        traces=traces,
        layout={
            "yaxis": {
                "tickmode": "array",
                "tickvals": rows,
                "ticktext": [chart_text(name, 34) for name in names],
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
