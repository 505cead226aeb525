"""A shared report, drawn from what was frozen when its link was made: nothing of it is read from the session."""

from collections.abc import Sequence

import streamlit as st

from core.errors import EspalierError
from core.sharing.bundle import bundle_name
from core.sharing.card import card_of
from core.sharing.links import Report, bundle_file, onnx_file
from core.sharing.plan_words import plan_sentences
from core.sharing.snapshot import SensitivityPart, Snapshot, VariantPart
from dashboard import backend
from dashboard.components.badges import chips_html
from dashboard.components.charts import draw
from dashboard.components.compare_channels import draw_channels
from dashboard.components.compare_charts import layers_figure
from dashboard.components.compare_classes import draw_classes
from dashboard.components.compare_data import Row, rows_of
from dashboard.components.compare_gallery import show_gallery, stored_gallery
from dashboard.components.compare_paired import sentences
from dashboard.components.compare_scatter import LATENCY, choose_cost, draw_scatter
from dashboard.components.compare_table import draw_table, ranking_words, settings_of
from dashboard.components.empty import empty
from dashboard.components.format import escape, score, short
from dashboard.components.plan_layers import prunable_layers
from dashboard.components.sensitivity_charts import curves_figure, heatmap_figure
from dashboard.components.sensitivity_data import most_sensitive

__all__ = ["draw_report", "lineage_words"]

_CURVES = 5
_TALL_PX = 560


def draw_report(report: Report, token: str) -> None:
    """The whole report, from the result down to where it comes from."""
    snapshot = report.snapshot
    st.title(escape(short(report.title, 90), markdown=True), anchor=False)
    st.html(f'<div class="esp-strip">{chips_html(_chips(report))}</div>')
    variants = snapshot.variant_records()
    if not variants:
        empty("No variant was made yet", "The report was frozen before a model was measured on data.")
    else:
        measurements = {variant.id: snapshot.measurement_records(variant.id) for variant in variants}
        rows = rows_of(variants, measurements, macs=snapshot.model.description.get("macs"))
        words = sentences(next((row.variant for row in rows if row.dense), None), variants)
        cost = choose_cost(rows)
        draw_scatter(rows, cost, words)
        setting = cost.removeprefix(LATENCY) if cost.startswith(LATENCY) else next(iter(settings_of(rows)), None)
        draw_table(rows, words, setting=setting)
        if setting is not None:
            st.caption(escape(ranking_words(rows, setting), markdown=True))
        _machine(snapshot)
        _closer(report, token, rows)
    if snapshot.sensitivities:
        _sensitivity(snapshot, max(snapshot.sensitivities, key=lambda part: (part.complete, part.created)))
    _plans(snapshot)
    _origin(report)


def lineage_words(steps: Sequence[dict[str, object]]) -> list[str]:
    """What a session was forked or imported from, the last first."""
    verbs = {"fork": "Forked from", "import": "Imported from a bundle of"}
    return [
        f"{verbs.get(str(step.get('how')), 'Made from')} “{short(step.get('name', ''), 60)}” as it was on "
        f"{str(step.get('taken'))[:10]}"
        for step in reversed(steps)
    ]


def _chips(report: Report) -> list[tuple[str, str]]:
    snapshot = report.snapshot
    chips = [("frozen", f"{report.made:%d %b %Y, %H:%M} UTC"), ("model", short(snapshot.model.name, 40))]
    if snapshot.data is not None:
        chips.append(("data", short(snapshot.data.name, 40)))
    test = (snapshot.dense.metrics.get("test") or {}) if snapshot.dense else {}
    if test.get("score") is not None:
        chips.append((f"dense {test.get('metric', 'accuracy')}", score(test)))
    return chips


def _machine(snapshot: Snapshot) -> None:
    timed = [item.result for item in snapshot.measurements if item.kind == "latency"]
    machine = timed[-1].get("machine") if timed else None
    if isinstance(machine, dict) and machine.get("cpu"):
        busy = " The machine was busy meanwhile." if timed[-1].get("busy") else ""
        st.caption(escape(f"Latency was measured on {machine['cpu']}.{busy}", markdown=True))


def _closer(report: Report, token: str, rows: Sequence[Row]) -> None:
    """One variant: classes, images, layers, its plan, and what may be taken away."""
    st.header("A closer look", anchor=False)
    parts = {part.id: part for part in report.snapshot.variants}
    by_id = {row.variant.id: row for row in rows}
    chosen = st.selectbox(
        "Variant",
        list(by_id),
        index=len(by_id) - 1,
        format_func=lambda key: short(by_id[key].variant.name, 60),
        key="report-variant",
        width=420,
    )
    row, part = by_id[chosen], parts[chosen]
    dense = next((item for item in rows if item.dense), None)
    if row.dense:
        st.caption("This is the model as it was opened. Choose a variant to see what changed.")
    else:
        plan, classes, images, layers = st.tabs(
            ["How it was made", "Change per class", "Images that changed", "What went where"]
        )
        with plan:
            _plan(part)
        with classes:
            draw_classes(dense, row, report.snapshot.model_record())
        with images:
            _images(report.snapshot, part)
        with layers:
            _layers(row, report.snapshot)
    _take_away(report, token, part)


