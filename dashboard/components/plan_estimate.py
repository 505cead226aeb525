"""What the draft would do, drawn at once: estimated score and its basis, counts, bytes, MACs, what not to expect."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import streamlit as st

from core.analysis.expectation import expectation
from core.errors import PlanError
from core.jobs.knowledge import curves_of
from core.methods import METHODS
from core.planning.bytes import sparse_file
from core.planning.latency import LatencyProfile
from core.planning.whatif import Effect, effect_of_rows
from core.pruning.estimate import preview
from core.pruning.plan import Plan
from core.store.records import Model, Sensitivity, Session
from dashboard import backend, state, stored
from dashboard.components.badges import number_html, numbers
from dashboard.components.format import count, escape, macs, milliseconds, percent, size
from dashboard.components.plan_score import Expected

__all__ = ["Preview", "draw_estimate", "preview_of", "usable_sensitivity"]


@dataclass(frozen=True)
class Preview:
    """The result of ``core.pruning.estimate.preview``, or the sentence that says why the plan is impossible.

    Neither where the plan's method removes whole units: their counts come with the run.
    """

    body: Mapping[str, Any] | None
    problem: str | None

    @property
    def planned(self) -> dict[str, float]:
        """Sparsity per layer; empty for an impossible plan."""
        return {} if self.body is None else {row["name"]: float(row["sparsity"]) for row in self.body["layers"]}

    def effect(self, plan: Plan) -> Effect | None:
        """What an estimate of the score starts from; None for an impossible plan."""
        return None if self.body is None else effect_of_rows(plan, self.body["layers"])


def usable_sensitivity(session: Session, plan: Plan) -> Sensitivity | None:
    """The measurement that an estimate rests on: complete ones first, then the plan's criterion, then the newest."""
    if not session.model_id or not session.data_id:
        return None
    return curves_of(backend.store(), session.model_id, session.data_id, of="layers", criterion=plan.criterion)


def preview_of(plan: Plan, model: Model, sensitivity: Sensitivity | None) -> Preview:
    """The preview of a plan; an impossible plan gives its sentence instead."""
    removes = METHODS[plan.method].removes
    if removes == "units":
        return Preview(None, None)
    if removes == "nothing":
        plan = plan.changed(sparsity=0.0, overrides={})
    if sensitivity is not None and not sensitivity.complete:
        return _previewed(plan, model, sensitivity)
    known = None if sensitivity is None else (sensitivity.id, sensitivity.created)
    return _kept_preview(plan.changed(name="").model_dump_json(), model.id, known, str(backend.workspace().folder))


@functools.lru_cache(maxsize=64)
def _kept_preview(plan: str, model_id: str, sensitivity: tuple[str, datetime] | None, _workspace: str) -> Preview:
    """The drawing and every click that does not change the plan need no second count."""
    store = backend.store()
    measured = None if sensitivity is None else store.get_sensitivity(sensitivity[0])
    return _previewed(Plan.model_validate_json(plan), store.get_model(model_id), measured)


def _previewed(plan: Plan, model: Model, sensitivity: Sensitivity | None) -> Preview:
    try:
        measured = sensitivity.result if sensitivity is not None else None
        return Preview(preview(plan, stored.weight_statistics(model), model.description, measured), None)
    except PlanError as error:
        return Preview(None, str(error))


def draw_estimate(
    shown: Preview,
    plan: Plan,
    *,
    expected: Expected,
    sensitivity: Sensitivity | None,
    dense_sizes: Mapping[str, Any],
    latency: LatencyProfile | None,
) -> None:
    """Figures, then the expectation in words, then what limits the estimate."""
    if shown.body is None and shown.problem is None:
        _draw_expectation(plan)
        st.caption("Coupled layers shrink together: nothing is estimated here, the run counts, verifies, evaluates.")
        return
    if shown.body is None:
        st.error(
            f"**This plan is not possible.** {escape(shown.problem or '', markdown=True)}", icon=":material/block:"
        )
        return
    totals, estimate = shown.body["totals"], shown.body["estimate"]
    figures = [expected.figure or _energy_figure(estimate)]
    packed = sparse_file(totals["nonzero_parameters"], totals["parameters"], dense_sizes)
    before = dense_sizes.get("dense_bytes")
    figures += [
        number_html(
            "Non-zero parameters",
            count(totals["nonzero_parameters"]),
            measured=None,
            note=f"of {count(totals['parameters'])}; {percent(totals['sparsity'])} of the prunable weights go",
        ),
        number_html(
            "Compressed file",
            size(packed),
            measured=None if packed is None else False,
            note=f"dense file {size(before)}" if before else "known when the model is opened with data",
        ),
        number_html(
            "MACs",
            macs(totals["macs"]),
            measured=None,
            note=f"unchanged; {macs(totals['macs_if_zeros_skipped'])} if zeros were skipped",
        ),
    ]
    if latency is not None:
        note = "unchanged: zeros do not make dense kernels faster"
        figures.append(number_html("Latency, one image", milliseconds(latency.dense_ms), measured=None, note=note))
    numbers(figures)
    _draw_expectation(plan)
    notes = [*expected.notes, *_limits(shown.body, sensitivity)]
    if notes:
        st.caption(escape(" ".join(notes), markdown=True))
    if sensitivity is None:
        state.link("sensitivity", label="Measure sensitivity to estimate the score", icon=":material/arrow_forward:")


def _draw_expectation(plan: Plan) -> None:
    said = expectation(plan, removes=METHODS[plan.method].removes)
    with st.container(border=True, key="plan-expectation"):
        st.markdown(f":material/speed: {escape(said, markdown=True)}")


def _energy_figure(estimate: Mapping[str, Any]) -> str:
    """What the weights alone say, where no score can be estimated."""
    return number_html(
        "Weight energy removed",
        percent(estimate.get("energy_removed")),
        measured=False,
        note="weights only: no score without measured sensitivity",
    )


def _limits(body: Mapping[str, Any], sensitivity: Sensitivity | None) -> list[str]:
    """Everything a person must know before trusting the figures."""
    notes = list(body.get("notes") or ())
    if sensitivity is not None and not sensitivity.complete:
        notes.append("The sensitivity measurement is not complete yet.")
    if not body.get("counts_exact", True):
        notes.append("Shares per layer are read off a summary of the weights; the run counts exactly.")
    return notes
