"""Measuring latency from the Compare page: which variants, which settings; the job; what it says of the machine."""

from collections.abc import Sequence

import streamlit as st

from core.analysis.latency import LatencySettings
from core.analysis.runtimes import LATENCY_RUNTIMES
from core.store.records import Measurement, Session
from dashboard.components.compare_data import Row
from dashboard.components.compare_grid import draw_grid
from dashboard.components.compare_predicted import draw_predicted, predicted_of
from dashboard.components.fold import fold
from dashboard.components.format import ago, escape, short
from dashboard.components.forms import settings_form
from dashboard.components.jobs import job_banner, latest_job, submit
from dashboard.components.presenter import presenting

__all__ = ["draw_latency"]


def draw_latency(rows: Sequence[Row], session: Session, newest: Measurement | None) -> None:
    """The form, the running job, and the words that belong to the newest measurement."""
    timed = newest is not None or any(not row.dense and predicted_of(row.variant) is not None for row in rows)
    if presenting() and not timed:
        return
    st.header("Latency", anchor=False)
    job = latest_job(session.id, "measure")
    if job is not None and job.state.live:
        job_banner(job, key="latency")
        st.caption("Nothing else computes meanwhile. Leave the machine alone for honest numbers.")
        return
    if newest is not None:
        _machine(newest)
        draw_grid(rows)
    draw_predicted(rows)
    fold(
        "Measure latency",
        lambda: _form(rows, session),
        key="latency-form",
        icon=":material/timer:",
        expanded=newest is None,
    )
    if job is not None:
        job_banner(job, key="latency-ended")


def _form(rows: Sequence[Row], session: Session) -> None:
    """What is to be timed, in which runtimes and how."""
    by_id = {row.variant.id: row for row in rows}
    left, right = st.columns([3, 2])
    chosen = left.multiselect(
        "Variants",
        list(by_id),
        default=list(by_id)[:6],
        format_func=lambda key: short(by_id[key].variant.name, 40),
        key="latency-variants",
        help="The dense model is always measured beside them: ratios are taken pair by pair.",
    )
    missing = {name: reason for name, runtime in LATENCY_RUNTIMES.items() if (reason := runtime().unavailable())}
    runtimes = right.multiselect(
        "Runtimes",
        [name for name in LATENCY_RUNTIMES if name not in missing],
        default=[name for name in LatencySettings().runtimes if name not in missing],
        format_func=lambda name: LATENCY_RUNTIMES[name].title,
        key="latency-runtimes",
    )
    for name, why in missing.items():
        right.caption(escape(f"{LATENCY_RUNTIMES[name].title}: {why}", markdown=True))
    with st.container(horizontal=True, vertical_alignment="center"):
        place = st.container(width="content")  # the button stands before the settings that it needs
        with st.popover("Settings", icon=":material/tune:"):
            start = LatencySettings(runtimes=tuple(runtimes)) if runtimes else LatencySettings()
            settings = settings_form(LatencySettings, key="latency-settings", value=start, exclude=("runtimes",))
    dense = [row.variant.id for row in rows if row.dense]
    wanted = [*dense, *(key for key in chosen if key not in dense)]
    reason = None if len(wanted) > len(dense) else "Choose at least one variant besides the dense model."
    if not runtimes:
        reason = "Choose at least one runtime."
    if reason is not None:
        st.caption(reason)
    if place.button(
        "Measure",
        type="primary",
        icon=":material/timer:",
        disabled=settings is None or reason is not None,
        key="latency-start",
    ):
        assert settings is not None
        payload = {"variant_ids": wanted, "settings": settings.to_json()}
        submit("measure", payload, session=session, title=f"Latency of {len(wanted)} variants")
        st.rerun()


def _machine(newest: Measurement) -> None:
    machine = newest.result.get("machine") or {}
    facts = [str(machine[key]) for key in ("cpu", "system") if machine.get(key)]
    st.caption(escape(" · ".join([f"Newest measurement {ago(newest.created)}", *facts]), markdown=True))
    sentence = newest.result.get("sentence")
    if newest.result.get("busy"):
        st.warning(
            escape(sentence or "The machine was busy while measuring: repeat it when it is quiet.", markdown=True),
            icon=":material/warning:",
        )
    elif sentence:
        st.caption(escape(sentence, markdown=True))
