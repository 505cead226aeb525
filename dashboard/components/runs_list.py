"""One run as a card: what it is, where it stands, what can be done about it, and why it failed."""

from collections.abc import Mapping
from typing import Any

import streamlit as st

from core.errors import AccessError, StoreError
from core.jobs.resuming import checkpoint_epoch
from core.store.records import Job, JobState
from dashboard import backend, state
from dashboard.components.format import count, escape, percent, short
from dashboard.components.jobs import as_it_stands, cancel, technical_details
from dashboard.components.plan_draft import DraftEditor
from dashboard.components.runs_data import (
    STATE_WORDS,
    advice,
    continues,
    diverged,
    kind_words,
    page_of,
    plan_of,
    summary_line,
)
from dashboard.components.runs_training import draw_curves, draw_numbers, history_of
from dashboard.components.sensitivity_data import cells_by_name, measured_cells, shown_cells
from dashboard.components.training_data import outcome_sentence, trains

__all__ = ["draw_ended", "draw_live", "partial_words"]


def draw_live(job: Job) -> None:
    """What a queued or running job does, how far it is, and a way to stop it; all but the curves of a training."""
    _title(job)
    if job.state is JobState.RUNNING:
        fraction = min(max(job.done / job.total, 0.0), 1.0) if job.total > 0 else 0.0
        st.progress(fraction, text=f"{100 * fraction:.0f} %" if job.total > 0 else "starting")
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        ahead = backend.runner().queue_position(job) if job.state is JobState.QUEUED else 0
        st.caption(escape(summary_line(as_it_stands(job), ahead=ahead), markdown=True))
        if st.button("Cancel", icon=":material/stop:", key=f"run-cancel-{job.id}"):
            cancel(job)
    if trains(job):
        draw_numbers(job)
    else:
        _partial(job)


def draw_ended(job: Job, *, unfold: bool = False) -> None:
    """A job that has ended: how, and the next action. ``unfold``: a training shows its curves without being asked."""
    with st.container(border=True, key=f"run-{job.id}"):
        left, right = st.columns([3, 2], vertical_alignment="center")
        with left:
            _title(job)
            st.caption(escape(summary_line(job), markdown=True))
        with right, st.container(horizontal=True, horizontal_alignment="right", vertical_alignment="center"):
            target = page_of(job)
            if target is not None:
                state.link(target[0], label=target[1], icon=":material/arrow_forward:")
            _again(job)
            if plan_of(job) is not None:
                _change(job)
        if job.state is JobState.FAILED:
            st.error(escape(job.error or "No reason was recorded.", markdown=True), icon=":material/error:")
        next_step = advice(job, epoch=checkpoint_epoch(backend.workspace(), job))
        if next_step:
            st.caption(escape(next_step, markdown=True))
        if trains(job):
            _training(job, unfold)
        elif job.state is not JobState.DONE:
            _partial(job)
        technical_details(job)


def _training(job: Job, unfold: bool) -> None:
    """What the training has shown, in words, and its curves when they are asked for."""
    history = history_of(job.id)
    sentence = outcome_sentence(history) if history is not None else ""
    if not sentence:
        return
    st.caption(escape(sentence, markdown=True))
    if st.toggle("Curves", value=unfold, key=f"run-curves-{job.id}"):
        draw_numbers(job)
        draw_curves(job)


def _title(job: Job) -> None:
    word, colour = STATE_WORDS[job.state]
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.badge(word, color=colour)  # type: ignore[arg-type]
        kind = kind_words(job.kind)
        title = short(job.title or kind, 70)
        prefix = "" if title.lower().startswith(kind.lower()) else f"{kind}: "
        st.markdown(f"**{escape(prefix + title, markdown=True)}**", width="content")


def _again(job: Job) -> None:
    """Go on from its checkpoint, as the same run; without one, run it again with the same payload."""
    same_run = checkpoint_epoch(backend.workspace(), job) is not None and not diverged(job)
    if same_run or continues(job) or (job.state is JobState.INTERRUPTED and not trains(job)):
        label, icon = "Resume", ":material/play_arrow:"
    else:
        label, icon = "Run again", ":material/replay:"
    if not st.button(label, icon=icon, key=f"run-again-{job.id}"):
        return
    try:
        if same_run:
            backend.runner().resume(job.id)
        else:
            backend.runner().submit(job.kind, job.payload, session_id=job.session_id, title=job.title)
    except (AccessError, StoreError) as error:
        st.error(escape(error, markdown=True))
        return
    st.rerun(scope="app")


def _change(job: Job) -> None:
    """Make the run's plan the draft of this session, where it can be changed and run."""
    if not st.button("Change and run", icon=":material/edit:", key=f"run-change-{job.id}"):
        return
    plan = plan_of(job)
    editor = DraftEditor(backend.store().get_session(str(job.session_id)))
    if editor.conflict:
        editor.reload()  # nothing of the draft is on this page: there is no stale view to protect
    if plan is not None and editor.edit(lambda _: plan, redraw=True):
        state.go("plan")


def _partial(job: Job) -> None:
    """What the job has found so far; kept when it fails."""
    words = partial_words(job.kind, backend.store().partial(job.id) or {})
    if words:
        st.caption(escape(words, markdown=True))


def partial_words(kind: str, partial: Mapping[str, Any]) -> str:
    """A partial result in one line; empty when there is none worth a line."""
    if kind == "sensitivity" and shown_cells(partial):
        what = partial.get("kind", "layers")
        return (
            f"So far: {count(shown_cells(partial))} cells in {len(cells_by_name(partial))} {what}, "
            f"{count(measured_cells(partial))} of them for good. The Sensitivity page shows them."
        )
    if kind == "measure":
        rows = partial.get("rows") or [
            row for part in partial.values() if isinstance(part, Mapping) for row in part.get("rows", ())
        ]
        return f"So far: {len(rows)} latencies." if rows else ""
    score = partial.get("score")
    return f"So far: {partial.get('metric', 'score')} {percent(score)}." if isinstance(score, int | float) else ""
