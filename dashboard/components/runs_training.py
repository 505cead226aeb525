"""A training run on the Runs page: where it stands, in numbers and curves, while it runs and after it has ended."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import plotly.graph_objects as go
import streamlit as st

from core.store.records import Job, JobState
from dashboard import backend
from dashboard.components.badges import number_html, numbers
from dashboard.components.charts import draw, settled
from dashboard.components.cut_charts import left_figure
from dashboard.components.format import duration, percent, signed, whole
from dashboard.components.runs_cuts import draw_cuts
from dashboard.components.seap_charts import draw_gates, gate_figures
from dashboard.components.training_charts import layers_figure, loss_figure, score_figure
from dashboard.components.training_data import (
    epochs_of,
    is_history,
    layer_matrix,
    metric_of,
    outcome_sentence,
    planned_epochs,
)
from dashboard.made_once import made_once

__all__ = ["draw_curves", "draw_numbers", "history_of", "progress_mark"]

_TALL_PX = 460
_WINDOW_FROM = 6


def history_of(job_id: str) -> dict[str, Any] | None:
    """The history that the job has published, read again only when it has changed; None before there is one."""
    written = backend.store().partial_time(job_id)
    return None if written is None else _history(job_id, written, str(backend.workspace().folder))


@made_once(32)
def _history(job_id: str, _written: datetime, _workspace: str) -> dict[str, Any] | None:
    partial = backend.store().partial(job_id)
    return partial if is_history(partial) else None


def draw_numbers(job: Job) -> None:
    """Where the run stands, in numbers; nothing before it has begun to train."""
    history = history_of(job.id)
    if history is not None:
        numbers(_numbers_of(job, history))


def draw_curves(job: Job) -> None:
    """The curves. They are made anew once per epoch, for whoever looks, not with every look at the run."""
    history = history_of(job.id)
    if history is None or not epochs_of(history):
        if job.state is JobState.RUNNING:
            st.caption("The curves begin with the first epoch.")
        return
    charts = st.container()
    window = _window(job, history)
    figures = _figures(job.id, progress_mark(history), st.context.theme.type == "dark", window)
    with charts:
        left, right = st.columns(2, gap="medium")
        with left:
            alt = f"Score and sparsity by epoch: {outcome_sentence(history)}"
            draw(figures[0], key=f"run-score-{job.id}", alt=alt)
        with right:
            draw(figures[1], key=f"run-loss-{job.id}", alt="Loss, its parts and the learning rate by epoch")
    draw_gates(_gate_figures(job.id, progress_mark(history), window), key=job.id)
    draw_cuts(job, history, _left_figure(job.id, progress_mark(history), st.context.theme.type == "dark", window))
    if len(figures) > 2:
        names, epochs, _ = layer_matrix(history)
        with st.expander("Sparsity of every layer over time", icon=":material/layers:", key=f"run-layers-{job.id}"):
            tall = figures[2].layout.height > _TALL_PX
            with st.container(height=_TALL_PX if tall else "content", border=False):
                alt = f"Heat-map of {len(names)} layers over {len(epochs)} epochs: the part that is removed"
                draw(figures[2], key=f"run-heat-{job.id}", alt=alt)


def _window(job: Job, history: Mapping[str, Any]) -> tuple[int, int] | None:
    """The epochs to show: a slider, which keeps its place while epochs arrive. None shows all."""
    end = planned_epochs(history)
    if end < _WINDOW_FROM or len(epochs_of(history)) < 2:
        return None
    first, last = st.slider("Epochs shown", 1, end, (1, end), key=f"run-window-{job.id}")
    return None if (first, last) == (1, end) else (first, last)


def progress_mark(history: Mapping[str, Any]) -> tuple[Any, ...]:
    """What the curves depend on: it changes with every epoch, stage and event, not with every step."""
    begun = tuple(stage.get("first_epoch") for stage in history.get("stages") or ())
    return len(epochs_of(history)), begun, len(history.get("events") or ()), history.get("restored_epoch")


@made_once(32)
def _figures(job_id: str, _mark: tuple[Any, ...], dark: bool, window: tuple[int, int] | None) -> tuple[go.Figure, ...]:
    """Score, loss and, where the method reports them, layers; made once per epoch."""
    history = history_of(job_id) or {}
    made = [score_figure(history, window=window), loss_figure(history, window=window)]
    if layer_matrix(history)[0]:
        made.append(layers_figure(history, dark=dark, window=window))
    return tuple(settled(shown) for shown in made)


@made_once(32)
def _gate_figures(job_id: str, _mark: tuple[Any, ...], window: tuple[int, int] | None) -> tuple[go.Figure, ...]:
    """Where the method has gates, they and what stays of every group; made once per epoch."""
    return tuple(settled(shown) for shown in gate_figures(history_of(job_id) or {}, window=window))


@made_once(32)
def _left_figure(job_id: str, _mark: tuple[Any, ...], dark: bool, window: tuple[int, int] | None) -> go.Figure | None:
    """Where the method removes units while it trains, what is left of every group; made once per epoch."""
    shown = left_figure(history_of(job_id) or {}, dark=dark, window=window)
    return None if shown is None else settled(shown)


def _numbers_of(job: Job, history: Mapping[str, Any]) -> list[str]:
    """The numbers above the curves: of the last epoch, and of the step that runs now."""
    done, step = epochs_of(history), history.get("step") or {}
    last: Mapping[str, Any] = done[-1] if done else {}
    live = job.state is JobState.RUNNING
    now: Mapping[str, Any] = step if live and step else last
    epoch = now.get("epoch", 0)
    shown = [number_html("Epoch", f"{epoch} of {planned_epochs(history)}", measured=None, note=_stage(history, now))]
    if "select_score" in last:
        shown.append(
            number_html(
                f"{metric_of(history).capitalize() if metric_of(history).islower() else metric_of(history)}, selection",
                percent(last["select_score"]),
                interval=(last.get("select_low"), last.get("select_high")),  # type: ignore[arg-type]
                note=f"dense {percent(history.get('dense_score'))}",
            )
        )
    if isinstance(now.get("loss"), int | float):
        shown.append(number_html("Loss", signed(now["loss"]), note=_step_words(step) if live else "last epoch"))
    if isinstance(now.get("learning_rate"), int | float):
        shown.append(number_html("Learning rate", signed(now["learning_rate"]), measured=None))
    if isinstance(last.get("sparsity"), int | float):
        target = history.get("target")
        aim = f"target {percent(target)}" if isinstance(target, int | float) and target <= 1 else None
        shown.append(number_html("Sparsity", percent(last["sparsity"]), measured=None, note=aim))
    if isinstance(now.get("images_per_s"), int | float):
        threads = history.get("threads")
        many = "thread" if threads == 1 else "threads"
        note = f"{threads} {many}, {history.get('precision', 'fp32')}" if threads else None
        shown.append(number_html("Speed", f"{whole(now['images_per_s'])} images/s", note=note))
    if live and job.eta_s is not None:
        shown.append(number_html("Time left", duration(job.eta_s).replace(" ", "\u00a0"), measured=False))
    return shown


def _stage(history: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """The stage of this epoch, where there is more than one."""
    begun = [
        stage for stage in history.get("stages") or () if int(stage.get("first_epoch") or 1) <= now.get("epoch", 0)
    ]
    return str(begun[-1].get("name")) if begun else None


def _step_words(step: Mapping[str, Any]) -> str | None:
    return f"step {step['step']} of {step['steps']}" if step.get("steps") else None
