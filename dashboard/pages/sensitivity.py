"""Sensitivity: what each layer, or group, loses when it alone is pruned, measured live, with intervals."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import streamlit as st

from core.analysis.previews import group_preview
from core.analysis.sensitivity import SensitivitySettings
from core.comb.sheet import GroupSheet
from core.errors import EspalierError
from core.pruning.estimate import weights_only_sensitivity
from core.store.records import Job, Model, Sensitivity, Session
from dashboard import backend, state, stored
from dashboard.components.badges import known_html, number_html, numbers
from dashboard.components.charts import draw
from dashboard.components.code_drawer import code_drawer
from dashboard.components.empty import empty, require_model
from dashboard.components.fold import fold
from dashboard.components.format import count, escape, percent, short, unbroken
from dashboard.components.forms import settings_form
from dashboard.components.jobs import POLL_S, job_banner, latest_job, live_jobs, submit
from dashboard.components.network_paint import BESIDE
from dashboard.components.plan_draft import DraftEditor, with_override
from dashboard.components.plan_layers import prunable_layers
from dashboard.components.sensitivity_charts import heatmap_figure
from dashboard.components.sensitivity_curves import (
    chosen_curves,
    draw_curves,
    forget_curves_of,
    show_curve_of,
    show_curve_of_row,
)
from dashboard.components.sensitivity_data import (
    Quantity,
    images_seen,
    measured_cells,
    most_sensitive,
    shown_cells,
    table,
    verdict,
)
from dashboard.components.sensitivity_kind import (
    Kind,
    chosen_kind,
    criteria,
    groups_to_measure,
    kind_of,
    pinned,
    rows_of,
)
from dashboard.components.sensitivity_network import draw_sensitivity_network
from dashboard.components.sensitivity_pins import click_pending, pin_pending, remember_click
from dashboard.components.tables import download_csv
from dashboard.components.tables import table as draw_table
from dashboard.following import follow

TITLE = "Sensitivity"
ICON = ""
URL = "sensitivity"
ORDER = 30

_TALL_PX = 620
_VIEWS = ("heat-map", "network")


def render() -> None:
    """Draw the page."""
    session, model = require_model()
    st.title("Sensitivity")
    if not prunable_layers(model):
        empty("Nothing to prune in this model", "It has no convolution or linear layer with weights of its own.")
        return
    sheet = groups_to_measure(model)
    kind = chosen_kind(session, sheet)
    names = rows_of(model, sheet, kind)
    editor = DraftEditor(session)
    show_curve_of(pin_pending(editor, sheet if kind == "groups" else None))
    live = next((job for job in live_jobs(session.id) if job.kind == "sensitivity"), None)
    results = [item for item in _measured(session) if kind_of(item.settings) == kind]
    _controls(session, live, results, kind, len(names))
    _last_failure(session, live)
    followed = live if live is not None and kind_of(live.payload.get("settings") or {}) == kind else None
    chosen = _choose_result(results) if followed is None else None
    results_of = follow(_results, every_s=POLL_S if live else None)
    results_of(session.id, model.id, kind, live.id if live else None, followed is not None, chosen)
    state.link("plan", label="Go on to the plan", icon=":material/arrow_forward:")
    code_drawer("sensitivity", _facts(session, model, chosen, kind))


def _measured(session: Session) -> list[Sensitivity]:
    """Results for this model on these data, newest first."""
    if not session.model_id or not session.data_id:
        return []
    return list(reversed(backend.store().sensitivities(session.model_id, session.data_id)))


def _controls(session: Session, live: Job | None, results: Sequence[Sensitivity], kind: Kind, rows: int) -> None:
    """The settings and the button that starts, continues or cancels."""
    if live is not None:
        job_banner(live, key="sensitivity")
        return
    unfinished = next((item for item in results[:1] if not item.complete), None)
    with st.container(horizontal=True, vertical_alignment="center", key="sensitivity-controls"):
        if unfinished is not None and st.button(
            "Continue", type="primary", icon=":material/play_arrow:", key="sensitivity-continue"
        ):
            _start(session, unfinished.settings)
        place = st.container(width="content")  # the button stands before the settings that it needs
        with st.popover("Settings", icon=":material/tune:"):
            settings = settings_form(
                SensitivitySettings,
                key="sensitivity-settings" if kind == "layers" else "sensitivity-group-settings",
                value=_start_settings(results, kind),
                exclude=("of",),
                choices={"criterion": criteria(kind)},
            )
        asked = place.button(
            "Measure again" if results and results[0].complete else "Measure sensitivity",
            type="secondary" if results else "primary",
            icon=":material/straighten:",
            key="sensitivity-start",
            disabled=settings is None or session.data_id is None,
        )
        if settings is None:
            st.caption("Correct the settings first.")
        elif session.data_id is None:
            st.caption("Without data there is only the estimate. Open data on the Start page.")
        elif unfinished is not None:
            done, total = measured_cells(unfinished.result), rows * len(_levels_asked(unfinished))
            st.caption(f"Stopped at {done} of {total} cells. What was measured is kept.")
    if asked and settings is not None:
        _start(session, settings.to_json())


def _start_settings(results: Sequence[Sensitivity], kind: Kind) -> SensitivitySettings:
    """The settings of the newest result, so that a form shows what the picture shows."""
    known = set(SensitivitySettings.model_fields)
    try:
        newest = results[0].settings if results else {}
        found = SensitivitySettings.parse({name: value for name, value in newest.items() if name in known})
    except EspalierError:
        found = SensitivitySettings()
    return found.changed(of=kind)


def _start(session: Session, settings: Mapping[str, Any]) -> None:
    submit("sensitivity", {"settings": dict(settings)}, session=session, title="Sensitivity")
    st.rerun()


def _levels_asked(item: Sensitivity) -> Sequence[float]:
    levels: Sequence[float] = item.settings.get("levels") or item.result["settings"]["levels"]
    return levels


def _last_failure(session: Session, live: Job | None) -> None:
    """A failed job stays visible until the next one succeeds."""
    last = latest_job(session.id, "sensitivity")
    if live is None and last is not None:
        job_banner(last, key="sensitivity-last")


def _choose_result(results: Sequence[Sensitivity]) -> Sensitivity | None:
    """The newest result; a menu when there are several."""
    if len(results) < 2:
        return results[0] if results else None
    by_id = {item.id: item for item in results}

    def words(key: str) -> str:
        item = by_id[key]
        extent = "complete" if item.complete else f"{measured_cells(item.result)} cells"
        words = f"{item.settings.get('criterion', 'magnitude')} · {item.result.get('n', '?')} images · {extent}"
        return f"{words} · exact" if item.settings.get("exact") else words

    return by_id[st.selectbox("Result", list(by_id), format_func=words, key="sensitivity-result")]


def _results(
    session_id: str, model_id: str, kind: Kind, job_id: str | None, followed: bool, chosen: Sensitivity | None
) -> None:
    """Figures, heat-map, curves and table. A fragment: it follows the job while there is one."""
    if click_pending():
        st.rerun(scope="app")
    store = backend.store()
    model = store.get_model(model_id)
    if job_id is not None and not store.get_job(job_id).state.live:
        st.rerun(scope="app")
    sheet = groups_to_measure(model) if kind == "groups" else None
    result: Mapping[str, Any] | None = (
        store.partial(job_id) if job_id and followed else chosen.result if chosen else None
    )
    if result is None or not shown_cells(result):
        result = _first_look(model, sheet, result)
    layers = rows_of(model, sheet, kind)
    editor = DraftEditor(store.get_session(session_id))
    overrides = pinned(editor, sheet)
    metric = _metric(model, result)
    _headline(result, layers, metric, waiting=followed)
    with st.container(horizontal=True, gap="medium"):
        view = st.segmented_control(
            "Picture", _VIEWS, default=_VIEWS[0], required=True, key="sensitivity-view", bind="query-params"
        )
        quantity = _quantity(result, metric)
    forget_curves_of(f"{model_id} {kind} {bool(result.get('estimated'))} {job_id}")
    curves = chosen_curves(result, layers, quantity)
    if view == "network":
        picture, beside = st.columns(BESIDE, gap="medium")
        with picture:
            draw_sensitivity_network(editor.session, model, result, sheet=sheet, rows=layers, curves=curves)
    else:
        beside = st.container()
        with beside:
            _heatmap(result, layers, quantity, metric, overrides)
    with beside:
        _pins(editor)
        draw_curves(result, layers, quantity, metric, overrides)
    if not result.get("estimated"):
        fold(
            "All numbers",
            lambda: _numbers(result, layers, metric),
            key="sensitivity-numbers",
            icon=":material/table:",
            alone=False,  # a row that is chosen has its curve above
        )


def _numbers(result: Mapping[str, Any], layers: Sequence[str], metric: str) -> None:
    """Every cell as a row. One that is chosen shows its curve above."""
    frame = table(result, layers)
    draw_table(
        frame,
        key="sensitivity-table",
        alt=f"{len(frame)} measured cells: {result.get('kind') or 'layers'}, sparsity, {metric}, loss",
        on_select=lambda: show_curve_of_row("sensitivity-table", list(frame.iloc[:, 0])),
    )
    st.caption("Choose a row to see its curve, and its place on the drawing.")
    download_csv(frame, "sensitivity")


def _first_look(model: Model, sheet: GroupSheet | None, result: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """What the scores say before anything is measured: those of the running job, else magnitudes."""
    if result is not None and result.get("preview"):
        preview: Mapping[str, Any] = result["preview"]
        return preview
    return weights_only_sensitivity(stored.weight_statistics(model)) if sheet is None else group_preview(sheet)


def _metric(model: Model, result: Mapping[str, Any]) -> str:
    if not result.get("estimated") and result.get("metric"):
        return str(result["metric"])
    return "mIoU" if model.description.get("task") == "segmentation" else "accuracy"


def _headline(result: Mapping[str, Any], layers: Sequence[str], metric: str, *, waiting: bool) -> None:
    """What is shown, how it is known, and the one sentence to take away."""
    what = str(result.get("kind") or "layers")
    if result.get("estimated"):
        how = "each layer’s weight energy" if what == "layers" else "the scores of each group’s units"
        st.html(
            f'<p class="esp-lede">{known_html(False)} From the weights only: how much of {how} '
            f"a cut would take. It hints at spare {what}; it is not a loss.</p>"
        )
        if waiting:
            st.caption("The first measured cells replace this picture in a moment.")
        return
    dense, n = result.get("dense") or {}, result.get("n")
    sentence = verdict(result, layers, metric)
    if sentence:
        st.html(f'<p class="esp-lede">{unbroken(escape(sentence))}</p>')
    interval = (dense["low"], dense["high"]) if dense.get("low") is not None and dense.get("high") is not None else None
    numbers(
        [
            number_html(f"Dense {metric}, selection split", percent(dense.get("score")), n=n, interval=interval),
            number_html(
                "Cells measured", count(measured_cells(result)), measured=None, note=_how_far(result, layers, waiting)
            ),
        ]
    )
    for note in result.get("notes") or ():
        st.caption(escape(note, markdown=True))


def _how_far(result: Mapping[str, Any], layers: Sequence[str], waiting: bool) -> str:
    """How many rows there are, how much the cells saw, and how many have a first number only."""
    words = f"{len(layers)} {result.get('kind') or 'layers'}"
    seen = images_seen(result)
    if seen is not None:
        words += f", {count(round(seen))} images each on average"
    first = shown_cells(result) - measured_cells(result)
    if first:
        words += f"; {count(first)} more have a first number on few images" + (" so far" if waiting else "")
    return words


def _quantity(result: Mapping[str, Any], metric: str) -> Quantity:
    if result.get("estimated"):
        return "loss"
    chosen = st.segmented_control(
        "Colour",
        ("score", "loss"),
        default="score",
        required=True,
        format_func=lambda name: f"{metric} lost" if name == "score" else "loss gained",
        key="sensitivity-quantity",
    )
    return "loss" if chosen == "loss" else "score"


def _heatmap(
    result: Mapping[str, Any], layers: Sequence[str], quantity: Quantity, metric: str, overrides: Mapping[str, float]
) -> None:
    dark = st.context.theme.type == "dark"
    shown = heatmap_figure(result, layers, quantity, metric=metric, overrides=overrides, dark=dark)
    tall = shown.layout.height > _TALL_PX
    with st.container(height=_TALL_PX if tall else "content", border=False, key="sensitivity-heatmap-box"):
        worst = ", ".join(short(name, 30) for name in most_sensitive(result, layers, quantity, count=3))
        draw(
            shown,
            key="sensitivity-heatmap",
            alt=f"Heat-map of {len(layers)} {result.get('kind') or 'layers'} by sparsity; most sensitive: {worst}",
            on_select=lambda: remember_click("sensitivity-heatmap"),
        )
    waiting = " Rings: first numbers on few images." if shown_cells(result) > measured_cells(result) else ""
    st.caption(f"Click a cell to pin that sparsity into the plan. Outlined cells are pinned.{waiting}")


def _pins(editor: DraftEditor) -> None:
    """What is pinned, each with a way back."""
    overrides = editor.plan.overrides
    if not overrides:
        return
    with st.container(horizontal=True, vertical_alignment="center", key="sensitivity-pins"):
        st.markdown(f"**Pinned in the plan** ({len(overrides)})", width="content")
        for name, sparsity in list(overrides.items())[:8]:
            unpinned = st.button(
                f"{escape(short(name, 26), markdown=True)} {percent(sparsity, 0)}",
                icon=":material/close:",
                key=f"unpin-{editor.generation}-{name}",
                help="Unpin: let the allocation decide again.",
            )
            if unpinned:
                editor.edit(partial(with_override, layer=name, sparsity=None), redraw=True)
                st.rerun(scope="app")


def _facts(session: Session, model: Model, chosen: Sensitivity | None, kind: Kind) -> dict[str, Any]:
    """What the code drawer needs to know."""
    data = backend.store().get_dataset(session.data_id) if session.data_id else None
    return {
        "model": model.spec,
        "data": data.spec if data else None,
        "settings": chosen.settings if chosen else SensitivitySettings(of=kind).to_json(),
    }
