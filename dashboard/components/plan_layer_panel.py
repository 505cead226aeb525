"""The chosen layer on the Plan page, for methods that mask weights: on the drawing, and under a slider of its own."""

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from core.store.records import Session
from dashboard import backend
from dashboard.components.choice_in_url import read_choice, write_choice
from dashboard.components.format import escape, macs, menu_words, percent, shape, short, unbroken, whole
from dashboard.components.group_edit import BY_PANEL, BY_TABLE
from dashboard.components.network_paint import BESIDE
from dashboard.components.plan_draft import DraftEditor, with_bulk
from dashboard.components.plan_layers import weight_count
from dashboard.components.plan_network import draw_plan_network, plan_network_controls
from dashboard.components.plan_start import Base
from dashboard.components.plan_table import picked_in_table

__all__ = ["LAYER", "draw_layer_panel"]

LAYER = "plan-layer"
"""Where the chosen layer is kept, and what the menu is called by."""
_TOP_PERCENT = 99.5


def draw_layer_panel(
    editor: DraftEditor,
    session: Session,
    base: Base,
    layers: Sequence[Mapping[str, Any]],
    planned: Mapping[str, float],
) -> str:
    """Drawing and panel; returns the chosen layer.

    ``layers``: the prunable rows of the description; ``planned``: layer → sparsity.
    """
    names = [str(layer["name"]) for layer in layers]
    from_table = picked_in_table()
    if from_table is not None:
        st.session_state[LAYER] = from_table
    meaning = plan_network_controls(base)
    picture, panel = st.columns(BESIDE, gap="medium")
    with panel:
        name = _choose(names, max(names, key=lambda one: planned.get(one, 0.0)))
        _facts(next(layer for layer in layers if layer["name"] == name))
        _controls(editor, name, planned.get(name))
    with picture:
        draw_plan_network(
            editor,
            session,
            base,
            meaning=meaning,
            sheet=None,
            chosen=name,
            lit={},
            pick=lambda clicked: _pick(clicked, names),
        )
    return name


def _choose(names: Sequence[str], start: str) -> str:
    """A menu of all layers, for the keyboard and for long names; a click in the picture or the table sets it, too."""
    read_choice(LAYER, "layer")
    if st.session_state.get(LAYER) not in names:
        st.session_state[LAYER] = start
    chosen = str(
        st.selectbox(
            "Layer",
            names,
            format_func=menu_words(names),
            key=LAYER,
            help="Type to search. A click in the picture chooses, too.",
        )
    )
    write_choice("layer", chosen, start=start)
    return chosen


def _pick(clicked: str, names: Sequence[str]) -> None:
    if clicked in names:
        st.session_state[LAYER] = clicked
    else:
        st.toast(f"{escape(short(clicked, 60), markdown=True)} has no weights that can be pruned.")


def _facts(layer: Mapping[str, Any]) -> None:
    words = [
        str(layer.get("kind") or ""),
        f"{whole(weight_count(layer))} weights",
        macs(int(layer.get("macs") or 0)),
        f"output {shape(layer.get('output_shape'))}",
    ]
    name = escape(str(layer["name"]), markdown=True)
    facts = escape(" · ".join(word for word in words if word), markdown=True)
    st.markdown(f"**{name}** · {unbroken(facts)}")


def _controls(editor: DraftEditor, name: str, planned: float | None) -> None:
    """Slider, protection, and the way back to the allocation. Edits are made before the page is drawn again."""
    plan = editor.plan
    protected, pattern = name in plan.protected, plan.patterns.get(name)
    fixed = plan.overrides.get(name) if not protected else None
    start = 100.0 * (fixed if fixed is not None else planned or 0.0)
    drawn = f"{editor.generation}-{st.session_state.get(BY_TABLE, 0)}-{name}"
    # A free layer follows the allocation: its slider is made anew whenever its sparsity changes without it.
    key = f"plan-layer-share-{drawn}-{'fixed' if fixed is not None else f'free{start:.2f}'}"
    st.slider(
        "Sparsity of this layer, %",
        min_value=0.0,
        max_value=max(_TOP_PERCENT, start),
        value=start,
        step=0.5,
        format="%.1f",
        disabled=protected or editor.conflict,
        key=key,
        on_change=_edit,
        args=(editor.session.id, name, "fix", key),
        help="Moving it fixes this layer; the others share what is left to reach the target.",
    )
    with st.container(horizontal=True, vertical_alignment="center"):
        protect = f"plan-layer-protect-{drawn}-{protected}"
        st.toggle(
            "Protect",
            value=protected,
            key=protect,
            disabled=editor.conflict,
            on_change=_edit,
            args=(editor.session.id, name, "free" if protected else "protect", protect),
            help="Nothing is removed from this layer.",
        )
        st.button(
            "Free again",
            key="plan-layer-free",
            disabled=(fixed is None and not protected and pattern is None) or editor.conflict,
            on_click=_edit,
            args=(editor.session.id, name, "free", None),
            help="Let the allocation decide.",
        )
    state = "kept whole by you" if protected else f"pattern {pattern}" if pattern else "allocated"
    state = "fixed by you" if fixed is not None else state
    if planned is not None:
        st.markdown(f"**{percent(planned)} of its weights go** ({state}).")


def _edit(session_id: str, name: str, action: str, key: str | None) -> None:
    share = float(st.session_state[key]) / 100.0 if action == "fix" and key else 0.0
    editor = DraftEditor(backend.store().get_session(session_id))
    editor.edit(lambda plan: with_bulk(plan, [name], action, share))
    st.session_state[BY_PANEL] = st.session_state.get(BY_PANEL, 0) + 1
