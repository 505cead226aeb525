"""“Smallest model that keeps X %”, “best within Y ms or Z MB” and the Pareto front: asked, followed, taken over."""

from collections.abc import Mapping
from typing import Any

import streamlit as st

from core.errors import EspalierError
from core.methods import METHODS
from core.planning.settings import SearchSettings
from core.pruning.plan import Plan
from core.store.records import Job, JobState, Session
from dashboard import backend, state
from dashboard.components.charts import draw
from dashboard.components.fold import fold
from dashboard.components.format import escape
from dashboard.components.jobs import POLL_S, job_banner, latest_job, submit
from dashboard.components.plan_controls import removes_units
from dashboard.components.plan_draft import DraftEditor
from dashboard.components.plan_run import default_name
from dashboard.components.search_charts import points_figure, points_table
from dashboard.components.tables import table
from dashboard.following import follow

__all__ = ["draw_search", "taken_over"]

KIND = "search"
_GOALS = {
    "smallest": "Smallest that keeps the score",
    "fastest": "Best within limits",
    "front": "Pareto front",
}
_COSTS = {"bytes": "file size", "parameters": "parameters", "macs": "MACs", "ms": "milliseconds"}
_SAMPLERS = {"curves": "from little to much", "optuna": "then Optuna's sampler"}


def draw_search(editor: DraftEditor, session: Session, *, metric: str, reason: str | None) -> None:
    """The question, its button, and what came out. ``reason``: why nothing can be searched here."""
    if METHODS[editor.plan.method].removes == "nothing":
        return
    job = latest_job(session.id, KIND)
    fold(
        "Find a plan for me",
        lambda: _search(editor, session, job, metric, reason),
        key="plan-search-open",
        icon=":material/travel_explore:",
        expanded=job is not None and job.state.live,
        alone=False,
    )


def _search(editor: DraftEditor, session: Session, job: Job | None, metric: str, reason: str | None) -> None:
    settings = _question(editor.plan, session, metric)
    if METHODS[editor.plan.method].trains:
        st.caption("This method trains: the search measures plans before training, which usually brings some back.")
    asked = st.button(
        "Find it",
        type="primary",
        icon=":material/search:",
        disabled=reason is not None or settings is None or (job is not None and job.state.live),
        help=reason or "Prunes and measures in the background; what the draft fixes and protects stays so.",
        key="plan-search-start",
        width="stretch",
    )
    if asked and settings is not None:
        payload = {"plan": editor.plan.changed(name="").to_json(), "settings": settings.to_json()}
        job = submit(KIND, payload, session=session, title=_GOALS[settings.goal])
    if job is not None:
        _draw_job(editor, session, job, metric)


def _question(plan: Plan, session: Session, metric: str) -> SearchSettings | None:
    """What is asked for; None while it is not complete (and says what is missing)."""
    units = removes_units(plan.method)
    goal = st.segmented_control(
        "Goal",
        list(_GOALS),
        default="smallest",
        required=True,
        format_func=lambda name: _GOALS[name],
        key="plan-search-goal",
        label_visibility="collapsed",
    )
    left, right = st.columns(2, vertical_alignment="bottom")
    body: dict[str, Any] = {"goal": goal}
    if goal == "smallest":
        dense = state.dense_variant(session)
        now = float(((dense.metrics.get("select") or {}).get("score") or 0.0) if dense else 0.0)
        keep = left.number_input(
            f"Keep at least, % {metric}",
            0.0,
            100.0,
            value=round(max(0.0, 100 * now - 1.0), 1),
            step=0.1,
            key="plan-search-keep",
            help=f"On the selection split, where the dense model has {100 * now:.1f} %.",
        )
        body["keep"] = None if keep is None else round(float(keep) / 100, 6)
    elif goal == "fastest":
        body |= _limits(left, right, units=units)
    if goal != "fastest":
        costs = list(_COSTS) if units else ["bytes", "parameters"]
        place = right if goal == "smallest" else left
        body["cost"] = place.selectbox(
            "What is to be small", costs, format_func=lambda name: _COSTS[name], key=f"plan-search-cost-{units}"
        )
    if goal == "front":
        body["sampler"] = right.selectbox(
            "Points", list(_SAMPLERS), format_func=lambda name: _SAMPLERS[name], key="plan-search-sampler"
        )
    images, most = st.columns(2)
    chosen_images = images.number_input("Images per measurement", 16, 100_000, value=1000, key="plan-search-images")
    chosen_most = most.number_input("Measurements at most", 1, 500, value=16, key="plan-search-most")
    body |= {"images": int(chosen_images or 1000), "evaluations": int(chosen_most or 16)}
    if goal == "smallest":
        body["sure"] = st.toggle(
            "Also at the lower end of the 95 % interval",
            key="plan-search-sure",
            help="Of the paired difference to the dense model. Safer, and less small.",
        )
    try:
        return SearchSettings.parse(body)
    except EspalierError as error:
        st.caption(escape(_plain(str(error)), markdown=True))
        return None


