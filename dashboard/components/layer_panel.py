"""One layer of the model: its weights under a cut line, and what the draft plan says of it."""

import streamlit as st

from core.store.records import Model
from dashboard import backend, stored
from dashboard.components.format import percent, plain
from dashboard.components.plan_draft import DraftEditor, with_bulk, with_override
from dashboard.components.weight_cut import Cut, cut_controls, draw_cut

__all__ = ["layer_panel"]


def layer_panel(session_id: str, model: Model, name: str) -> None:
    """Histogram, cut line and plan buttons; best a fragment: only this part is drawn anew while the line moves."""
    layer = stored.weight_statistics(model)[name]
    editor = DraftEditor(backend.store().get_session(session_id))
    st.subheader(f"`{plain(name).replace('`', '')}`", anchor=False)
    protected = name in editor.plan.protected
    planned = editor.plan.overrides.get(name)
    cut = cut_controls(layer, key=f"cut-{model.id[:12]}-{name}", start=0.5 if planned is None else planned)
    draw_cut(layer, cut, key=f"histogram-{model.id[:12]}-{name}")
    _plan_buttons(editor, name, cut, protected=protected, planned=planned)


def _plan_buttons(editor: DraftEditor, name: str, cut: Cut, *, protected: bool, planned: float | None) -> None:
    if editor.conflict:
        st.warning("The draft plan was changed elsewhere, in another tab or by someone with this link.")
        if st.button("Reload the draft", key=f"reload-{name}"):
            editor.reload()
            st.rerun()
        return
    with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
        if st.button(
            f"Fix at {percent(cut.sparsity)} in the plan", key=f"fix-{name}", type="primary", disabled=protected,
            help="Protected layers stay dense; end the protection first." if protected else None,
        ):  # fmt: skip
            editor.edit(lambda plan: with_override(plan, name, round(cut.sparsity, 4)), redraw=True)
            st.rerun()
        if planned is not None and st.button("Free again", key=f"free-{name}"):
            editor.edit(lambda plan: with_override(plan, name, None), redraw=True)
            st.rerun()
        keep = st.toggle("Protect", value=protected, key=f"protect-{name}-{editor.generation}", help="Stays dense.")
        if keep != protected:
            editor.edit(lambda plan: with_bulk(plan, [name], "protect" if keep else "free"), redraw=True)
            st.rerun()
    if planned is not None:
        st.caption(f"The draft plan fixes this layer at {percent(planned)}.")
    elif protected:
        st.caption("The draft plan keeps this layer dense.")
