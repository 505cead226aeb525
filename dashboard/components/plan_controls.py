"""The left side of the Plan page: how much, shared how, ranked by what, done by which method."""

from typing import Any

import streamlit as st

from core.errors import EspalierError
from core.methods import METHODS
from core.methods.naming import effective, own_default
from core.pruning.allocation import ALLOCATIONS
from core.pruning.criteria import CRITERIA
from core.pruning.groups import GROUP_ALLOCATIONS, GROUP_CRITERIA
from core.pruning.plan import Plan
from core.pruning.schedules import SCHEDULES, levels
from core.settings import Settings
from dashboard.components.charts import draw
from dashboard.components.course import teachers
from dashboard.components.forms import settings_form
from dashboard.components.plan_charts import schedule_figure
from dashboard.components.plan_draft import DraftEditor

__all__ = ["draw_controls", "draw_schedule", "removes_units", "schedule_of"]

_ONE_SHOT = "one_shot"
_SLIDER_TOP = 99.0
_FIELD_TOP = 99.99
_IN_MENUS = ("allocation", "criterion")


def draw_controls(editor: DraftEditor) -> str | None:
    """Draw the controls and save what was changed. Returns why the plan cannot run as it stands, or None."""
    plan, key = editor.plan, f"plan-{editor.generation}"
    # What the menu below already says decides which menus are drawn above it.
    coming = str(st.session_state.get(f"{key}-method", plan.method))
    units = removes_units(coming)
    sparsity = _sparsity(plan, key, units=units)
    as_shown = plan if coming == plan.method else plan.changed(method=coming, method_settings={})
    shares = _shares(as_shown, key, units=units)
    method = _choice("Method", METHODS, plan.method, f"{key}-method", "How the network gets there.")
    st.caption(METHODS[method].provenance)
    with st.expander("Method settings", icon=":material/tune:"):
        kind: type[Settings] = METHODS[method].Settings
        start = _start_settings(kind, plan) if method == plan.method else kind()
        settings = settings_form(
            kind,
            key=f"{key}-{method}",
            value=start,
            exclude=_IN_MENUS if units else (),
            choices={"teacher_folder": teachers(editor.session)} if METHODS[method].trains else None,
        )
        seed = st.number_input(
            "Seed", min_value=0, value=plan.seed, step=1, key=f"{key}-seed", help="Same plan and seed, same result."
        )

    def edited(before: Plan) -> Plan:
        values: dict[str, Any] = {"sparsity": sparsity, "method": method}
        values |= {"method_settings": before.method_settings if method == before.method else {}}
        values |= {"seed": int(seed if seed is not None else before.seed)}
        # Defaults that nobody touched stay unwritten: looking at a plan is no edit.
        if settings is not None and settings != start:
            values["method_settings"] = settings.to_json()
        shown = before if method == before.method else before.changed(method=method, method_settings={})
        changed = {name: value for name, value in shares.items() if value != effective(shown, name)}
        # What the menus say is the plan's own: the method's settings no longer choose for it.
        left_to_plan = {name: "plan" for name in changed if own_default(method, name) is not None}
        return before.changed(**{**values, **changed, "method_settings": {**values["method_settings"], **left_to_plan}})

    editor.edit(edited)
    return None if settings is not None else "Correct the method settings first."


def removes_units(method: str) -> bool:
    """Whether a method takes whole units of groups away, so that controls and table belong to groups."""
    return method in METHODS and METHODS[method].removes == "units"


def _shares(plan: Plan, key: str, *, units: bool) -> dict[str, str]:
    """How the cut is shared, and what goes first: menus of what layers know, or of what groups know."""
    allocations: Any = GROUP_ALLOCATIONS if units else ALLOCATIONS
    criteria: Any = GROUP_CRITERIA if units else CRITERIA
    whole, part = ("groups", "units of a group") if units else ("layers", "weights of a layer")
    key = f"{key}-units-{plan.method}" if units else key
    menus = {
        "allocation": ("Allocation", allocations, f"How the cut is shared by {whole}."),
        "criterion": ("Criterion", criteria, f"Which {part} go first."),
    }
    chosen = {}
    for name, (label, registry, help_text) in menus.items():
        if units and own_default(plan.method, name) is None:
            continue  # this method decides so itself
        now = effective(plan, name)
        start = now if now in registry else str(getattr(Plan(), name))
        chosen[name] = _choice(label, registry, start, f"{key}-{name}", help_text)
    return chosen