def _plan(part: VariantPart) -> None:
    try:
        said = plan_sentences(part.plan or {})
    except EspalierError as error:
        said = [str(error)]
    st.markdown("\n".join(f"- {escape(sentence, markdown=True)}" for sentence in (*said, *part.notes)))


def _images(snapshot: Snapshot, part: VariantPart) -> None:
    kept = [item for item in snapshot.measurement_records(part.id) if item.kind == "gallery"]
    if not kept:
        st.caption("No images were kept with this variant.")
        return
    try:
        show_gallery(stored_gallery(kept[-1]), part.id)
    except EspalierError as error:
        st.error(escape(error, markdown=True), icon=":material/broken_image:")


def _layers(row: Row, snapshot: Snapshot) -> None:
    draw_channels(row.variant.layers, snapshot.model.description, key="report-channels")
    picture = layers_figure({row.variant.name: row.variant.layers})
    tall = picture.layout.height > _TALL_PX
    with st.container(height=_TALL_PX if tall else "content", border=False, key="report-layers-box"):
        draw(picture, key="report-layers", alt=f"Share removed from each layer by {row.variant.name}")


def _take_away(report: Report, token: str, part: VariantPart) -> None:
    with st.container(horizontal=True, key="report-files"):
        if report.allow_onnx:
            _onnx(token, part)
        if report.allow_fork:
            _bundle(report, token)
        name = "".join(char if char.isascii() and char.isalnum() else "-" for char in part.name)[:60]
        st.download_button(
            "Model card",
            data=lambda: card_of(backend.workspace(), report.snapshot, part.id).html.encode(),
            file_name=f"{name.strip('-') or 'variant'}.html",
            mime="text/html",
            icon=":material/description:",
            on_click="ignore",
            key="report-card",
        )


def _onnx(token: str, part: VariantPart) -> None:
    workspace = backend.workspace()
    try:
        name, place = onnx_file(workspace, token, part.id)
    except EspalierError:
        return
    if place.is_dir():
        st.caption("Its ONNX export is several files, which are too large for a page: ask the owner for them.")
        return
    st.download_button(
        f"Download {name}",
        # Asked again when it is taken: the link may have been withdrawn meanwhile.
        data=lambda: onnx_file(workspace, token, part.id)[1].read_bytes(),
        file_name=name,
        mime="application/octet-stream",
        icon=":material/download:",
        type="primary",
        on_click="ignore",
        key="report-onnx",
    )


def _bundle(report: Report, token: str) -> None:
    workspace = backend.workspace()
    st.download_button(
        "Bundle of all variants",
        data=lambda: bundle_file(workspace, token)[1],
        file_name=bundle_name(report.title),
        mime="application/zip",
        icon=":material/folder_zip:",
        on_click="ignore",
        key="report-bundle",
        help="One file that opens in another Espalier, with the weights and without the code of the model",
    )


def _sensitivity(snapshot: Snapshot, part: SensitivityPart) -> None:
    st.header("What each layer can spare", anchor=False)
    layers = [str(layer["name"]) for layer in prunable_layers(snapshot.model_record())]
    metric = str(part.result.get("metric") or "score")
    measured = not part.result.get("estimated")
    words = "Each layer was pruned alone and the network measured" if measured else "Estimated from the weights alone"
    extent = "" if part.complete else " It was stopped before it was complete."
    st.caption(f"{words}; bands are 95 % intervals.{extent}")
    dark = st.context.theme.type == "dark"
    picture = heatmap_figure(part.result, layers, "loss", metric=metric, overrides={}, dark=dark)
    tall = picture.layout.height > _TALL_PX
    with st.container(height=_TALL_PX if tall else "content", border=False, key="report-heatmap-box"):
        draw(picture, key="report-heatmap", alt="Loss gained by each layer at each sparsity")
    worst = most_sensitive(part.result, layers, "loss", count=_CURVES)
    if worst:
        curves = curves_figure(part.result, worst, "loss", metric=metric, overrides={})
        draw(curves, key="report-curves", alt=f"Loss against sparsity of {', '.join(worst)}")


def _plans(snapshot: Snapshot) -> None:
    if not snapshot.plans:
        return
    st.header("Plans that were kept", anchor=False)
    for number, kept in enumerate(snapshot.plans):
        with st.expander(escape(short(kept.name, 80), markdown=True), key=f"report-plan-{number}"):
            try:
                said = plan_sentences(kept.plan)
            except EspalierError as error:
                said = [str(error)]
            st.markdown("\n".join(f"- {escape(sentence, markdown=True)}" for sentence in said))


def _origin(report: Report) -> None:
    for words in lineage_words(report.snapshot.lineage):
        st.caption(escape(f"{words}.", markdown=True))
    st.caption("Frozen when the link was made: later work in the session does not change it. Nothing can be run here.")
