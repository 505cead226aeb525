"""One layer or group up close: what shrinks with it, why, and what cannot shrink at all."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
import streamlit as st

from core.comb.sheet import GroupSheet, SheetGroup
from dashboard.components.charts import draw
from dashboard.components.fold import fold
from dashboard.components.format import escape, macs, menu_words, percent, whole
from dashboard.components.group_charts import chain_figure
from dashboard.components.group_facts import KINDS, listed, named, size_words, unit_word
from dashboard.components.tables import table

__all__ = [
    "choose",
    "draw_chain",
    "draw_frozen",
    "draw_reasons",
    "first_choice",
    "group_of_choice",
    "pick_from_chart",
    "story",
]

_MOST_REASONS = 4
_TALL_PX = 380


def pick_from_chart(event: Any, *, key: str, place: int, known: Sequence[str], prefix: str = "") -> None:
    """A click on a chart becomes the choice ``key``: call before the menu is drawn. ``place``: of the name in a
    point's custom data. A selection that was handled before is left alone, so that the menu can differ from it."""
    points = (event or {}).get("selection", {}).get("points") or []
    data = points[0].get("customdata") if points else None
    picked = f"{prefix}{data[place]}" if isinstance(data, list | tuple) and len(data) > place else ""
    seen = f"{key}-seen"
    if picked and picked != st.session_state.get(seen) and picked in known:
        st.session_state[key] = picked
    st.session_state[seen] = picked


def choose(sheet: GroupSheet, *, key: str) -> str:
    """A menu of all groups and layers, groups first; starts at the group that ties most layers."""
    options = [*map(named, sheet.groups), *sheet.prunable]
    if st.session_state.get(key) not in options:
        st.session_state[key] = first_choice(sheet)
    group_words, layer_words = menu_words([group.name for group in sheet.groups]), menu_words(sheet.prunable)
    titles = {named(group): f"{group_words(group.name)} · {size_words(group)}" for group in sheet.groups}
    return str(
        st.selectbox(
            "Group or layer",
            options,
            format_func=lambda name: titles.get(name) or f"layer {layer_words(name)}",
            key=key,
            help="Type to search. A click in the picture chooses, too.",
        )
    )


def first_choice(sheet: GroupSheet) -> str:
    """The group that ties most layers; the first layer of a model without groups."""
    largest = max(sheet.groups, key=lambda group: len(group.layers), default=None)
    return named(largest) if largest is not None else sheet.prunable[0]


def group_of_choice(sheet: GroupSheet, choice: str, *, key: str) -> SheetGroup | None:
    """The group to show: the chosen one, or that of the chosen layer's outputs (a menu where there are several)."""
    groups = [group for group in sheet.groups if named(group) == choice] or list(sheet.groups_of(choice))
    if len(groups) < 2:
        return groups[0] if groups else None
    by_name = {group.name: group for group in groups}
    picked = st.segmented_control(
        "Of its outputs",
        list(by_name),
        default=groups[0].name,
        required=True,
        format_func=lambda name: f"{KINDS[by_name[name].kind]} · {size_words(by_name[name])}",
        key=f"{key}-{choice}",
        label_visibility="collapsed",
    )
    return by_name[str(picked)]


def story(sheet: GroupSheet, choice: str, group: SheetGroup | None) -> str:
    """What is to be known of the choice, in one paragraph of plain text."""
    frozen = {layer: item.reason for item in sheet.frozen for layer in item.layers}
    said = []
    if choice in sheet.prunable:
        read = [other for other in sheet.groups if choice in other.readers]
        if choice in frozen:
            said.append(f"The outputs of {choice} cannot shrink: {frozen[choice]}.")
        if read:
            said.append(f"{choice} loses inputs when {listed([other.name for other in read])} shrinks.")
    if group is None:
        return " ".join(said) or f"{choice} belongs to no group: nothing of it is removed."
    follow = len(group.layers) - len(group.creators) - len(group.readers)
    parts = (
        [f"{listed(group.creators)} {'makes' if len(group.creators) == 1 else 'make'} them"] if group.creators else []
    )
    parts += [f"{listed(group.readers)} {'reads' if len(group.readers) == 1 else 'read'} them"] if group.readers else []
    parts += [f"{follow} norms, biases or parameters between follow"] if follow else []
    layers = "1 layer" if len(group.layers) == 1 else f"{len(group.layers)} layers"
    said.append(f"{size_words(group).capitalize()}; {layers} shrink together: {', '.join(parts)}.")
    said.append(
        f"One {unit_word(group)} less saves {whole(group.unit_parameters)} parameters "
        f"({percent(group.unit_parameters / max(1, sheet.dense.parameters), 2)}) and {macs(group.unit_macs)}."
    )
    if group.normed:
        said.append("A norm takes its statistics over these units: removing one changes a little of what stays, too.")
    return " ".join(said)


def draw_reasons(group: SheetGroup) -> None:
    """Why these layers go together: one sentence for each place where they meet."""
    if not group.couplings:
        st.caption("No other layer makes these units: what is between its maker and its readers follows them.")
        return
    sentences = [f"- {escape(coupling.text, markdown=True)}" for coupling in group.couplings]
    st.markdown("\n".join(sentences[:_MOST_REASONS]))
    rest = sentences[_MOST_REASONS:]
    if rest:
        with st.expander(f"{len(rest)} more links"):
            st.markdown("\n".join(rest))


def draw_chain(sheet: GroupSheet, group: SheetGroup, *, key: str) -> None:
    """The small picture of one group."""
    picture = chain_figure(sheet, group.name)
    tall = picture.layout.height > _TALL_PX
    with st.container(height=_TALL_PX if tall else "content", border=False, key=f"{key}-box"):
        who = f"{listed(group.creators)} make its units, {listed(group.readers)} read them"
        draw(picture, key=key, alt=f"Chain of the group {group.name}: {who}")
    st.caption(
        "Filled: makes the units. Open: reads them. Signs in the arcs: + added, ⧺ put beside each other, ≡ depthwise."
    )


def draw_frozen(sheet: GroupSheet, *, key: str) -> None:
    """What cannot shrink, with the operation and the source line that stand in the way."""
    if not sheet.frozen:
        return
    fold(
        f"Cannot shrink ({len(sheet.frozen)})",
        lambda: _draw_frozen(sheet, key),
        key=f"{key}-open",
        icon=":material/ac_unit:",
    )


def _draw_frozen(sheet: GroupSheet, key: str) -> None:
    frame = pd.DataFrame(
        {
            "layer": [item.name for item in sheet.frozen],
            "kind": [KINDS.get(item.kind, item.kind) for item in sheet.frozen],
            "reason": [item.reason for item in sheet.frozen],
        }
    )
    columns = {
        "layer": st.column_config.TextColumn("Layer", width="medium"),
        "kind": st.column_config.TextColumn("Outputs", width="small"),
        "reason": st.column_config.TextColumn("Why", width="large"),
    }
    table(frame, key=key, alt=f"{len(frame)} layers whose outputs cannot shrink, and why", columns=columns)
    st.caption("Their inputs may still shrink. An operation that is not understood freezes what it touches.")
