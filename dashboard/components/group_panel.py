"""The chosen group on the Plan page: a slider over what stays, protection, and what all that means for others."""

import streamlit as st

from core.comb.sheet import GroupSheet, SheetGroup
from core.methods import METHODS
from core.pruning.plan import Plan
from core.store.records import Session
from dashboard import backend
from dashboard.components.choice_in_url import read_choice, write_choice
from dashboard.components.format import escape, macs, percent, short, unbroken
from dashboard.components.group_edit import BY_PANEL, BY_TABLE, with_groups
from dashboard.components.group_facts import KINDS, consequences, left_out, named, stay_words
from dashboard.components.group_preview import EXACT, GroupPreview, GroupRow
from dashboard.components.group_why import choose, draw_chain, draw_reasons, first_choice, group_of_choice, story
from dashboard.components.network_coupling import group_of_layer, roles_of
from dashboard.components.network_paint import BESIDE
from dashboard.components.plan_choices import Action
from dashboard.components.plan_draft import DraftEditor
from dashboard.components.plan_network import draw_plan_network, plan_network_controls
from dashboard.components.plan_start import Base
from dashboard.components.plan_table import picked_in_table

__all__ = ["CHOICE", "draw_consequences", "draw_panel"]

CHOICE = "plan-group"
_MOST = 6
_STAY = {
    "channels": "Channels that stay",
    "heads": "Heads that stay",
    "head_width": "Head width that stays",
    "neurons": "Neurons that stay",
    "embedding": "Embedding channels that stay",
}


def draw_panel(
    editor: DraftEditor, session: Session, base: Base, sheet: GroupSheet, shown: GroupPreview
) -> SheetGroup | None:
    """The chosen group or layer: lit on the drawing on the left; its controls, reasons and chain on the right.

    Returns the group that is shown.
    """
    from_table = picked_in_table()
    if from_table is not None:
        st.session_state[CHOICE] = named(sheet.group(from_table))
    meaning = plan_network_controls(base)
    picture, panel = st.columns(BESIDE, gap="medium")
    with panel:
        read_choice(CHOICE, "layer")
        choice = choose(sheet, key=CHOICE)
        write_choice("layer", choice, start=first_choice(sheet))
        group = group_of_choice(sheet, choice, key=f"{CHOICE}-of")
        row = next((row for row in shown.rows if group is not None and row.group.name == group.name), None)
        if row is not None:
            _controls(editor, row)
        st.markdown(unbroken(escape(story(sheet, choice, group), markdown=True)))
        if group is not None:
            draw_reasons(group)
            draw_chain(sheet, group, key="plan-group-chain")
    with picture:
        draw_plan_network(
            editor,
            session,
            base,
            meaning=meaning,
            sheet=sheet,
            chosen=choice,
            lit={} if group is None else roles_of(group),
            pick=lambda clicked: _pick(sheet, clicked),
        )
    return group


def _pick(sheet: GroupSheet, clicked: str) -> None:
    """A layer of the drawing: itself where the menu has it, else the group that it belongs to."""
    group = group_of_layer(sheet, clicked)
    if clicked in sheet.prunable:
        st.session_state[CHOICE] = clicked
    elif group is not None:
        st.session_state[CHOICE] = named(group)
    else:
        st.toast(f"{escape(short(clicked, 60), markdown=True)} belongs to no group: nothing of it is removed.")


def _controls(editor: DraftEditor, row: GroupRow) -> None:
    """Slider, protection, and the way back to the allocation. Edits are made before the page is drawn again."""
    group = row.group
    free = row.fixed is None
    # A free group follows the allocation: its slider is made anew whenever what stays changes without it.
    drawn = f"{editor.generation}-{st.session_state.get(BY_TABLE, 0)}-{group.name}"
    key = f"plan-group-stay-{drawn}-{f'free{row.kept}' if free else 'fixed'}"
    start = row.kept if free else max(1, round(group.units * (1.0 - (row.fixed or 0.0))))
    st.slider(
        f"{_STAY[group.kind]} in {escape(short(group.name, 30), markdown=True)}",
        min_value=1,
        max_value=group.units,
        value=start,
        disabled=row.protected or editor.conflict,
        key=key,
        on_change=_edit,
        args=(editor.session.id, row, "fix", key),
        help="Moving it fixes this group; the others share what is left to reach the target.",
    )
    protect = f"plan-group-protect-{drawn}-{row.protected}"
    beside = st.container(horizontal=True, vertical_alignment="center")
    beside.toggle(
        "Protect",
        value=row.protected,
        key=protect,
        disabled=editor.conflict,
        on_change=_edit,
        args=(editor.session.id, row, "free" if row.protected else "protect", protect),
        help="Nothing is removed from this group: every layer in it keeps these units.",
    )
    beside.button(
        "Free again",
        key=f"plan-group-free-{group.name}",
        disabled=free or editor.conflict,
        on_click=_edit,
        args=(editor.session.id, row, "free", None),
        help="Let the allocation decide.",
    )
    _after(row)


def _after(row: GroupRow) -> None:
    """What the removal of this group alone comes to, and where limits changed what was asked."""
    if row.removed is None:
        return
    group = row.group
    words = f"**{stay_words(group, row.kept)}** ({row.state})"
    if row.removed:
        words += (
            f"; alone this saves {percent(row.parameters_share)} of the parameters and "
            f"{macs(row.removed * group.unit_macs)}"
        )
    asked = None if row.fixed is None else round(group.units * (1.0 - row.fixed))
    if asked is not None and asked != row.kept:
        words += f". You asked for {asked}: “round to” and layers that would be empty allow {row.kept}"
    st.markdown(f"{words}.")


def _edit(session_id: str, row: GroupRow, action: Action, key: str | None) -> None:
    from dashboard import stored

    store = backend.store()
    session = store.get_session(session_id)
    sheet = stored.group_sheet(store.get_model(session.model_id)) if session.model_id else None
    if sheet is None:
        return
    kept = st.session_state[key] if action == "fix" and key else row.kept
    sparsity = 1.0 - float(kept) / row.group.units
    DraftEditor(session).edit(lambda plan: with_groups(plan, sheet, [row.group], action, sparsity))
    st.session_state[BY_PANEL] = st.session_state.get(BY_PANEL, 0) + 1


def draw_consequences(sheet: GroupSheet, plan: Plan) -> None:
    """What protections, fixed sparsities and kinds that are left out mean for other layers, before anything runs."""
    said = [item.sentence for item in consequences(sheet, plan)]
    kinds = tuple(getattr(METHODS[EXACT].Settings.parse(_kinds(plan)), "kinds", ()))
    whole = left_out(sheet, kinds)
    if whole:
        parts = [f"{count} × {KINDS[kind]}" for kind, count in whole.items()]
        said.append(f"The method's settings leave out {', '.join(parts)}: these groups stay whole unless you fix them.")
    if not said:
        return
    with st.container(border=True, key="plan-consequences"):
        st.markdown("**What this plan means for other layers**")
        lines = [f"- {escape(sentence, markdown=True)}" for sentence in said]
        st.markdown("\n".join(lines[:_MOST]))
        if lines[_MOST:]:
            with st.expander(f"{len(lines) - _MOST} more"):
                st.markdown("\n".join(lines[_MOST:]))


def _kinds(plan: Plan) -> dict[str, object]:
    kinds = plan.method_settings.get("kinds")
    return {} if kinds is None else {"kinds": kinds}
