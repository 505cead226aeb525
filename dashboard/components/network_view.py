"""The network as a drawing on which a person picks layers: stages open to blocks, blocks to layers."""

import functools
from typing import Any

import streamlit as st

from core.analysis.network_layout import Drawing, lay_out
from core.analysis.network_tree import Network, Part, network_tree, openings, start_of
from core.comb.sheet import GroupSheet, SheetGroup
from core.store.records import Model, Session
from dashboard import backend, stored
from dashboard.components.charts import draw
from dashboard.components.format import short
from dashboard.components.group_why import group_of_choice
from dashboard.components.layer_time import measured_times, time_button
from dashboard.components.network_colours import COLOURS, colouring_of, legend_html
from dashboard.components.network_figure import network_figure
from dashboard.components.network_paint import Look
from dashboard.components.network_panel import draw_part, draw_start
from dashboard.components.plan_draft import DraftEditor

__all__ = ["after_click", "draw_network", "picked", "roles_of"]

_SIZES = {"macs": "MACs", "parameters": "parameters"}
_PAGE_PX = 700
"""What is wider than this does not fit beside the panel."""
_LAYER, _GROUP = "layer ", "group "


def draw_network(session: Session, model: Model) -> str | None:
    """The section. Only it is drawn anew after a click. Returns the chosen layer, if there is one."""
    st.fragment(_section)(session.id, model.id)
    chosen = st.session_state.get(_key(model.id, "choice"))
    return chosen.removeprefix(_LAYER) if isinstance(chosen, str) and chosen.startswith(_LAYER) else None


@functools.lru_cache(maxsize=8)
def _network(model_id: str, _workspace: str) -> Network:
    return network_tree(backend.store().get_model(model_id).description)


@functools.lru_cache(maxsize=64)
def _drawing(network: Network, opened: frozenset[str], size: str) -> Drawing:
    return lay_out(network, opened, size=size, width_px=_PAGE_PX)


def _key(model_id: str, what: str) -> str:
    return f"network-{model_id[:12]}-{what}"


def _section(session_id: str, model_id: str) -> None:
    store = backend.store()
    session, model = store.get_session(session_id), store.get_model(model_id)
    network = _network(model_id, str(backend.workspace().folder))
    colour, size = _controls(network, model_id)
    picture, panel = st.columns([3, 2], gap="medium")
    with panel:
        part = _choose(network, model_id)
        if part is None:
            draw_start(network)
            lit: dict[str, str] = {}
        else:
            sheet = stored.group_sheet(model)
            group = None if part.parts or sheet is None else _group_of(sheet, part, model_id)
            lit = roles_of(group) if group is not None else {}
            draw_part(session, model, network, part, sheet, group)
    with picture:
        _picture(session, model, network, colour, size, lit, part)


def _controls(network: Network, model_id: str) -> tuple[str, str]:
    """What is open, what the colours and the heights mean."""
    levels, detail, opened = openings(network), _key(model_id, "detail"), _key(model_id, "opened")
    if opened not in st.session_state:
        st.session_state[opened] = levels[start_of(network)]
        st.session_state[detail] = start_of(network)
    with st.container(horizontal=True, gap="medium", key="network-controls"):
        if len(levels) > 1:
            st.segmented_control("Show", list(levels), key=detail, on_change=_open_level, args=(model_id,))
        colour = st.segmented_control(
            "Colour",
            list(COLOURS),
            default="kind",
            required=True,
            format_func=COLOURS.__getitem__,
            key="network-colour",
        )
        size = st.segmented_control(
            "Height", list(_SIZES), default="macs", required=True, format_func=_SIZES.__getitem__, key="network-size"
        )
    return str(colour), str(size)


def _open_level(model_id: str) -> None:
    """Open the drawing as far as the menu says."""
    network = _network(model_id, str(backend.workspace().folder))
    title = st.session_state.get(_key(model_id, "detail"))
    known = openings(network)
    if title in known:
        st.session_state[_key(model_id, "opened")] = known[title]


def _opened(network: Network, model_id: str, names: frozenset[str]) -> None:
    """Open just these groups; the menu shows a level only where it is one."""
    st.session_state[_key(model_id, "opened")] = names
    level = next((title for title, level in openings(network).items() if level == names), None)
    st.session_state[_key(model_id, "detail")] = level


