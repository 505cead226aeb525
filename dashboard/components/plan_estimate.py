"""What the draft would do, drawn at once: estimated score and its basis, counts, bytes, MACs, what not to expect."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import streamlit as st

from core.analysis.expectation import expectation
from core.errors import PlanError
from core.methods import METHODS
from core.pruning.estimate import preview
from core.pruning.plan import Plan
from core.store.records import Model, Sensitivity, Session
from dashboard import backend, state, stored
from dashboard.components.badges import number_html, numbers
from dashboard.components.format import count, escape, interval, macs, percent, short, size

__all__ = ["Preview", "draw_estimate", "estimated_bytes", "preview_of", "usable_sensitivity"]


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


def usable_sensitivity(session: Session, plan: Plan) -> Sensitivity | None:
    """The measurement that an estimate rests on: complete ones first, then the plan's criterion, then the newest."""
    if not session.model_id or not session.data_id:
        return None
    known = backend.store().sensitivities(session.model_id, session.data_id)
    fitting = [
        (item.complete, item.settings.get("criterion", "magnitude") == plan.criterion, number)
        for number, item in enumerate(known)
        if item.result.get("layers")
    ]
    return known[max(fitting)[2]] if fitting else None


def preview_of(plan: Plan, model: Model, sensitivity: Sensitivity | None) -> Preview:
    """The preview of a plan; an impossible plan gives its sentence instead."""
    removes = METHODS[plan.method].removes
    if removes == "units":
        return Preview(None, None)
    if removes == "nothing":
        plan = plan.changed(sparsity=0.0, overrides={})
    try:
        measured = sensitivity.result if sensitivity is not None else None
        return Preview(preview(plan, stored.weight_statistics(model), model.description, measured), None)
    except PlanError as error:
        return Preview(None, str(error))


def estimated_bytes(totals: Mapping[str, Any], dense_sizes: Mapping[str, Any]) -> int | None:
    """Size of the compressed sparse file: the entropy of which weights stay, and each kept value at the dense rate.

    None without the sizes of the dense model's real files.
    """
    dense, packed, parameters = (dense_sizes.get("dense_bytes"), dense_sizes.get("sparse_bytes"), totals["parameters"])
    if not dense or not packed or not parameters:
        return None
    kept = totals["nonzero_parameters"] / parameters
    entropy = -sum(share * math.log2(share) for share in (kept, 1.0 - kept) if share > 0.0)
    return round(parameters * entropy / 8.0 + packed * kept)


def draw_estimate(
    shown: Preview, plan: Plan, *, metric: str, sensitivity: Sensitivity | None, dense_sizes: Mapping[str, Any]
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
    figures = [_score_figure(estimate, metric)]
    packed = estimated_bytes(totals, dense_sizes)
    before = dense_sizes.get("dense_bytes")
    figures += [
        number_html(
            "Non-zero parameters",
            count(totals["nonzero_parameters"]),
            measured=None,
            note=f"of {count(totals['parameters'])}; {percent(totals['sparsity'])} of the prunable weights go",
        ),
        number_html(
            "Compressed file", size(packed), measured=False, note=f"dense file {size(before)}" if before else None
        ),
        number_html(
            "MACs",
            macs(totals["macs"]),
            measured=None,
            note=f"unchanged; {macs(totals['macs_if_zeros_skipped'])} if zeros were skipped",
        ),
    ]
    numbers(figures)
    _draw_expectation(plan)
    for note in _limits(shown.body, sensitivity):
        st.caption(escape(note, markdown=True))
    if estimate.get("basis") == "weights only":
        state.link("sensitivity", label="Measure sensitivity to estimate the score", icon=":material/arrow_forward:")


def _draw_expectation(plan: Plan) -> None:
    said = expectation(plan, removes=METHODS[plan.method].removes)
    with st.container(border=True, key="plan-expectation"):
        st.markdown(f":material/speed: {escape(said, markdown=True)}")


def _score_figure(estimate: Mapping[str, Any], metric: str) -> str:
    if estimate.get("score") is None:
        return number_html(
            "Weight energy removed",
            percent(estimate.get("energy_removed")),
            measured=False,
            note="weights only: no score without measured sensitivity",
        )
    return number_html(
        f"Expected {metric}, selection split",
        ("≤ " if estimate.get("floor_reached") else "") + percent(estimate["score"]),
        measured=False,
        n=estimate.get("n"),
        interval=f"{interval(estimate['score_low'], estimate['score_high'])}",
        note="single layers added up",
    )


def _limits(body: Mapping[str, Any], sensitivity: Sensitivity | None) -> list[str]:
    """Everything a person must know before trusting the figures."""
    estimate, notes = body["estimate"], list(body.get("notes") or ())
    if estimate.get("score") is not None:
        notes.append(
            "The interval covers the sampling of images only. Layers that are pruned together often lose more than the "
            "sum of their losses alone: run the plan to know."
        )
    if estimate.get("floor_reached"):
        notes.append("The plan goes beyond what was measured: expect the score at or below the lowest measured one.")
    beyond = estimate.get("beyond") or []
    if beyond:
        shown = ", ".join(short(name, 30) for name in beyond[:3]) + (" …" if len(beyond) > 3 else "")
        notes.append(f"{len(beyond)} layers are pruned beyond the highest measured level ({shown}).")
    missing = estimate.get("missing") or []
    if missing:
        notes.append(f"{len(missing)} pruned layers have not been measured and count as harmless here.")
    if sensitivity is not None and not sensitivity.complete:
        notes.append("The sensitivity measurement is not complete yet.")
    if not body.get("counts_exact", True):
        notes.append("Shares per layer are read off a summary of the weights; the run counts exactly.")
    return notes
