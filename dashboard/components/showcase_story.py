"""Under the slider of the Start page: why these layers, a check of the estimate, the file, the link."""

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from core.pruning.plan import Plan
from core.sharing.exports import exported_file
from core.store.records import Job, JobState, Session, Variant
from dashboard import backend, state

from .badges import number_html, numbers
from .format import escape, interval, percent, points, short
from .jobs import job_banner, submit

__all__ = ["draw_check", "draw_file", "draw_link", "draw_why", "reasons"]

_SHOWN = 3
_IMAGES = 1000
_LEVEL = 0.9


def reasons(layers: Sequence[Mapping[str, Any]], curves: Mapping[str, Any] | None) -> list[str]:
    """Which layers give most and least, each with what pruning it alone was measured to cost.

    Args:
        layers: rows of ``preview``: ``name``, ``sparsity``.
        curves: result of ``measure_sensitivity``; None or an estimate gives no costs.
    """
    ranked = sorted(layers, key=lambda row: -float(row["sparsity"]))
    measured = curves if curves is not None and not curves.get("estimated") else None
    shown = ranked if len(ranked) <= 2 * _SHOWN else [*ranked[:_SHOWN], *ranked[-_SHOWN:]]
    return [
        f"**{escape(short(str(row['name']), 40), markdown=True)}** gives {percent(row['sparsity'], 0)} of its weights"
        f"{_cost(str(row['name']), measured)}."
        for row in shown
    ]


def _cost(name: str, curves: Mapping[str, Any] | None) -> str:
    """“; pruned alone to 90 % it costs 0.3 points”."""
    known = [point for point in (curves or {}).get("layers", {}).get(name) or () if point.get("score") is not None]
    if curves is None or not known:
        return ""
    dense = float(curves["dense"]["score"])
    level = min(known, key=lambda point: abs(float(point["sparsity"]) - _LEVEL))
    lost = float(level["score"]) - dense
    return f"; pruned alone to {percent(level['sparsity'], 0)}, the network changes by {points(lost)}"


def draw_why(layers: Sequence[Mapping[str, Any]], curves: Mapping[str, Any] | None) -> None:
    """A popover with the reasons."""
    with st.popover("Why these layers?", icon=":material/help:"):
        st.markdown("\n".join(f"- {reason}" for reason in reasons(layers, curves)))
        st.caption(
            "LAMP takes the smallest weights, each compared with the larger ones of its own layer: no layer is emptied."
        )


def draw_check(session: Session, plan: Plan, metric: str) -> None:
    """A button that measures what the slider estimates, and what came of it."""
    payload = {"plan": plan.to_json(), "images": _IMAGES}
    checks = [job for job in backend.store().jobs(session_id=session.id) if job.kind == "check"]
    job = next((check for check in checks if check.payload == payload), None)
    if job is None or job.state not in (JobState.DONE, JobState.QUEUED, JobState.RUNNING):
        allowed = state.may_edit(session.id)
        asked = st.button(
            "Check it for real",
            icon=":material/fact_check:",
            key="showcase-check",
            disabled=not allowed,
            help=None if allowed else "This session belongs to somebody else.",
        )
        if asked:
            job = submit("check", payload, session=session, title=f"Check {percent(plan.sparsity, 0)}")
    if job is None:
        return
    if job.state is JobState.DONE:
        _checked(job, metric)
    else:
        job_banner(job, key="showcase-check")


def _checked(job: Job, metric: str) -> None:
    body = job.result or {}
    numbers(
        [
            number_html(
                f"Measured {metric}",
                percent(body.get("score")),
                n=body.get("n"),
                interval=interval(body.get("low"), body.get("high")),
                note=f"dense {percent(body.get('dense_score'))} on the same images of the selection split",
            )
        ]
    )


def draw_file(session: Session, variant: Variant) -> None:
    """Download the checked ONNX file of a variant, or make it."""
    workspace, store = backend.workspace(), backend.store()
    made = [item for item in store.measurements(variant.id, kind="onnx") if item.result.get("artifact")]
    if made and not exported_file(workspace, made[-1]).is_dir():
        st.download_button(
            "Download ONNX",
            data=lambda: exported_file(workspace, made[-1]).read_bytes(),
            file_name=str(made[-1].result.get("filename") or "model.onnx"),
            mime="application/octet-stream",
            icon=":material/download:",
            on_click="ignore",
            key="showcase-onnx",
        )
        return
    exports = [job for job in store.jobs(session_id=session.id) if job.kind == "export"]
    job = next((item for item in exports if item.payload.get("variant_id") == variant.id), None)
    if job is not None and job.state.live:
        job_banner(job, key="showcase-onnx")
        return
    if st.button("Make the ONNX file", icon=":material/output:", key="showcase-export"):
        payload = {"variant_id": variant.id, "settings": {}}
        submit("export", payload, session=session, title=f"ONNX export: {variant.name}")
        st.rerun(scope="app")


def draw_link(session: Session) -> None:
    """The address of the session, to copy."""
    with st.popover("Copy link", icon=":material/link:"):
        base = (st.context.url or "").split("?")[0].rstrip("/")
        st.code(f"{base}/compare?session={session.id}", language=None, wrap_lines=True)
        st.caption("Whoever can reach this server can open it. A frozen report is made under *Share* on Compare.")
