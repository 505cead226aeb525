"""Every layer of the model, its weights under a movable cut line, and the data it is judged on."""

from typing import Any

import streamlit as st

from core.store.records import Dataset, Model, Session
from dashboard import backend, state, stored
from dashboard.components.badges import number_html, numbers
from dashboard.components.code_drawer import code_drawer
from dashboard.components.data_panel import data_panel, notes
from dashboard.components.empty import empty, require_model
from dashboard.components.format import count, escape, macs, percent, plain, shape, size
from dashboard.components.group_map import draw_map
from dashboard.components.jobs import job_banner, latest_job, submit
from dashboard.components.layers import choose_layer, layer_frame
from dashboard.components.plan_draft import DraftEditor, with_bulk, with_override
from dashboard.components.weight_cut import Cut, cut_controls, draw_cut

__all__ = ["ICON", "ORDER", "TITLE", "URL", "render"]

TITLE, ICON, URL, ORDER = "Model", "", "model", 10


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
    """Table and cut line side by side; returns the chosen layer."""
    st.header("Layers", anchor=False)
    times, job = _times(session)
    frame = layer_frame(model.description, plan=editor.plan, times=times)
    prunable = frame[frame["prunable"]] if len(frame) else frame
    if prunable.empty:
        empty(
            "Nothing to prune in this model",
            "Only weights of convolutions and linear layers can be pruned, and this model has none.",
        )
        return None
    table, panel = st.columns([3, 2], gap="medium")
    with table:
        others = len(frame) - len(prunable)
        everything = others > 0 and st.toggle(f"Show the {others} layers that cannot be pruned", key="layers-all")
        chosen = choose_layer((frame if everything else prunable).reset_index(drop=True), key=f"layers-{model.id[:12]}")
        _time_button(session, times, job)
    with panel:
        weights = stored.weight_statistics(model)
        if chosen is None or chosen not in weights:
            empty("No weights to cut here", "Layers such as normalisation are not pruned; choose another one.")
        else:
            st.fragment(_layer_panel)(session.id, model, chosen)
    return chosen


def _layer_panel(session_id: str, model: Model, name: str) -> None:
    """Histogram and cut line of one layer; only this part is drawn anew while the line moves."""
    layer = stored.weight_statistics(model)[name]
    editor = DraftEditor(backend.store().get_session(session_id))
    st.subheader(f"`{plain(name).replace('`', '')}`", anchor=False)
    protected = name in editor.plan.protected
    planned = editor.plan.overrides.get(name)
    cut = cut_controls(layer, key=f"cut-{model.id[:12]}-{name}", start=0.5 if planned is None else planned)
    draw_cut(layer, cut, key=f"histogram-{model.id[:12]}-{name}")
    _plan_buttons(editor, name, cut, protected=protected, planned=planned)


def _plan_buttons(editor: DraftEditor, name: str, cut: Cut, *, protected: bool, planned: float | None) -> None:
    if editor.conflict:
        st.warning("The draft plan was changed elsewhere, in another tab or by someone with this link.")
        if st.button("Reload the draft", key=f"reload-{name}"):
            editor.reload()
            st.rerun()
        return
    with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
        if st.button(
            f"Fix at {percent(cut.sparsity)} in the plan", key=f"fix-{name}", type="primary", disabled=protected,
            help="Protected layers stay dense; end the protection first." if protected else None,
        ):  # fmt: skip
            editor.edit(lambda plan: with_override(plan, name, round(cut.sparsity, 4)), redraw=True)
            st.rerun()
        if planned is not None and st.button("Free again", key=f"free-{name}"):
            editor.edit(lambda plan: with_override(plan, name, None), redraw=True)
            st.rerun()
        keep = st.toggle("Protect", value=protected, key=f"protect-{name}-{editor.generation}", help="Stays dense.")
        if keep != protected:
            editor.edit(lambda plan: with_bulk(plan, [name], "protect" if keep else "free"), redraw=True)
            st.rerun()
    if planned is not None:
        st.caption(f"The draft plan fixes this layer at {percent(planned)}.")
    elif protected:
        st.caption("The draft plan keeps this layer dense.")


def _times(session: Session) -> tuple[dict[str, float] | None, Any]:
    """The measured share of time per layer, newest first, and the latest job that measures it."""
    dense = state.dense_variant(session)
    found = backend.store().measurements(dense.id, kind="layer_times") if dense else []
    newest = max(found, key=lambda measurement: measurement.created, default=None)
    return (dict(newest.result["shares"]) if newest else None), latest_job(session.id, "layer_times")


def _time_button(session: Session, times: dict[str, float] | None, job: Any) -> None:
    if job is not None and (job.state.live or times is None):
        job_banner(job)
    if job is not None and job.state.live:
        return
    label = "Measure the time per layer" if times is None else "Measure the time again"
    if st.button(label, key="measure-times", icon=":material/timer:"):
        submit("layer_times", {}, session=session, title="Time per layer")
        st.rerun()
    if times is not None:
        rest = f" What has no weights takes {percent(times['other'], 0)}." if times.get("other") else ""
        st.caption(f"Share of time: measured in PyTorch on this machine, one example at a time.{rest}")


def _facts(session: Session, model: Model, data: Dataset | None, layer: str | None) -> dict[str, Any]:
    known = {"session_id": session.id, "model": model.spec, "data": data.spec if data else None, "layer": layer}
    return {name: value for name, value in known.items() if value is not None}
