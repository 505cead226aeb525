"""Plan: how much to prune and where, with an instant estimate, before anything runs."""

from collections.abc import Sequence
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core.comb.sheet import GroupSheet
from core.jobs.lineage import line_of
from core.methods import METHODS
from core.pruning.plan import Plan
from core.store.records import Dataset, Model, Session
from dashboard import backend, stored
from dashboard.components.charts import draw
from dashboard.components.code_drawer import code_drawer
from dashboard.components.course import draw_course
from dashboard.components.empty import empty, require_model
from dashboard.components.fold import fold
from dashboard.components.format import short
from dashboard.components.group_edit import BY_PANEL, BY_TABLE
from dashboard.components.group_estimate import draw_group_estimate
from dashboard.components.group_facts import known_names
from dashboard.components.group_plan import draw_bars, draw_groups, find_groups, nothing_to_remove
from dashboard.components.group_preview import preview_groups
from dashboard.components.plan_charts import layer_bars
from dashboard.components.plan_check import checks_of, draw_check
from dashboard.components.plan_controls import draw_controls, draw_schedule, removes_units
from dashboard.components.plan_diff import draw_diff
from dashboard.components.plan_draft import DraftEditor
from dashboard.components.plan_estimate import Preview, draw_estimate, preview_of, usable_sensitivity
from dashboard.components.plan_head import draw_conflict, draw_head, draw_unknown_names
from dashboard.components.plan_layer_panel import draw_layer_panel
from dashboard.components.plan_layers import layer_table, prunable_layers
from dashboard.components.plan_race import draw_race
from dashboard.components.plan_run import draw_run
from dashboard.components.plan_score import basis_for, expected_score
from dashboard.components.plan_search import draw_search
from dashboard.components.plan_speed import draw_speed
from dashboard.components.plan_start import Base, base_of, draw_reading, draw_start
from dashboard.components.plan_table import draw_bulk, draw_protected, draw_table
from dashboard.components.plan_times import draw_times, profile_of

TITLE = "Plan"
ICON = ""
URL = "plan"
ORDER = 40

_TALL_PX = 560


def render() -> None:
    """Draw the page."""
    session, dense_model = require_model()
    if not prunable_layers(dense_model):
        st.title("Plan")
        empty("Nothing to prune in this model", "It has no convolution or linear layer with weights of its own.")
        return
    editor = DraftEditor(session)
    if editor.conflict and f"plan-{editor.generation}-slider" not in st.session_state:
        editor.reload()  # the page is drawn from nothing: there is no stale view that an edit could have come from
    top = st.container()
    _body(editor, session, dense_model)
    with top:  # drawn last: it shows what the controls have just changed
        draw_head(editor)


def _body(editor: DraftEditor, session: Session, dense_model: Model) -> None:
    """Everything below the title."""
    draw_conflict(editor)
    base = base_of(session, dense_model, editor.plan.start)
    if base.model is None and base.variant is not None:
        draw_start(editor, base)
        draw_reading(session, base.variant)
        return
    model = base.model or dense_model
    layers = prunable_layers(model)
    units = removes_units(editor.plan.method)
    sheet = stored.group_sheet(model) if units else None
    names = {str(layer["name"]) for layer in layers}
    if not units or sheet is not None:
        draw_unknown_names(editor, known_names(sheet) if sheet is not None else names)
    left, right = st.columns([2, 3], gap="large")
    with left:
        draw_start(editor, base)
        problem = draw_controls(editor) or base.problem
        draw_course(editor.plan, session)
        run = st.container()
        if METHODS[editor.plan.method].trains:
            draw_race(editor.plan, session, reason=problem or _no_data(session))
        else:
            plan = editor.plan
            fold("Schedule", lambda: draw_schedule(plan), key="plan-schedule-open", icon=":material/timeline:")
    if removes_units(editor.plan.method) != units:
        st.rerun()  # the method was changed above: another page belongs to it
    if sheet is not None:
        impossible = _groups(editor, session, base, sheet, right, problem)
    else:
        impossible = _layers(editor, session, base, layers, right)
    with run:
        draw_run(editor, session, reason=problem or impossible or _no_data(session))
    code_drawer("plan", _facts(session, dense_model, editor.plan, base))


