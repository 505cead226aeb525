"""Trying plans for real: prune a copy, measure it beside the dense model on the same images, weigh it.

Importing this needs no torch; trying does.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ..analysis.evaluation import Evaluation
from ..comb.sheet import GroupSheet
from ..errors import PlanError
from ..methods import METHODS, MethodResult, prune
from ..progress import SILENT, Progress
from ..pruning.plan import Plan
from .outcomes import Outcome
from .whatif import Basis, Effect, effect_of_removal, effect_of_rows

if TYPE_CHECKING:
    from ..data.splits import Splits
    from ..models.traced import TracedModel

__all__ = ["Trial", "Tried", "plan_key", "refuse_training"]


def plan_key(plan: Plan) -> str:
    """Equal for plans that do the same; the name does not matter."""
    body = plan.changed(name="", overrides=dict(sorted(plan.overrides.items()))).to_json()
    return json.dumps({**body, "protected": sorted(plan.protected)}, sort_keys=True)


def refuse_training(plan: Plan) -> None:
    """Refuse plans that cannot be tried in seconds.

    Raises:
        PlanError: when the method trains.
    """
    if plan.method in METHODS and METHODS[plan.method].trains:
        raise PlanError(f"{METHODS[plan.method].title} trains, which takes longer than a check: run the plan instead.")


@dataclass(frozen=True)
class Tried:
    """A plan that was tried. ``estimated`` (``WhatIf.to_json``) was said before the measurement.

    ``body``: JSON of what was measured: ``metric``, ``n``, ``score``, ``low``, ``high``, ``loss``, ``dense_score``,
    ``difference``, ``comparison`` (paired, on the same images), ``parameters``, ``nonzero``, ``macs``, ``removed``,
    ``dense_bytes``, ``sparse_bytes``, ``bytes`` (the smaller of the two files) and ``latency_ms`` (or None).
    """

    plan: Plan
    estimated: Mapping[str, Any] | None
    body: Mapping[str, Any]
    outcome: Outcome

    def to_json(self) -> dict[str, Any]:
        """JSON: ``plan``, ``estimated``, ``measured`` and ``outcome``, and what the plan costs beside them."""
        return {
            "plan": self.plan.to_json(),
            "estimated": self.estimated,
            "measured": dict(self.body),
            "macs": self.body["macs"],
            "parameters": self.body["parameters"],
            "nonzero": self.body["nonzero"],
            "bytes": self.body["bytes"],
            "latency_ms": self.body["latency_ms"],
            "outcome": self.outcome.to_json(),
        }


class Trial:
    """A model and images on which plans are tried. The model is never modified.

    Args:
        model: what plans start from.
        splits: data; plans are measured on the selection split, never on the test split.
        images: of the selection split, stratified.
        sensitivity: measured curves, for the allocation of that name.
        sheet: the groups of the model, when they were found before.
        known: results of ``Tried.to_json`` from before, by ``plan_key``: such plans are not tried again.
        milliseconds: latency of what a removal leaves (``NetworkLatency``).
        reference: what everything is compared with, when that is not ``model``.
    """

    def __init__(
        self,
        model: "TracedModel",
        splits: "Splits",
        *,
        images: int,
        sensitivity: Mapping[str, Any] | None = None,
        sheet: GroupSheet | None = None,
        known: Mapping[str, Mapping[str, Any]] | None = None,
        milliseconds: Any = None,
        reference: "TracedModel | None" = None,
        progress: Progress = SILENT,
    ) -> None:
        self.model, self.splits, self.images = model, splits, images
        self.sensitivity, self.milliseconds = sensitivity, milliseconds
        self.known = dict(known or {})
        self._reference = reference or model
        self.progress = progress
        self.fresh = 0
        """Plans that were measured here, not taken from before."""
        self._sheet = sheet

    @cached_property
    def dense(self) -> Evaluation:
        """What everything is compared with, on the same images."""
        from ..analysis.evaluation import evaluate

        return evaluate(self._reference, self.splits, "select", limit=self.images, progress=_Quiet(self.progress))

    @cached_property
    def sheet(self) -> GroupSheet:
        """The groups of the model with their magnitudes."""
        from ..comb.combing import comb
        from ..comb.summary import summarise
        from ..pruning.criteria.base import CalibrationContext
        from ..pruning.groups.base import score_groups

        if self._sheet is not None:
            return self._sheet
        found = comb(self.model)
        scores = score_groups("magnitude", found, CalibrationContext()) if found.groups else {}
        return summarise(found, {"magnitude": scores}, explain=False)

    @cached_property
    def dense_sizes(self) -> dict[str, int]:
        """Bytes of the dense model's files, and its MACs."""
        from ..analysis.cost import count_macs
        from ..export.sizes import file_sizes

        return {**file_sizes(self.model), "macs": count_macs(self.model)}

    def run(self, plan: Plan, basis: Basis | None) -> Tried:
        """Estimate a plan (where there is a basis), then measure it.

        Raises:
            PlanError: when it trains, or cannot work on this model.
            Cancelled: when the person cancelled.
        """
        refuse_training(plan)
        before = self.known.get(plan_key(plan))
        if before is not None and (found := self._again(plan, before)) is not None:
            return found
        dense = self.dense
        self.progress.check()
        result = prune(self.model, self.splits, plan, sensitivity=self.sensitivity, progress=_Quiet(self.progress))
        effect = self.effect(plan, result)
        estimated = None if basis is None else basis.estimate(effect, n=dense.n, dense_score=dense.score)
        body = self._measured(result)
        outcome = effect.outcome(
            score=body["score"],
            dense_score=dense.score,
            n=dense.n,
            estimated=None if estimated is None else estimated.band,
        )
        self.fresh += 1
        return Tried(plan, None if estimated is None else estimated.to_json(), body, outcome)

    def effect(self, plan: Plan, result: MethodResult) -> Effect:
        """What a method did to each layer or group."""
        if METHODS[plan.method].removes != "units":
            return effect_of_rows(plan, result.layers)
        removal = (result.history.get("removal") or {}).get("groups") or {}
        return effect_of_removal(plan, self.sheet, removal)

    def _measured(self, result: MethodResult) -> dict[str, Any]:
        from ..analysis.cost import count_macs
        from ..analysis.evaluation import evaluate
        from ..analysis.statistics import compare_paired
        from ..export.sizes import file_sizes

        after = evaluate(result.model, self.splits, "select", limit=self.images, progress=_Quiet(self.progress))
        compared = compare_paired(self.dense, after)
        sizes = file_sizes(result.model)
        removal = (result.history.get("removal") or {}).get("groups")
        latency = None
        if self.milliseconds is not None:
            latency = self.milliseconds(self.sheet.counts(removal or {}))
        return {
            **{key: after.summary()[key] for key in ("metric", "n", "score", "low", "high", "loss")},
            "dense_score": self.dense.score,
            "difference": compared.difference,
            "comparison": compared.to_json(),
            "parameters": sizes["parameters"],
            "nonzero": sizes["nonzero"],
            "macs": count_macs(result.model),
            "removed": result.removed,
            "dense_bytes": sizes["dense_bytes"],
            "sparse_bytes": sizes["sparse_bytes"],
            "bytes": min(sizes["dense_bytes"], sizes["sparse_bytes"]),
            "latency_ms": latency,
        }

    def _again(self, plan: Plan, before: Mapping[str, Any]) -> Tried | None:
        """A result from before, when it was measured on the same number of images."""
        measured, outcome = before.get("measured"), Outcome.from_json(before.get("outcome"))
        if not measured or outcome is None or measured.get("n") != self.dense.n:
            return None
        if self.milliseconds is not None and measured.get("latency_ms") is None:
            return None
        return Tried(plan, before.get("estimated"), measured, outcome)


class _Quiet(Progress):
    """Lets work inside a trial be cancelled and paused, but not count as progress of its own."""

    def __init__(self, outer: Progress) -> None:
        self.check = outer.check  # type: ignore[method-assign]
