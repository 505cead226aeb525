"""The coupled groups on the Model page: a map of all of them, one up close, the list, and what cannot shrink."""

from typing import Any

import pandas as pd
import streamlit as st

from core.comb.sheet import GroupSheet, SheetGroup
from core.store.records import Model
from dashboard import stored
from dashboard.components.charts import draw
from dashboard.components.empty import empty
from dashboard.components.fold import fold
from dashboard.components.format import escape, plain, unbroken
from dashboard.components.group_charts import map_figure
from dashboard.components.group_facts import KINDS, named
from dashboard.components.group_why import (
    choose,
    draw_chain,
    draw_frozen,
    draw_reasons,
    group_of_choice,
    pick_from_chart,
    story,
)
from dashboard.components.tables import table

__all__ = ["draw_map", "group_list", "summary"]

_CHOICE = "model-group"
_TALL_PX = 640


def summary(sheet: GroupSheet) -> str:
    """All groups in one sentence: how many, of which kinds, how many tie several layers."""
    kinds = {kind: sum(group.kind == kind for group in sheet.groups) for kind in KINDS}
    present = {KINDS[kind]: count for kind, count in kinds.items() if count}
    parts = f" ({', '.join(f'{kind} {count}' for kind, count in present.items())})"
    if len(present) == 1:
        parts = f" of {next(iter(present))}"
    tied = sum(len(group.creators) > 1 for group in sheet.groups)
    many = f", of which {tied} {'ties' if tied == 1 else 'tie'} the outputs of several layers" if tied else ""
    largest = max(sheet.groups, key=lambda group: len(group.layers))
    shared = f"The largest, {largest.name}, holds {len(largest.layers)} layers that shrink together only."
    return f"{len(sheet.groups)} groups{parts}{many}. {shared}"


def group_list(sheet: GroupSheet) -> pd.DataFrame:
    """One row per group, in execution order."""
    dense = sheet.dense
    return pd.DataFrame(
        {
            "group": [plain(group.name) for group in sheet.groups],
            "kind": [KINDS[group.kind] for group in sheet.groups],
            "units": [group.units for group in sheet.groups],
            "width": [group.width for group in sheet.groups],
            "makers": [len(group.creators) for group in sheet.groups],
            "layers": [len(group.layers) for group in sheet.groups],
            "parameters": [_share(group.unit_parameters * group.units, dense.parameters) for group in sheet.groups],
            "macs": [_share(group.unit_macs * group.units, dense.macs) for group in sheet.groups],
        }
    )


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def draw_map(model: Model) -> None:
    """The section. Only it is drawn anew when another group is chosen."""
    st.header("Coupled groups", anchor=False)
    sheet = stored.group_sheet(model)
    if sheet is None:
        empty(
            "The groups of this model are not known yet",
            "It was opened by an earlier version. Choose a structured method on the Plan page to read them.",
            action="Go to Plan",
            url="plan",
        )
    elif not sheet.groups:
        empty("Nothing can shrink in this model", "No channel, head or neuron can be removed; the reasons are below.")
        draw_frozen(sheet, key="model-frozen")
    else:
        st.fragment(_map)(model)


def _map(model: Model) -> None:
    sheet = stored.group_sheet(model)
    if sheet is None:
        return
    st.caption(
        "What can be removed for good, and what must go with it: channels that are added to each other, read, "
        f"normalised or filtered one by one belong to one group. {escape(summary(sheet), markdown=True)}"
    )
    _take(st.session_state.get("model-map"), sheet)
    picture, panel = st.columns([3, 2], gap="large")
    with panel:
        choice = choose(sheet, key=_CHOICE)
        group = group_of_choice(sheet, choice, key=f"{_CHOICE}-of")
        st.markdown(unbroken(escape(story(sheet, choice, group), markdown=True)))
        if group is not None:
            st.markdown("**Why they go together**")
            draw_reasons(group)
            draw_chain(sheet, group, key="model-group-chain")
    with picture:
        _draw_picture(sheet, choice, group)
    fold(
        f"List of all {len(sheet.groups)} groups",
        lambda: _draw_list(sheet),
        key="model-group-list-open",
        icon=":material/list:",
    )
    draw_frozen(sheet, key="model-frozen")


def _draw_picture(sheet: GroupSheet, choice: str, group: SheetGroup | None) -> None:
    lit = [group.name] if group is not None else [other.name for other in sheet.groups if choice in other.readers]
    figure = map_figure(sheet, tuple(lit), choice if choice in sheet.prunable else None)
    tall = figure.layout.height > _TALL_PX
    with st.container(height=_TALL_PX if tall else "content", border=False, key="model-map-box"):
        draw(
            figure,
            key="model-map",
            alt=f"{len(sheet.prunable)} layers in execution order, a line through the layers of each of "
            f"{len(sheet.groups)} groups",
            on_select="rerun",
        )
    st.caption("Filled: the layer makes the units. Open: it reads them. Cross: its outputs cannot shrink.")


def _take(event: Any, sheet: GroupSheet) -> None:
    """A click on a line's marker chooses its group, a click on a cross its layer."""
    points = (event or {}).get("selection", {}).get("points") or []
    data = points[0].get("customdata") if points else None
    if isinstance(data, list | tuple) and len(data) == 2 and not data[1]:
        pick_from_chart(event, key=_CHOICE, place=0, known=sheet.prunable)
    else:
        pick_from_chart(event, key=_CHOICE, place=1, known=[*map(named, sheet.groups)], prefix="group:")


def _draw_list(sheet: GroupSheet) -> None:
    number, text, bar = st.column_config.NumberColumn, st.column_config.TextColumn, st.column_config.ProgressColumn
    frame = group_list(sheet)
    help_text = "Share of the model that only this group's units hold"
    columns = {
        "group": text("Group", width="medium"),
        "kind": text("Kind", width="small"),
        "units": number("Units", width=70),
        "width": number("Width", width=70, help="Channels that one unit stands for"),
        "makers": number("Made by", width=80, help="Layers whose outputs these units are"),
        "layers": number("Layers", width=70, help="Layers that shrink together"),
        "parameters": bar("Parameters", format="percent", min_value=0, max_value=1, help=help_text),
        "macs": bar("MACs", format="percent", min_value=0, max_value=1, help=help_text),
    }
    table(frame, key="model-group-list", alt=f"{len(frame)} groups with kind and size", columns=columns)