def _layers(
    editor: DraftEditor, session: Session, base: Base, layers: Sequence[dict[str, Any]], right: DeltaGenerator
) -> str | None:
    """Estimate, bars and table of layers. Returns why the plan is impossible, or None."""
    model = base.known_model
    sensitivity = None if base.further else usable_sensitivity(session, editor.plan)
    shown = preview_of(editor.plan, model, sensitivity)
    basis = None if base.further else basis_for(session, model, editor.plan)
    metric = "mIoU" if model.description.get("task") == "segmentation" else "accuracy"
    with right:
        checks = checks_of(session)
        draw_estimate(
            shown,
            editor.plan,
            expected=expected_score(
                basis,
                shown.effect(editor.plan),
                editor.plan,
                metric=metric,
                checks=checks,
            ),
            sensitivity=sensitivity,
            dense_sizes=base.sizes,
            latency=profile_of(model),
        )
        if not removes_units(editor.plan.method):
            draw_check(session, editor.plan, _data(session), metric=metric, reason=shown.problem, checks=checks)
            draw_search(editor, session, metric=metric, reason=_no_data(session))
        curves = sensitivity.result if sensitivity is not None else None
        if not removes_units(editor.plan.method) and shown.body is not None:
            draw_speed(session, editor.plan, model, sheet=None, planned=shown.planned)
        _bars(editor.plan, layers, shown)
        draw_diff(
            editor,
            session,
            model,
            sheet=stored.group_sheet(model),
            sizes=base.sizes,
            sensitivity=curves,
            basis=basis,
        )
    if removes_units(editor.plan.method):
        find_groups(session, model)
        return None
    st.header("A layer up close", anchor=False)
    chosen = draw_layer_panel(editor, session, base, layers, shown.planned)
    st.header("Layers", anchor=False)
    table = layer_table(layers, editor.plan, shown.planned)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        draw_bulk(editor, table)
        draw_protected(editor, table, [name for name in table.names if name in editor.plan.protected])
    key = f"plan-layers-{editor.generation}-{st.session_state.get(BY_PANEL, 0)}"
    if draw_table(editor, table, key=key, chosen=chosen):
        st.session_state[BY_TABLE] = st.session_state.get(BY_TABLE, 0) + 1
        st.rerun()  # the pictures above show the edit, too
    return shown.problem


def _groups(
    editor: DraftEditor,
    session: Session,
    base: Base,
    sheet: GroupSheet,
    right: DeltaGenerator,
    problem: str | None,
) -> str | None:
    """What stays, a check on images, bars, and everything about groups. Returns why the plan is impossible, or None."""
    if not sheet.groups:
        with right:
            nothing_to_remove(sheet)
        return "This model has no group that can shrink."
    model, shown = base.known_model, preview_groups(sheet, editor.plan)
    basis = None if base.further else basis_for(session, model, editor.plan)
    metric = "mIoU" if model.description.get("task") == "segmentation" else "accuracy"
    with right:
        checks, plan = checks_of(session), editor.plan
        expected = expected_score(basis, shown.effect, plan, metric=metric, checks=checks)
        times = profile_of(model)
        draw_group_estimate(shown, plan, expected=expected, dense_sizes=base.sizes, latency=times)
        draw_times(session, times)
        draw_check(session, plan, _data(session), metric=metric, reason=problem or shown.problem, checks=checks)
        draw_search(editor, session, metric=metric, reason=_no_data(session))
        draw_speed(session, plan, model, sheet=sheet)
        draw_bars(sheet, shown)
        draw_diff(editor, session, model, sheet=sheet, sizes=base.sizes, sensitivity=None, basis=basis)
    draw_groups(editor, session, base, sheet, shown, prunable_layers(model))
    return shown.problem


@st.fragment
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


def _no_data(session: Session) -> str | None:
    """Why nothing can run in this session, or None."""
    if session.data_id is None:
        return "Open data on the Start page first: a variant is measured as soon as it is made."
    return None


def _data(session: Session) -> Dataset | None:
    return backend.store().get_dataset(session.data_id) if session.data_id else None


def _facts(session: Session, model: Model, plan: Plan, base: Base) -> dict[str, Any]:
    """What the code drawer needs to know; ``before``: the plans of the variants that this one starts from."""
    store = backend.store()
    data = store.get_dataset(session.data_id) if session.data_id else None
    line = line_of(store, base.variant) if base.variant is not None else []
    return {
        "model": model.spec,
        "data": data.spec if data else None,
        "plan": plan.to_json(),
        "before": [variant.plan for variant in line if variant.plan is not None],
    }