def _start_settings(kind: type[Settings], plan: Plan) -> Settings:
    """The plan's settings of its method; the defaults where an older version wrote something else."""
    try:
        return kind.parse(plan.method_settings)
    except EspalierError:
        return kind()


def _sparsity(plan: Plan, key: str, *, units: bool) -> float:
    """A slider for the quick way and a field for the exact one; both show the same number."""
    slider, field = f"{key}-slider", f"{key}-exact"
    percent = round(100.0 * plan.sparsity, 4)
    st.session_state.setdefault(slider, min(percent, _SLIDER_TOP))
    st.session_state.setdefault(field, min(percent, _FIELD_TOP))

    def follow_slider() -> None:
        st.session_state[field] = float(st.session_state[slider])

    def follow_field() -> None:
        if st.session_state[field] is not None:
            st.session_state[slider] = min(float(st.session_state[field]), _SLIDER_TOP)

    left, right = st.columns([3, 1], vertical_alignment="bottom")
    left.slider(
        "Sparsity, %",
        min_value=0.0,
        max_value=_SLIDER_TOP,
        step=1.0,
        format="%.4g",
        key=slider,
        help="Share of the whole network that goes; the method's settings say of what: parameters, MACs or channels."
        if units
        else "Share of the weights removed over all layers that are neither protected nor fixed.",
        on_change=follow_slider,
    )
    right.number_input(
        "Sparsity, exactly, %",
        min_value=0.0,
        max_value=_FIELD_TOP,
        step=0.1,
        format="%.4g",
        key=field,
        label_visibility="collapsed",
        on_change=follow_field,
    )
    entered = st.session_state[field]
    # A plan from a file may be finer than the field: it stays as it is until somebody moves something.
    if entered is None or float(entered) == min(percent, _FIELD_TOP):
        return plan.sparsity
    return round(float(entered) / 100.0, 6)


def _choice(label: str, registry: Any, current: str, key: str, help_text: str) -> str:
    """A menu over a registry: its members' titles, and the chosen one's summary below."""
    names = list(registry)
    chosen = st.selectbox(
        label,
        names,
        index=names.index(current) if current in names else 0,
        format_func=lambda name: getattr(registry[name], "title", name),
        key=key,
        help=help_text,
    )
    st.caption(registry.summary(chosen))
    return str(chosen)


def schedule_of(plan: Plan) -> str:
    """The schedule that the plan's method follows; methods that do not say so do everything at once."""
    name = str(plan.method_settings.get("schedule", _ONE_SHOT))
    return name if name in SCHEDULES else _ONE_SHOT


def draw_schedule(plan: Plan) -> None:
    """The schedule of this plan, bold, among the others that methods may follow."""
    name = schedule_of(plan)
    steps = int(plan.method_settings.get("steps", 1 if name == _ONE_SHOT else 10))
    marks = [((step + 1) / steps, level) for step, level in enumerate(levels(name, plan.sparsity, steps))]
    times = [index / 60 for index in range(61)]
    others = {
        other: [(t, SCHEDULES[other](t, plan.sparsity)) for t in times]
        for other in SCHEDULES
        if other not in (name, _ONE_SHOT)
    }
    draw(
        schedule_figure([(t, SCHEDULES[name](t, plan.sparsity)) for t in times], marks, others=others, label=name),
        key="plan-schedule",
        alt=f"Schedule {name}: sparsity over the run, ending at {100 * plan.sparsity:g} %",
    )
    if name == _ONE_SHOT:
        st.caption(
            "One-shot removes everything in one step. The thin lines are schedules for methods that train in between."
        )
    else:
        st.caption(SCHEDULES.summary(name))
