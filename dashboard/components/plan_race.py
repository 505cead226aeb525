"""Several methods or schedules with this plan's sparsity and the same number of epochs: one run each."""

import secrets

import streamlit as st

from core.errors import EspalierError
from core.jobs.racing import race_plans, racers, schedules_of
from core.methods import METHODS
from core.pruning.plan import Plan
from core.store.records import Session
from dashboard import state
from dashboard.components.course import course_of
from dashboard.components.format import escape
from dashboard.components.jobs import submit

__all__ = ["draw_race"]

_MOST_RUNS = 7


def draw_race(plan: Plan, session: Session, *, reason: str | None) -> None:
    """The choice of racers, and the button that queues them. ``reason``: why nothing can run as things stand."""
    with st.expander("Race methods at the same budget", icon=":material/flag:"):
        known = racers()
        start = [name for name in known if name in (plan.method, "dg2pf", "gradual", "one_shot_fine_tune")]
        methods = st.multiselect(
            "Methods", known, default=start, format_func=lambda name: METHODS[name].title, key="plan-race-methods"
        )
        possible = list(dict.fromkeys(item for name in methods for item in schedules_of(name)))
        schedules = st.multiselect(
            "Schedules",
            possible,
            key="plan-race-schedules",
            placeholder="each method's own",
            help="For the methods that follow one: a run for each.",
        )
        course = course_of(plan)
        epochs = st.number_input(
            "Epochs of each run", 1, 10_000, value=min(course.epochs, 40) if course else 20, key="plan-race-epochs"
        )
        try:
            plans = race_plans(plan, methods, epochs=int(epochs or 1), schedules=schedules)
        except EspalierError as error:
            plans, reason = [], str(error)
        if len(plans) > _MOST_RUNS:
            reason = f"At most {_MOST_RUNS} runs race at once; this choice gives {len(plans)}."
        st.caption(
            escape(
                reason
                or f"{len(plans)} runs to {100 * plan.sparsity:g} % with seed {plan.seed}, one by one, without "
                "early stopping.",
                markdown=True,
            )
        )
        if st.button(
            "Queue the race", icon=":material/flag:", disabled=reason is not None, key="plan-race-run", width="stretch"
        ):
            race = secrets.token_hex(4)
            for name, one in plans:
                label = f"{name} {100 * one.sparsity:g} %"
                payload = {"plan": one.changed(name="").to_json(), "name": label, "race": race}
                submit("prune", payload, session=session, title=f"Race: {label}")
            state.go("runs")
