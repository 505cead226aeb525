"""Every layer of the model, its weights under a movable cut line, and the data it is judged on."""

from typing import Any

import streamlit as st

from core.store.records import Dataset, Model, Session
from dashboard import backend, state, stored
from dashboard.components.badges import number_html, numbers
from dashboard.components.code_drawer import code_drawer
from dashboard.components.data_panel import data_panel, notes
from dashboard.components.empty import empty, require_model
from dashboard.components.format import count, escape, macs, percent, shape, size
from dashboard.components.group_map import draw_map
from dashboard.components.jobs import job_banner, latest_job
from dashboard.components.layer_panel import layer_panel
from dashboard.components.layer_time import measured_times, time_button
from dashboard.components.layers import choose_layer, layer_frame
from dashboard.components.network_view import draw_network
from dashboard.components.plan_draft import DraftEditor
from dashboard.components.work_bars import draw_work_bars

__all__ = ["ICON", "ORDER", "TITLE", "URL", "render"]

TITLE, ICON, URL, ORDER = "Model", "", "model", 10

_VIEWS = ("table", "drawing")


def render() -> None:
    """Draw the page."""
    session, model = require_model()
    data = backend.store().get_dataset(session.data_id) if session.data_id else None
    st.title(escape(model.name, markdown=True), anchor=False)
    _about(model)
    _totals(session, model)
    opening = latest_job(session.id, "open")
    if opening is not None:
        job_banner(opening, key="opening")
    noticed = [*model.description.get("notes", ()), *((opening.result or {}).get("notes", ()) if opening else ())]
    notes([*dict.fromkeys([*noticed, *_nonfinite(model)])], title="Notes on opening")
    layer = _layers(session, model, DraftEditor(session))
    draw_map(model)
    if data is not None:
        st.header("Data", anchor=False)
        data_panel(data)
    code_drawer("model", _facts(session, model, data, layer))


def _about(model: Model) -> None:
    facts = model.description
    words = {"classification": "classifies images", "segmentation": "labels every pixel"}.get(
        facts["task"], facts["task"]
    )
    st.caption(
        f"{words} · {facts['num_classes']} classes · input {shape(facts['input_shape'])} (channels × height × width)"
    )


def _totals(session: Session, model: Model) -> None:
    dense = state.dense_variant(session)
    figures = [
        number_html("Parameters", count(model.description["parameters"]), measured=None),
        number_html("Work of one example", macs(model.description["macs"]), measured=None),
    ]
    summary: dict[str, Any] = (dense.metrics.get("test") or {}) if dense else {}
    if summary.get("score") is not None:
        figures.append(
            number_html(
                f"Dense {summary.get('metric', 'accuracy')}, test split",
                percent(summary["score"]),
                n=summary.get("n"),
                interval=(summary["low"], summary["high"]) if summary.get("low") is not None else None,
            )
        )
    if dense and dense.sizes.get("dense_bytes"):
        figures.append(number_html("File", size(dense.sizes["dense_bytes"]), note="safetensors on disk"))
    numbers(figures)


def _nonfinite(model: Model) -> list[str]:
    """B14: weights that are not numbers are named, layer by layer."""
    broken = [layer["name"] for layer in model.description["layers"] if layer.get("nonfinite")]
    return [f"These layers contain weights that are not finite numbers: {', '.join(broken)}."] if broken else []


def _layers(session: Session, model: Model, editor: DraftEditor) -> str | None:
    """The layers as a table or as a drawing; returns the chosen one."""
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        st.header("Layers", anchor=False, width="content")
        prunable = any(layer["prunable"] for layer in model.description["layers"])
        view = st.segmented_control(
            "View", _VIEWS, default=_VIEWS[0], required=True, key="view", bind="query-params",
            label_visibility="collapsed",
        )  # fmt: skip
    if view == "drawing" and model.description["layers"]:
        return draw_network(session, model)
    if not prunable:
        empty(
            "Nothing to prune in this model",
            "Only weights of convolutions and linear layers can be pruned, and this model has none.",
        )
        return None
    return _table(session, model, editor)


def _table(session: Session, model: Model, editor: DraftEditor) -> str | None:
    """Table and cut line side by side; returns the chosen layer."""
    times, job = measured_times(session)
    frame = layer_frame(model.description, plan=editor.plan, times=times)
    prunable = frame[frame["prunable"]]
    table, panel = st.columns([3, 2], gap="medium")
    with table:
        others = len(frame) - len(prunable)
        everything = others > 0 and st.toggle(f"Show the {others} layers that cannot be pruned", key="layers-all")
        chosen = choose_layer((frame if everything else prunable).reset_index(drop=True), key=f"layers-{model.id[:12]}")
        time_button(session, times, job)
        if times is not None:
            draw_work_bars(model.description, times)
    with panel:
        weights = stored.weight_statistics(model)
        if chosen is None or chosen not in weights:
            empty("No weights to cut here", "Layers such as normalisation are not pruned; choose another one.")
        else:
            st.fragment(layer_panel)(session.id, model, chosen)
    return chosen


def _facts(session: Session, model: Model, data: Dataset | None, layer: str | None) -> dict[str, Any]:
    known = {"session_id": session.id, "model": model.spec, "data": data.spec if data else None, "layer": layer}
    return {name: value for name, value in known.items() if value is not None}
