"""The network on the Plan page: coloured by what the plan takes, the chosen layer or group lit, a click chooses."""

from collections.abc import Callable, Mapping

import streamlit as st

from core.comb.sheet import GroupSheet
from core.store.records import Session
from dashboard.components.charts import ACCENT
from dashboard.components.layer_time import measured_times, time_button
from dashboard.components.network_canvas import Canvas, draw_canvas, draw_controls
from dashboard.components.network_colours import COLOURS, colouring_of
from dashboard.components.network_coupling import coupled_words
from dashboard.components.network_paint import Look
from dashboard.components.plan_draft import DraftEditor
from dashboard.components.plan_start import Base

__all__ = ["draw_plan_network", "plan_canvas", "plan_network_controls"]

_OF_DENSE = ("sensitivity", "time")
"""Colours that are measured of the dense model: a plan that starts from a variant has none."""


def plan_canvas(base: Base) -> Canvas:
    """The drawing of what the plan starts from."""
    return Canvas(base.known_model.id, "plan-")


def plan_network_controls(base: Base) -> tuple[str, str]:
    """What is open, what colours and heights mean; at first what the plan takes from each layer."""
    colours = [name for name in COLOURS if not (base.further and name in _OF_DENSE)]
    return draw_controls(
        plan_canvas(base),
        colour_key="plan-network-colour",
        size_key="plan-network-size",
        colours=colours,
        start="sparsity",
    )


def draw_plan_network(
    editor: DraftEditor,
    session: Session,
    base: Base,
    *,
    meaning: tuple[str, str],
    sheet: GroupSheet | None,
    chosen: str | None,
    lit: Mapping[str, str],
    pick: Callable[[str], None],
) -> None:
    """The picture. ``meaning``: of colours and heights. ``chosen``: a layer; ``lit``: layer → role in its group;
    ``pick`` is called with the layer that was clicked, before the page is drawn again."""
    colour, size = meaning
    canvas, model = plan_canvas(base), base.known_model
    times, job = (None, None) if base.further else measured_times(session)
    part = canvas.network.leaves.get(chosen) if chosen is not None else None
    look = Look(
        rows={str(row["name"]): row for row in model.description["layers"]},
        size=size,
        dark=st.context.theme.type == "dark",
        colouring=colouring_of(colour, session, model, editor.plan, times),
        lit=lit,
        chosen=None if part is None else part.key,
        marked={} if chosen is None or lit else {chosen: ACCENT},  # seen in a closed box, too
        coupled=coupled_words(sheet),
    )
    draw_canvas(canvas, look, lambda kind, name: pick(name) if kind == "layer" else None)
    if colour == "time":
        time_button(session, times, job)
