"""The weights of one layer: their histogram, and a cut line that a person moves by sparsity or by threshold."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
import streamlit as st
from numpy.typing import NDArray

from core.analysis.weights import LayerWeights

from .badges import number_html, numbers
from .charts import ACCENT, WARNING, draw, figure
from .format import percent, shape, short, signed, whole

__all__ = ["Cut", "cut_controls", "cut_figure", "draw_cut"]

HIGHEST_PERCENT = 99.9
_FEWEST = 11
_LINE = "#8a938e"  # seen on bars and on paper of both schemes


@dataclass(frozen=True)
class Cut:
    """Where the line is: every weight with |w| ≤ ``threshold`` falls; ``sparsity`` is the share of those weights."""

    threshold: float
    sparsity: float


def _largest(layer: LayerWeights) -> float:
    """The largest |w|: the upper end of the threshold."""
    return float(layer.quantiles[-1]) if len(layer.quantiles) else 0.0


def cut_controls(layer: LayerWeights, *, key: str, start: float = 0.5) -> Cut:
    """A slider for the sparsity and a field for the threshold. Moving one moves the other.

    ``start`` is the sparsity at which the line stands when the layer is first looked at.
    """
    slider, field = f"{key}-sparsity", f"{key}-threshold"
    state: Any = st.session_state
    if slider not in state:
        state[slider] = min(round(100 * start, 1), HIGHEST_PERCENT)
        state[field] = float(layer.threshold_for(state[slider] / 100))

    def by_sparsity() -> None:
        state[field] = float(layer.threshold_for(state[slider] / 100))

    def by_threshold() -> None:
        share = float(layer.fraction_below(state[field])) if state[field] is not None else 0.0
        state[slider] = min(round(100 * share, 1), HIGHEST_PERCENT)

    left, right = st.columns([3, 2], vertical_alignment="bottom")
    left.slider(
        "Sparsity of this layer", 0.0, HIGHEST_PERCENT, step=0.1, format="%.1f %%", key=slider, on_change=by_sparsity
    )
    largest = _largest(layer)
    right.number_input(
        "Threshold on |w|",
        min_value=0.0,
        max_value=max(largest, 1e-12),
        step=max(largest / 200, 1e-12),
        format="%.5f" if largest >= 1e-3 else "%.3e",
        key=field,
        on_change=by_threshold,
    )
    threshold = float(state[field] or 0.0)
    sparsity = state[slider] / 100
    return Cut(threshold=threshold, sparsity=sparsity)


def _bins(layer: LayerWeights, threshold: float) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Middles of the bins, and how many weights of each stay and fall: about √n bins, each of as many of the stored
    ones, which are symmetric around 0 and stay so."""
    counts, edges = np.asarray(layer.counts), np.asarray(layer.edges, dtype=float)
    falls = np.abs((edges[:-1] + edges[1:]) / 2) <= threshold
    taken = math.ceil(len(counts) / max(_FEWEST, math.sqrt(layer.size))) // 2 * 2 + 1
    rest = -(len(counts) // -taken) // 2 * 2 + 1
    beside = (rest * taken - len(counts)) // 2

    def together(values: NDArray[Any]) -> NDArray[Any]:
        return np.pad(values, beside).reshape(rest, taken).sum(1)

    width = (edges[1] - edges[0]) * taken
    middles = (np.arange(rest) - rest // 2) * width
    return middles, together(np.where(falls, 0, counts)), together(np.where(falls, counts, 0))


def cut_figure(layer: LayerWeights, cut: Cut) -> go.Figure:
    """The histogram with the line at ±threshold; what falls is drawn in the warning colour."""
    middles, stay, fall = _bins(layer, cut.threshold)
    width = float(middles[1] - middles[0])
    shown = figure(x_title="weight", y_title="weights", height=270)
    for falling, colour, name in ((True, WARNING, "fall"), (False, ACCENT, "stay")):
        counts = fall if falling else stay
        chosen = counts > 0
        shown.add_bar(
            x=middles[chosen],
            y=counts[chosen],
            width=width,
            name=name,
            marker={"color": colour, "line": {"width": 0}, "opacity": 0.55 if falling else 1.0},
            hovertemplate="%{y:,} weights at %{x:.4f}<extra>" + name + "</extra>",
        )
    for side in (-1, 1) if cut.threshold > 0 else ():
        shown.add_vline(x=side * cut.threshold, line={"color": _LINE, "width": 1.5, "dash": "dash"})
    shown.update_layout(barmode="stack", bargap=0, showlegend=True)
    return shown


def draw_cut(layer: LayerWeights, cut: Cut, *, key: str) -> None:
    """The picture and the numbers under the line."""
    fallen = round(layer.size * layer.fraction_below(cut.threshold))
    channels, dead = layer.shape[0] if layer.shape else 0, layer.channels_below(cut.threshold)
    alt = (
        f"Histogram of the {whole(layer.size)} weights of {short(layer.name)}. At |w| ≤ {cut.threshold:.4g}, "
        f"{percent(fallen / max(layer.size, 1))} of them fall."
    )
    draw(cut_figure(layer, cut), key=key, alt=alt)
    numbers(
        [
            number_html("Weights that fall", whole(fallen), f"of {whole(layer.size)}", measured=None),
            number_html(
                "Whole output channels that fall",
                whole(dead),
                f"of {whole(channels)}",
                measured=None,
                note="every weight of the channel is below the line",
            ),
        ]
    )
    facts = [f"shape {shape(layer.shape)}", f"mean {signed(layer.mean)}", f"standard deviation {signed(layer.std)}"]
    facts += [f"{whole(layer.zeros)} already zero"] if layer.zeros else []
    st.caption(" · ".join(facts))
    if layer.nonfinite:
        st.warning(
            f"{whole(layer.nonfinite)} weights of this layer are not finite numbers. It cannot be ranked by magnitude."
        )
