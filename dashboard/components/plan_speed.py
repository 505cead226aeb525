"""“Will it be faster here?”: the answer in one sentence, from the plan's own largest layers, before anything runs."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from core.analysis.runtimes.base import runtime_title
from core.comb.sheet import GroupSheet
from core.errors import PlanError
from core.planning.faster import speed_questions
from core.pruning.plan import Plan
from core.store.records import Job, JobState, Model, Session
from dashboard import backend, stored
from dashboard.components.format import ago, escape, percent
from dashboard.components.jobs import job_banner, submit
from dashboard.components.tables import table

__all__ = ["draw_speed", "speed_frame"]

_KIND = "probe"
_CANDIDATES = {"channels": "fewer channels", "zeros": "zeros anywhere", "pattern": "2:4 zeros"}


def draw_speed(
    session: Session,
    plan: Plan,
    model: Model,
    *,
    sheet: GroupSheet | None,
    planned: Mapping[str, float] | None = None,
) -> None:
    """The question, the running measurement, or the answer; nothing for a plan that is impossible or idle.

    ``planned``: sparsity per layer, for plans that remove weights.
    """
    try:
        questions = speed_questions(
            plan, model.description, weights=stored.weight_statistics(model), sheet=sheet, planned=planned
        )
    except PlanError:
        return
    if not questions:
        return
    payload = {"questions": [question.to_json() for question in questions], "start": plan.start}
    jobs = [job for job in backend.store().jobs(session_id=session.id) if job.kind == _KIND]
    live = next((job for job in jobs if job.state.live), None)
    with st.container(border=True, key="plan-speed"):
        if live is not None:
            job_banner(live, key="probe")
            return
        done = [job for job in jobs if job.state is JobState.DONE and job.result]
        own = next((job for job in done if job.payload == payload), None)
        shown = own or next((job for job in done if job.payload.get("start") == plan.start), None)
        if shown is not None:
            _answer(shown, earlier=own is None)
        elif jobs and jobs[0].state is JobState.FAILED:
            job_banner(jobs[0], key="probe-ended")
        label = "Will it be faster here?" if own is None else "Measure again"
        if st.button(label, icon=":material/speed:", key="plan-speed-ask", type="tertiary" if own else "secondary"):
            settings = {} if own is None else {"seed": len(done)}  # another order, not the remembered answer
            submit(_KIND, {**payload, **({"settings": settings} if settings else {})}, session=session, title=label)
            st.rerun()
        if shown is None:
            st.caption(
                "Times the largest layers of this plan on this machine, in about two seconds. Nothing is pruned."
            )


def _answer(job: Job, *, earlier: bool) -> None:
    result = job.result or {}
    sentence = escape(str(result.get("sentence", "")), markdown=True)
    st.markdown(f":material/speed: **{sentence}**" if not earlier else f":material/history: {sentence}")
    if earlier:
        st.caption("Measured for an earlier state of this plan.")
        return
    if result.get("busy"):
        st.warning(escape(str(result.get("busy_sentence") or "The machine was busy."), markdown=True))
    rows: Sequence[Mapping[str, Any]] = result.get("rows") or ()
    share = result.get("work_share")
    part = f"{percent(share, 0)} of the network's work; " if share else ""
    threads = int(result.get("threads") or 1)
    st.caption(
        escape(
            f"Measured {ago(job.finished or job.created)} on {result.get('cpu')}, {threads} "
            f"thread{'s' * (threads > 1)}, one image: {_layers(rows)} of the plan alone, {part}"
            "interleaved rounds, 95 % intervals.",
            markdown=True,
        )
    )
    with st.expander("Every method in every runtime"):
        frame = speed_frame(rows)
        table(
            frame,
            key="plan-speed-table",
            alt=f"{len(frame)} speed-ups by runtime and method",
            columns={
                "speed-up": st.column_config.NumberColumn("Speed-up", format="%.2f×"),
                "dense, ms": st.column_config.NumberColumn("Dense, ms", format="%.3g"),
            },
        )
        for problem in result.get("problems") or ():
            st.caption(escape(str(problem), markdown=True))


def _layers(rows: Sequence[Mapping[str, Any]]) -> str:
    """How many layers the sentence speaks of: those of the first runtime."""
    number = len(rows[0].get("layers") or ()) if rows else 0
    return "the largest layer" if number == 1 else f"the {number} largest layers"


def speed_frame(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """One row per runtime and method."""
    return pd.DataFrame(
        [
            {
                "runtime": runtime_title(row["runtime"]),
                "method": _CANDIDATES.get(str(row["candidate"]), str(row["candidate"])),
                "speed-up": float(row["ratio"]),
                "interval": f"{row['low']:.2f}–{row['high']:.2f}",
                "dense against itself": f"{row['noise_low']:.2f}–{row['noise_high']:.2f}",
                "says": row["verdict"],
                "dense, ms": float(row["dense_ms"]),
                "layers": len(row.get("layers") or ()),
                "rounds": int(row["rounds"]),
            }
            for row in rows
        ]
    )
