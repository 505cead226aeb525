"""Compare: what each variant costs and gains, measured, beside the dense model; and the file to take away."""

import contextlib
from collections.abc import Sequence
from typing import Any

import streamlit as st

from core.errors import StoreError
from core.sharing.planting import NOTES
from core.store.records import Measurement, Model, Session, Variant
from dashboard import backend, state
from dashboard.components.charts import draw
from dashboard.components.code_drawer import code_drawer
from dashboard.components.compare_card import draw_card
from dashboard.components.compare_channels import draw_channels, proof_of
from dashboard.components.compare_charts import layers_figure
from dashboard.components.compare_classes import draw_classes
from dashboard.components.compare_data import Row, rows_of, table
from dashboard.components.compare_export import draw_export
from dashboard.components.compare_gallery import draw_gallery
from dashboard.components.compare_latency import draw_latency
from dashboard.components.compare_lineage import draw_lineage
from dashboard.components.compare_manage import draw_manage
from dashboard.components.compare_paired import sentences
from dashboard.components.compare_scatter import LATENCY, choose_cost, draw_scatter
from dashboard.components.compare_share import draw_share
from dashboard.components.compare_table import draw_table, ranking_words, settings_of
from dashboard.components.compare_why import draw_why
from dashboard.components.empty import empty, require_model
from dashboard.components.format import escape, short
from dashboard.components.jobs import job_banner, live_jobs
from dashboard.components.tables import download_csv
from dashboard.following import follow

TITLE = "Compare"
ICON = ""
URL = "compare"
ORDER = 60

_CHANGES = ("Change per class", "Images that changed", "What went where")
_TALL_PX = 560


def render() -> None:
    """Draw the page."""
    session, model = require_model()
    with st.container(horizontal=True, vertical_alignment="center", key="compare-head"):
        st.title("Compare", width="stretch")
        draw_share(session)
    store = backend.store()
    variants = store.variants(session.id)
    for job in live_jobs(session.id):
        if job.kind == "prune":
            job_banner(job, key="compare")
    if not variants:
        empty(
            "No variant yet",
            "The dense model becomes the first variant when it is opened with data. Then make a plan and run it.",
            action="Open data on the Start page" if session.data_id is None else "Make a plan",
            url="start" if session.data_id is None else "plan",
        )
        return
    measurements = {variant.id: store.measurements(variant.id) for variant in variants}
    rows = rows_of(variants, measurements, macs=model.description.get("macs"))
    dense = next((row.variant for row in rows if row.dense), None)
    words = sentences(dense, variants)
    if len(rows) == 1 and rows[0].dense:
        empty(
            "Only the dense model is here",
            "Run a plan: its variant is measured on the same images and appears beside the dense model.",
            action="Make a plan",
            url="plan",
        )
    cost = choose_cost(rows)
    draw_scatter(rows, cost, words)
    settings = settings_of(rows)
    setting = cost.removeprefix(LATENCY) if cost.startswith(LATENCY) else next(iter(settings), None)
    draw_table(rows, words, setting=setting)
    _below_table(rows, words, settings, setting)
    draw_lineage(rows)
    draw_latency(rows, session, _newest(measurements, "latency"))
    draw_why(rows, session, model, measurements)
    _closer(rows, session, model, measurements)
    code_drawer("compare", _facts(session, model, rows))


def _below_table(rows: Sequence[Row], words: dict[str, str], settings: Sequence[str], setting: str | None) -> None:
    """What the latencies allow to be said, and the table as a file."""
    if setting is not None:
        said = ranking_words(rows, setting)
        if said:
            st.caption(escape(said, markdown=True))
    frame = table(rows, words, settings=settings)
    download_csv(frame, "compare")


def _newest(measurements: dict[str, list[Measurement]], kind: str) -> Measurement | None:
    found = [item for items in measurements.values() for item in items if item.kind == kind]
    return max(found, key=lambda item: item.created, default=None)


