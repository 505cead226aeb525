"""The top of the Plan page: what concerns the draft as a whole, and what stands in its way."""

import streamlit as st

from core.pruning.plan import Plan
from dashboard import backend
from dashboard.components.format import escape, short
from dashboard.components.group_facts import unknown_names
from dashboard.components.plan_controls import removes_units
from dashboard.components.plan_draft import DraftEditor
from dashboard.components.plan_files import draw_files
from dashboard.components.plan_versions import draw_versions

__all__ = ["draw_conflict", "draw_head", "draw_unknown_names"]


def draw_head(editor: DraftEditor) -> None:
    """Title, and what concerns the draft as a whole: undo, redo, reset, versions, file."""
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute", key="plan-head"):
        st.title("Plan", width="content")
        with st.container(horizontal=True, horizontal_alignment="right", width="content", gap="small"):
            past, future = editor.history.past, editor.history.future
            # Callbacks: they act before the page is drawn, wherever on it the button stands.
            for label, icon, off in (
                ("Undo", "undo", not past),
                ("Redo", "redo", not future),
                ("Reset", "restart_alt", editor.plan == Plan()),
            ):
                st.button(
                    label,
                    icon=f":material/{icon}:",
                    disabled=off,
                    key=f"plan-{label.lower()}",
                    on_click=_step,
                    args=(editor.session.id, label),
                )
            draw_versions(editor)
            draw_files(editor)


def _step(session_id: str, label: str) -> None:
    editor = DraftEditor(backend.store().get_session(session_id))
    if label == "Undo":
        editor.undo()
    elif label == "Redo":
        editor.redo()
    else:
        editor.edit(lambda _: Plan(), redraw=True)


def draw_conflict(editor: DraftEditor) -> None:
    """That somebody else has saved meanwhile, and the way out."""
    if not editor.conflict:
        return
    with st.container(border=True, key="plan-conflict"):
        st.warning(
            "**This plan was changed elsewhere**, in another tab or by somebody else. What you see here is not saved. "
            "Reload to see the newest plan, then repeat your edit.",
            icon=":material/sync_problem:",
        )
        if st.button("Reload the plan", type="primary", key="plan-reload"):
            editor.reload()
            st.rerun()


def draw_unknown_names(editor: DraftEditor, known: set[str]) -> None:
    """Names in the draft that mean nothing here (another model was opened, a plan was loaded, the method changed)."""
    strange = unknown_names(editor.plan, known)
    if not strange:
        return
    shown = ", ".join(escape(short(name, 30), markdown=True) for name in strange[:3]) + (
        " …" if len(strange) > 3 else ""
    )
    groups = all(name.startswith("group:") for name in strange) and not removes_units(editor.plan.method)
    said = (
        f"The plan names {len(strange)} groups, and this method knows layers only: {shown}."
        if groups
        else f"The plan names {len(strange)} layers or groups that this model does not have: {shown}."
    )
    st.warning(said, icon=":material/link_off:")
    if st.button("Remove them from the plan", key="plan-drop-unknown"):

        def dropped(plan: Plan) -> Plan:
            return plan.changed(
                overrides={name: value for name, value in plan.overrides.items() if name in known},
                patterns={name: value for name, value in plan.patterns.items() if name in known},
                protected=tuple(name for name in plan.protected if name in known),
            )

        editor.edit(dropped, redraw=True)
        st.rerun()
