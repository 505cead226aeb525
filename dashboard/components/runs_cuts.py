"""What a run has cut: the network in numbers before and now, what is left of every group, and the list of cuts."""

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from core.errors import StoreError
from core.store.records import Job
from dashboard import backend
from dashboard.components.badges import number_html, numbers
from dashboard.components.charts import draw
from dashboard.components.cut_data import Cut, costs_of, cuts_of, reason_words, summary_words
from dashboard.components.format import NOTHING, count, escape, macs, milliseconds, percent
from dashboard.components.tables import table

__all__ = ["cut_rows", "draw_cuts"]

_TALL_PX = 520
_COSTS: dict[str, tuple[str, Callable[[float | None], str], bool | None]] = {
    "parameters": ("Parameters", count, None),
    "macs": ("MACs", macs, None),
    "milliseconds": ("Latency, predicted", milliseconds, False),
}


def draw_cuts(job: Job, history: Mapping[str, Any], shown: go.Figure | None) -> None:
    """Draw them; ``shown`` is the picture of what is left. Nothing for a run that removes no units while it trains."""
    if shown is None:
        return
    numbers(_numbers(job, history))
    summary = summary_words(history) or "Nothing was cut yet."
    with st.container(height=_TALL_PX if shown.layout.height > _TALL_PX else "content", border=False):
        draw(shown, key=f"run-left-{job.id}", alt=f"Units left of every group by epoch. {summary}")
    st.caption(escape(summary, markdown=True))
    cuts = cuts_of(history)
    if not cuts:
        return
    with st.expander(
        f"What was cut when, and why · {len(cuts)}", icon=":material/content_cut:", key=f"run-cuts-{job.id}"
    ):
        reason = reason_words(job.payload.get("plan") or {})
        st.caption(
            escape(
                f"{reason} The last column sets what these units cost beside the cheapest units that stayed: below 1× "
                "nothing cheaper was left; above it, rounding or the budget asked for them.",
                markdown=True,
            )
        )
        table(pd.DataFrame(cut_rows(cuts)), key=f"run-cut-list-{job.id}", alt=f"{len(cuts)} cuts, the newest first")


def cut_rows(cuts: list[Cut]) -> list[dict[str, str | int]]:
    """The rows of the list, newest removal first, within it in the order of the network."""
    ordered = sorted(cuts, key=lambda cut: -cut.step)
    return [
        {
            "epoch": cut.epoch,
            "step": cut.step,
            "group": cut.group,
            "went": cut.units,
            "left": f"{cut.left} of {cut.whole}",
            "cost beside the cheapest left": NOTHING if cut.relative is None else f"{cut.relative:.2f}×",
        }
        for cut in ordered
    ]


def _numbers(job: Job, history: Mapping[str, Any]) -> list[str]:
    """Before → now of what the run counts. Of the dense network the model's own description knows."""
    dense = _dense(job)
    found = []
    for name, (before, now) in costs_of(history).items():
        title, words, measured = _COSTS[name]
        whole = before if before is not None else dense.get(name)
        note = f"{words(whole)} before: {percent(1 - now / whole)} less" if whole else None
        found.append(number_html(title, words(now), measured=measured, note=note))
    return found


def _dense(job: Job) -> Mapping[str, Any]:
    try:
        session = backend.store().get_session(str(job.session_id))
        return backend.store().get_model(session.model_id).description if session.model_id else {}
    except StoreError:  # deleted meanwhile: the run's own numbers stay
        return {}