def _closer(rows: Sequence[Row], session: Session, model: Model, measurements: dict[str, list[Measurement]]) -> None:
    """One variant: what changed per class, what went where, and its file."""
    st.header("A closer look", anchor=False)
    by_id = {row.variant.id: row for row in rows}
    ids = list(by_id)
    wanted = state.requested_id("variant")
    start = ids.index(wanted) if wanted in by_id else len(ids) - 1
    with st.container(horizontal=True, vertical_alignment="bottom"):
        chosen = st.selectbox(
            "Variant",
            ids,
            index=start,
            format_func=lambda key: short(by_id[key].variant.name, 60),
            key="compare-variant",
        )
        row = by_id[chosen]
        draw_manage(row.variant)
        draw_card(row.variant)
    _remarks(row)
    left, right = st.columns([3, 2], gap="large")
    dense = next((item for item in rows if item.dense), None)
    with left:
        if row.dense:
            st.caption("This is the model as it was opened. Choose a variant to see what changed.")
        else:
            others = [item for item in rows if not item.dense]
            follow(_changes, every_s=None)(dense, row, others, session, model, measurements[chosen])
    with right:
        newest = max((m for m in measurements[chosen] if m.kind == "onnx"), key=lambda m: m.created, default=None)
        draw_export(row, session, newest)


def _changes(
    dense: Row | None,
    row: Row,
    others: Sequence[Row],
    session: Session,
    model: Model,
    measurements: Sequence[Measurement],
) -> None:
    """What a variant changed, in three tabs; only the one that is looked at is drawn."""
    classes, images, layers = st.tabs(_CHANGES, key="compare-changes", on_change="rerun")
    if classes.open:
        with classes:
            draw_classes(dense, row, model)
    if images.open:
        with images:
            draw_gallery(row.variant, session, measurements)
    if layers.open:
        with layers:
            if draw_channels(row.variant.layers, model.description, key="compare-channels"):
                st.markdown("**Share of the weights that went**")
            _layers(others, row)


def _remarks(row: Row) -> None:
    """What the method and the evaluation have to say about this variant."""
    notes = _notes(row)
    proof = proof_of(notes)
    if proof is not None:
        st.markdown(f":green[:material/verified:] {escape(proof, markdown=True)}")
    for note in notes:
        if note != proof:
            st.caption(escape(note, markdown=True))
    for warning in (row.variant.metrics.get("test") or {}).get("warnings") or ():
        st.warning(escape(warning, markdown=True), icon=":material/warning:")


def _notes(row: Row) -> list[str]:
    """What the run that made the variant noted."""
    if row.variant.job_id is None:  # made elsewhere: what its run noted came along
        found = backend.store().measurements(row.variant.id, NOTES)
        return [str(note) for item in found for note in item.result.get(NOTES) or ()]
    with contextlib.suppress(StoreError):  # the history may have been cleared
        return list((backend.store().get_job(row.variant.job_id).result or {}).get("notes") or [])
    return []


def _layers(others: Sequence[Row], row: Row) -> None:
    """The chosen variant's layers; on wish beside those of other variants."""
    by_id = {item.variant.id: item for item in others}
    beside = st.multiselect(
        "Beside",
        [key for key in by_id if key != row.variant.id],
        format_func=lambda key: short(by_id[key].variant.name, 40),
        max_selections=3,
        key=f"compare-beside-{row.variant.id}",
        placeholder="other variants",
    )
    shown: dict[str, list[dict[str, Any]]] = {row.variant.name: row.variant.layers}
    for key in beside:
        name = by_id[key].variant.name
        shown[name if name not in shown else f"{name} ·"] = by_id[key].variant.layers
    picture = layers_figure(shown)
    tall = picture.layout.height > _TALL_PX
    with st.container(height=_TALL_PX if tall else "content", border=False, key="compare-layers-box"):
        draw(picture, key="compare-layers", alt=f"Share removed from each layer by {', '.join(shown)}")


def _facts(session: Session, model: Model, rows: Sequence[Row]) -> dict[str, Any]:
    """What the code drawer needs to know."""
    data = backend.store().get_dataset(session.data_id) if session.data_id else None
    newest: Variant | None = next((row.variant for row in reversed(rows) if not row.dense), None)
    return {
        "model": model.spec,
        "data": data.spec if data else None,
        "plan": newest.plan if newest else None,
        "variants": [row.variant.name for row in rows],
    }