def _limits(left: Any, right: Any, *, units: bool) -> dict[str, Any]:
    kilobytes = left.number_input(
        "Kilobytes at most", min_value=0.1, value=None, step=10.0, key="plan-search-kb", placeholder="no limit"
    )
    ms = right.number_input(
        "Milliseconds at most",
        min_value=0.001,
        value=None,
        step=0.1,
        key="plan-search-ms",
        placeholder="no limit" if units else "needs a method that removes units",
        disabled=not units,
        help="One image in ONNX Runtime, one thread, from layers timed on this machine.",
    )
    return {
        "within_bytes": None if kilobytes is None else round(1000 * float(kilobytes)),
        "within_ms": None if ms is None or not units else float(ms),
        "cost": "ms" if ms is not None and units else "bytes",
    }


def _plain(problem: str) -> str:
    """The sentence of a validator, without pydantic's frame around it."""
    return f"Please {problem.split('Value error, ')[-1].split(' (got')[0]}." if "Value error" in problem else problem


def _draw_job(editor: DraftEditor, session: Session, job: Job, metric: str) -> None:
    """Progress while it is live; the points, whatever became of it; and what to do with the best of them."""
    if job.state.live:
        job_banner(job, key="search")
        follow(_follow, every_s=POLL_S)(job.id, metric)
        return
    if job.state is not JobState.DONE:
        job_banner(job, key="search")
    result = job.result or backend.store().partial(job.id)
    if not result:
        return
    if result.get("sentence"):
        said = escape(result["sentence"], markdown=True)
        if result["best"] is None and result["target"]["goal"] != "front":
            st.warning(said, icon=":material/block:")
        else:
            st.markdown(said)
    _draw_points(result, metric)
    if job.state is not JobState.DONE and result["plans"]:
        st.caption("Stopped before its end. Asked again, it goes on with what was measured.")
    _draw_choice(editor, session, result)
    for note in result.get("notes") or ():
        st.caption(escape(note, markdown=True))


def _follow(job_id: str, metric: str) -> None:
    partial = backend.store().partial(job_id)
    if partial and partial.get("plans"):
        _draw_points(partial, metric)
    else:
        st.caption("Every plan that was measured will be a point here.")


def _draw_points(result: Mapping[str, Any], metric: str) -> None:
    if not result["plans"]:
        return
    cost = result["target"]["cost"]
    draw(
        points_figure(result, metric=metric),
        key="plan-search-chart",
        alt=f"{len(result['plans'])} measured plans: {metric} over {_COSTS[cost]}",
    )
    kept = "" if result["target"]["goal"] == "front" else " Filled ones keep what was asked."
    st.caption(f"Every point was pruned and measured, with its 95 % interval.{kept}")


def _draw_choice(editor: DraftEditor, session: Session, result: Mapping[str, Any]) -> None:
    """Which of the measured plans to take: the best one unless somebody chooses another."""
    plans = result["plans"]
    if not plans:
        return
    with st.expander(f"All {len(plans)} measured plans", icon=":material/list:"):
        table(points_table(result), key="plan-search-table", alt="Measured plans with score and cost")
    start = result["best"] if result["best"] is not None else result.get("nearest")
    numbers = list(range(len(plans)))
    chosen = st.selectbox(
        "Plan",
        numbers,
        index=start if start is not None else result["front"][-1] if result["front"] else 0,
        format_func=lambda number: _label(result, number),
        key=f"plan-search-choice-{len(plans)}-{start}",
    )
    plan = Plan.parse(plans[int(chosen or 0)]["plan"])
    take, run = st.columns(2)
    if take.button("Take over into the draft", icon=":material/edit:", key="plan-search-take", width="stretch"):
        editor.edit(lambda draft: taken_over(draft, plan), redraw=True)
        st.rerun()
    if run.button("Run it as a variant", icon=":material/play_arrow:", key="plan-search-run", width="stretch"):
        name = default_name(plan)
        submit("prune", {"plan": plan.to_json(), "name": name}, session=session, title=f"Prune: {name}")
        st.toast("Queued. It runs in the background: you can go on.", icon=":material/check:")


def _label(result: Mapping[str, Any], number: int) -> str:
    body = result["plans"][number]
    mark = " · best" if number == result["best"] else " · nearest" if number == result.get("nearest") else ""
    return f"{number + 1}: {100 * body['measured']['score']:.1f} %, {default_name(Plan.parse(body['plan']))}{mark}"


def taken_over(draft: Plan, found: Plan) -> Plan:
    """The draft with what a search found: a method that trains stays, and gets the amounts."""
    if not METHODS[draft.method].trains:
        return found.changed(name=draft.name)
    return draft.changed(sparsity=found.sparsity, allocation=found.allocation, overrides=found.overrides)
