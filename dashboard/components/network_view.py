"""The network as a drawing on which a person picks layers: stages open to blocks, blocks to layers."""

import streamlit as st

from core.analysis.network_tree import Part
from core.comb.sheet import GroupSheet, SheetGroup
from core.store.records import Model, Session
from dashboard import backend, stored
from dashboard.components.format import menu_words
from dashboard.components.group_why import group_of_choice
from dashboard.components.layer_time import measured_times, time_button
from dashboard.components.network_canvas import Canvas, draw_canvas, draw_controls
from dashboard.components.network_colours import colouring_of
from dashboard.components.network_coupling import coupled_words, roles_of
from dashboard.components.network_paint import BESIDE, Look
from dashboard.components.network_panel import draw_part, draw_start
from dashboard.components.plan_draft import DraftEditor

__all__ = ["draw_network"]

_LAYER, _GROUP = "layer ", "group "


def draw_network(session: Session, model: Model) -> str | None:
    """The section. Only it is drawn anew after a click. Returns the chosen layer, if there is one."""
    st.fragment(_section)(session.id, model.id)
    chosen = st.session_state.get(Canvas(model.id).key("choice"))
    return chosen.removeprefix(_LAYER) if isinstance(chosen, str) and chosen.startswith(_LAYER) else None


def _section(session_id: str, model_id: str) -> None:
    store = backend.store()
    session, model = store.get_session(session_id), store.get_model(model_id)
    canvas = Canvas(model_id)
    colour, size = draw_controls(canvas, colour_key="network-colour", size_key="network-size")
    sheet = stored.group_sheet(model)
    picture, panel = st.columns(BESIDE, gap="medium")
    with panel:
        part = _choose(canvas)
        if part is None:
            draw_start(canvas.network)
            lit: dict[str, str] = {}
        else:
            group = None if part.parts or sheet is None else _group_of(sheet, part, canvas)
            lit = roles_of(group) if group is not None else {}
            draw_part(session, model, canvas.network, part, sheet, group)
    with picture:
        times, job = measured_times(session)
        look = Look(
            rows={str(row["name"]): row for row in model.description["layers"]},
            size=size,
            dark=st.context.theme.type == "dark",
            colouring=colouring_of(colour, session, model, DraftEditor(session).plan, times),
            lit=lit,
            chosen=None if part is None else part.key,
            coupled=coupled_words(sheet),
        )
        draw_canvas(canvas, look, lambda kind, name: _pick(canvas, kind, name))
        if colour == "time":
            time_button(session, times, job)


def _pick(canvas: Canvas, kind: str, name: str) -> None:
    """A click in the picture sets the menu."""
    st.session_state[canvas.key("choice")] = f"{kind} {name}"


def _choose(canvas: Canvas) -> Part | None:
    """A menu of all layers and groups, for the keyboard and for long names; a click in the picture sets it, too."""
    key, network = canvas.key("choice"), canvas.network
    options = [_LAYER + name for name in network.leaves] + [_GROUP + name for name in network.groups]
    if st.session_state.get(key) not in options:
        st.session_state.pop(key, None)
    words = menu_words([*network.leaves, *network.groups])
    chosen = st.selectbox(
        "Layer or part",
        options,
        index=None,
        format_func=lambda option: words(option.partition(" ")[2]),
        placeholder="Click in the picture, or type to search",
        key=key,
        on_change=_show_choice,
        args=(canvas,),
    )
    return _part(canvas, chosen)


def _part(canvas: Canvas, option: str | None) -> Part | None:
    kind, _, name = (option or "").partition(" ")
    network = canvas.network
    return network.leaves.get(name) if kind == _LAYER.strip() else network.groups.get(name) if option else None


def _show_choice(canvas: Canvas) -> None:
    """Open what is around the choice of the menu, so that it is in the picture."""
    part = _part(canvas, st.session_state.get(canvas.key("choice")))
    if part is not None:
        groups = canvas.network.groups
        around = {name for name, group in groups.items() if any(one is part for one in group.walk())}
        canvas.open(canvas.opened | (around - {part.name}))


def _group_of(sheet: GroupSheet, part: Part, canvas: Canvas) -> SheetGroup | None:
    """The group that a layer makes the units of; else the first one that it reads or follows."""
    own = group_of_choice(sheet, part.layers[0], key=canvas.key("group"))
    return own or next((group for group in sheet.groups if part.layers[0] in group.layers), None)
