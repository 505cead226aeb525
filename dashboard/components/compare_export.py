"""The export card: settings, the job, the checks that were made, and the file."""

from collections.abc import Mapping
from typing import Any

import streamlit as st

from core.errors import AccessError
from core.export.onnx_settings import OnnxSettings
from core.sharing.exports import exported_file
from core.store.records import Measurement, Session
from dashboard import backend
from dashboard.components.compare_data import Row
from dashboard.components.format import escape, percent, short, signed, size, unbroken
from dashboard.components.forms import settings_form
from dashboard.components.jobs import job_banner, latest_job, submit

__all__ = ["checks_of", "draw_export"]


_MARKS: dict[bool | None, tuple[str, str, str]] = {
    True: (":material/check_circle:", "pass", "green"),
    False: (":material/cancel:", "fail", "red"),
    None: (":material/remove:", "not checked", "gray"),
}


def checks_of(result: Mapping[str, Any]) -> list[tuple[bool | None, str]]:
    """(passed, sentence) of every check of an export; None where a check was not asked for."""
    n, sizes = result.get("n"), result.get("batch_sizes") or []
    difference: float | None = result.get("max_abs_difference")
    tolerance: float | None = result.get("tolerance")
    agreement = result.get("top1_agreement")
    close = difference <= tolerance if difference is not None and tolerance is not None else None
    checker = result.get("checker")
    allowed = "" if tolerance is None else f", {signed(tolerance, 2)} allowed"
    return [
        (None if checker is None else bool(checker), "ONNX checker"),
        (
            close,
            "difference to PyTorch not measured"
            if difference is None
            else f"differs from PyTorch by at most {signed(difference, 2)}{allowed}",
        ),
        (
            None if agreement is None else agreement >= 1.0,
            "top-1 not compared" if agreement is None else f"same top-1 for {percent(agreement)}, n = {n} images",
        ),
        (
            True if sizes and agreement is not None else None,
            f"runs at batch sizes {', '.join(map(str, sizes))}" if sizes else "batch sizes not tried",
        ),
        *_patterns_of(result),
    ]


def _patterns_of(result: Mapping[str, Any]) -> list[tuple[bool | None, str]]:
    """For models with 2:4 zeros: whether they are still where runtimes look for them."""
    wanted, found = int(result.get("pattern_layers_of_model") or 0), int(result.get("pattern_layers") or 0)
    return [(found >= wanted, f"2:4 zeros in {found} of {wanted} layers that have them")] if wanted else []


def draw_export(row: Row, session: Session, newest: Measurement | None) -> None:
    """The card of one variant."""
    with st.container(border=True, key="export-card"):
        st.markdown(f"**ONNX file of {escape(short(row.variant.name, 60), markdown=True)}**")
        job = latest_job(session.id, "export")
        if job is not None and job.state.live:
            job_banner(job, key="export")
        if newest is not None:
            _result(newest)
        with st.expander("Settings", expanded=False, icon=":material/tune:"):
            settings = settings_form(OnnxSettings, key="export-settings")
        asked = st.button(
            "Export ONNX" if newest is None else "Export again",
            type="primary" if newest is None else "secondary",
            icon=":material/output:",
            disabled=settings is None,
            key="export-start",
        )
        if asked and settings is not None:
            payload = {"variant_id": row.variant.id, "settings": settings.to_json()}
            submit("export", payload, session=session, title=f"ONNX export: {row.variant.name}")
            st.rerun()
        if job is not None and not job.state.live and job.payload.get("variant_id") == row.variant.id:
            job_banner(job, key="export-ended")


def _result(newest: Measurement) -> None:
    result = newest.result
    for passed, sentence in checks_of(result):
        mark, word, colour = _MARKS[passed]
        st.markdown(f":{colour}[{mark} **{word}**] {unbroken(escape(sentence, markdown=True))}")
    for problem in result.get("problems") or ():
        st.error(escape(problem, markdown=True))
    if not result.get("artifact"):
        return
    workspace, name = backend.workspace(), str(result.get("filename") or "model.onnx")
    try:
        place = exported_file(workspace, newest)
    except AccessError as error:
        st.caption(escape(error, markdown=True))
        return
    if place.is_dir():
        st.info(f"The tensors lie beside the graph because the model is large. The files are in `{place}`.")
        return
    st.download_button(
        f"Download {escape(name, markdown=True)}",
        data=lambda: exported_file(workspace, newest).read_bytes(),
        file_name=name,
        mime="application/octet-stream",
        icon=":material/download:",
        type="primary",
        on_click="ignore",
        key="export-download",
    )
    st.caption(
        escape(
            f"{size(result.get('size_bytes'))} · opset {result.get('opset')} · plan and scores are written inside",
            markdown=True,
        )
    )