def _choose(network: Network, model_id: str) -> Part | None:
    """A menu of all layers and groups, for the keyboard and for long names; a click in the picture sets it, too."""
    key = _key(model_id, "choice")
    options = [_LAYER + name for name in network.leaves] + [_GROUP + name for name in network.groups]
    if st.session_state.get(key) not in options:
        st.session_state.pop(key, None)
    chosen = st.selectbox(
        "Layer or part",
        options,
        index=None,
        format_func=lambda option: short(option.partition(" ")[2], 52),
        placeholder="Click in the picture, or type to search",
        key=key,
        on_change=_show_choice,
        args=(model_id,),
    )
    return _part(network, chosen)


def _part(network: Network, option: str | None) -> Part | None:
    kind, _, name = (option or "").partition(" ")
    return network.leaves.get(name) if kind == _LAYER.strip() else network.groups.get(name) if option else None


def _show_choice(model_id: str) -> None:
    """Open what is around the choice of the menu, so that it is in the picture."""
    network = _network(model_id, str(backend.workspace().folder))
    part = _part(network, st.session_state.get(_key(model_id, "choice")))
    if part is not None:
        around = {name for name, group in network.groups.items() if any(one is part for one in group.walk())}
        _opened(network, model_id, st.session_state[_key(model_id, "opened")] | (around - {part.name}))


def _group_of(sheet: GroupSheet, part: Part, model_id: str) -> SheetGroup | None:
    """The group that a layer makes the units of; else the first one that it reads or follows."""
    own = group_of_choice(sheet, part.layers[0], key=_key(model_id, "group"))
    return own or next((group for group in sheet.groups if part.layers[0] in group.layers), None)


def roles_of(group: SheetGroup) -> dict[str, str]:
    """Layer → what it does in a group: ``makes``, ``reads`` or ``follows``."""
    return (
        dict.fromkeys(group.layers, "follows")
        | dict.fromkeys(group.readers, "reads")
        | dict.fromkeys(group.creators, "makes")
    )


def _picture(
    session: Session,
    model: Model,
    network: Network,
    colour: str,
    size: str,
    lit: dict[str, str],
    part: Part | None,
) -> None:
    times, job = measured_times(session)
    look = Look(
        rows={str(row["name"]): row for row in model.description["layers"]},
        size=size,
        dark=st.context.theme.type == "dark",
        colouring=colouring_of(colour, session, model, DraftEditor(session).plan, times),
        lit=lit,
        chosen=None if part is None else part.key,
    )
    drawing = _drawing(network, st.session_state[_key(model.id, "opened")], size)
    st.html(legend_html(drawing, look, lit=bool(lit)))
    key = _key(model.id, "chart")
    count = sum(not box.opened for box in drawing.boxes)
    with st.container(key="network-scroll", border=False):
        draw(
            network_figure(network, drawing, look),
            key=key,
            alt=f"The network as {count} boxes from its input to its output, joined by lines; the table has the same "
            "layers as text",
            on_select=lambda: _clicked(model.id),
            width=round(drawing.width),
        )
    if drawing.width > _PAGE_PX:
        st.caption("The network goes on to the right: scroll sideways.")
    if colour == "time":
        time_button(session, times, job)


def _clicked(model_id: str) -> None:
    """A click opens a part, closes it by its title, or chooses a layer."""
    found = picked(st.session_state.get(_key(model_id, "chart")))
    network = _network(model_id, str(backend.workspace().folder))
    after = None if found is None else after_click(network, st.session_state[_key(model_id, "opened")], *found)
    if after is not None:
        st.session_state[_key(model_id, "choice")], opened = after
        _opened(network, model_id, opened)


def after_click(network: Network, opened: frozenset[str], kind: str, name: str) -> tuple[str, frozenset[str]] | None:
    """The choice and the open groups after a click; None for what the network does not have."""
    if kind == "layer" and name in network.leaves:
        return _LAYER + name, opened
    if kind in ("group", "open") and name in network.groups:
        return _GROUP + name, (opened | {name} if kind == "group" else opened - {name})
    return None


def picked(event: Any) -> tuple[str, str] | None:
    """What was clicked: (``layer`` | ``group`` | ``open``, name); None when nothing usable was."""
    points = ((event or {}).get("selection") or {}).get("points") or []
    data = points[0].get("customdata") if points else None
    if isinstance(data, dict):  # the browser may send arrays as {"0": …, "1": …}
        data = [data[index] for index in sorted(data)]
    return (str(data[0]), str(data[1])) if isinstance(data, list | tuple) and len(data) == 2 else None
