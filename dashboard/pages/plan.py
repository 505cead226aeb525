"""Plan: how much to prune and where, with an instant estimate, before anything runs."""

from collections.abc import Sequence
from typing import Any

import streamlit as st

from core.pruning.plan import Plan
from core.store.records import Model, Session
from dashboard import backend, state
from dashboard.components.charts import draw
from dashboard.components.code_drawer import code_drawer
from dashboard.components.empty import empty, require_model
from dashboard.components.format import escape, short
from dashboard.components.plan_charts import layer_bars
from dashboard.components.plan_controls import draw_controls, draw_schedule
from dashboard.components.plan_draft import DraftEditor
from dashboard.components.plan_estimate import Preview, draw_estimate, preview_of, usable_sensitivity
from dashboard.components.plan_files import draw_files
from dashboard.components.plan_layers import prunable_layers
from dashboard.components.plan_run import draw_run
from dashboard.components.plan_table import draw_bulk, draw_table

TITLE = "Plan"
ICON = ""
URL = "plan"
ORDER = 40

_TALL_PX = 560


def render() -> None:
    """Draw the page."""
    session, model = require_model()
    layers = prunable_layers(model)
    if not layers:
        st.title("Plan")
        empty("Nothing to prune in this model", "It has no convolution or linear layer with weights of its own.")
        return
    editor = DraftEditor(session)
    if editor.conflict and f"plan-{editor.generation}-slider" not in st.session_state:
        editor.reload()  # the page is drawn from nothing: there is no stale view that an edit could have come from
    _head(editor)
    _conflict(editor)
    _unknown_layers(editor, [str(layer["name"]) for layer in layers])
    left, right = st.columns([2, 3], gap="large")
    with left:
        problem = draw_controls(editor)
        run = st.container()
        with st.expander("Schedule", icon=":material/timeline:"):
            draw_schedule(editor.plan)
    sensitivity = usable_sensitivity(session, editor.plan)
    shown = preview_of(editor.plan, model, sensitivity)
    dense = state.dense_variant(session)
    metric = "mIoU" if model.description.get("task") == "segmentation" else "accuracy"
    with right:
        draw_estimate(
            shown, editor.plan, metric=metric, sensitivity=sensitivity, dense_sizes=dense.sizes if dense else {}
        )
        _bars(editor.plan, layers, shown)
    with run:
        draw_run(editor, session, reason=_why_not(session, problem, shown))
    st.subheader("Layers")
    with st.container(horizontal=True):
        draw_bulk(editor, layers)
    draw_table(editor, layers, shown.planned)
    code_drawer("plan", _facts(session, model, editor.plan))


def _head(editor: DraftEditor) -> None:
    """Title, and what concerns the draft as a whole: undo, redo, reset, file."""
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute", key="plan-head"):
        st.title("Plan", width="content")
        with st.container(horizontal=True, horizontal_alignment="right", width="content", gap="small"):
            past, future = editor.history.past, editor.history.future
            if st.button("Undo", icon=":material/undo:", disabled=not past, key="plan-undo"):
                editor.undo()
                st.rerun()
            if st.button("Redo", icon=":material/redo:", disabled=not future, key="plan-redo"):
                editor.redo()
                st.rerun()
            if st.button("Reset", icon=":material/restart_alt:", key="plan-reset", disabled=editor.plan == Plan()):
                editor.edit(lambda _: Plan(), redraw=True)
                st.rerun()
            draw_files(editor)


def _conflict(editor: DraftEditor) -> None:
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


def _unknown_layers(editor: DraftEditor, known: Sequence[str]) -> None:
    """Layers in the draft that this model does not have (another model was opened, or a plan was loaded)."""
    names = set(known)
    strange = [name for name in (*editor.plan.overrides, *editor.plan.protected) if name not in names]
    if not strange:
        return
    shown = ", ".join(escape(short(name, 30), markdown=True) for name in strange[:3]) + (
        " …" if len(strange) > 3 else ""
    )
    st.warning(
        f"The plan names {len(strange)} layers that this model does not have: {shown}.", icon=":material/link_off:"
    )
    if st.button("Remove them from the plan", key="plan-drop-unknown"):

        def dropped(plan: Plan) -> Plan:
            return plan.changed(
                overrides={name: value for name, value in plan.overrides.items() if name in names},
                protected=tuple(name for name in plan.protected if name in names),
            )

        editor.edit(dropped, redraw=True)
        st.rerun()


def _bars(plan: Plan, layers: Sequence[dict[str, Any]], shown: Preview) -> None:
    if shown.body is None:
        return
    by_size = st.segmented_control(
        "Bars show",
        ("share", "size"),
        default="share",
        required=True,
        format_func=lambda name: "share of each layer" if name == "share" else "weights",
        key="plan-bars",
        label_visibility="collapsed",
    )
    picture = layer_bars(layers, plan, shown.planned, by_size=by_size == "size")
    tall = picture.layout.height > _TALL_PX
    with st.container(height=_TALL_PX if tall else "content", border=False, key="plan-bars-box"):
        most = max(shown.planned, key=lambda name: shown.planned[name])
        draw(
            picture,
            key="plan-bars-chart",
            alt=f"Bar per layer: what stays and what goes; most goes from {short(most, 40)}",
        )


def _why_not(session: Session, problem: str | None, shown: Preview) -> str | None:
    """Why the plan cannot run, or None."""
    if problem is not None:
        return problem
    if shown.problem is not None:
        return shown.problem
    if session.data_id is None:
        return "Open data on the Start page first: a variant is measured as soon as it is made."
    return None


def _facts(session: Session, model: Model, plan: Plan) -> dict[str, Any]:
    """What the code drawer needs to know."""
    data = backend.store().get_dataset(session.data_id) if session.data_id else None
    return {"model": model.spec, "data": data.spec if data else None, "plan": plan.to_json()}
