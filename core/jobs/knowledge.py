"""What is known of a model on its data: curves, plans that were measured, times of layers. Pages and jobs ask here.

Knows no torch.
"""

from collections.abc import Mapping
from typing import Any

from ..analysis.machine import cpu_name
from ..errors import MeasurementError
from ..planning.latency import LatencyProfile
from ..planning.outcomes import Outcome
from ..planning.trying import plan_key
from ..planning.whatif import Basis
from ..pruning.plan import Plan
from ..store import Dataset, Model, Sensitivity, Store, Variant

__all__ = ["PROFILE", "basis_of", "curves_of", "latency_profile_of", "outcomes_of", "tried_before"]

_MEASURING = ("check", "search", "prune")
PROFILE = "latency_profile"
"""The kind of job that times layers, and the key of its result."""


def curves_of(store: Store, model_id: str, data_id: str, *, of: str, criterion: str) -> Sensitivity | None:
    """The measurement that estimates rest on: complete ones first, then the plan's criterion, then the newest.

    ``of``: ``layers`` or ``groups``.
    """
    known = store.sensitivities(model_id, data_id)
    fitting = [
        (item.complete, item.settings.get("criterion", "magnitude") == criterion, number)
        for number, item in enumerate(known)
        if item.result.get(of)
    ]
    return known[max(fitting)[2]] if fitting else None


def outcomes_of(store: Store, model_id: str, data_id: str) -> list[Outcome]:
    """Plans of this model that were measured on these data, newest first, each plan once."""
    found: dict[str, Outcome] = {}
    for result in store.earlier_results(_MEASURING, model_id=model_id, data_id=data_id):
        bodies = [body.get("outcome") for body in reversed(result.get("plans") or ())] or [result.get("outcome")]
        for body in bodies:
            outcome = Outcome.from_json(body)
            if outcome is not None:
                found.setdefault(str(sorted(outcome.sparsities.items())) + str(outcome.n), outcome)
    return list(found.values())


def tried_before(store: Store, model_id: str, data_id: str) -> dict[str, dict[str, Any]]:
    """Plans that earlier searches measured, by ``plan_key``: a search that was stopped goes on where it was."""
    found: dict[str, dict[str, Any]] = {}
    for result in store.earlier_results(("search",), model_id=model_id, data_id=data_id):
        for body in result.get("plans") or ():
            found.setdefault(plan_key(Plan.parse(body["plan"])), body)
    return found


def basis_of(store: Store, model: Model, data: Dataset, dense: Variant, *, criterion: str) -> Basis | None:
    """Everything that estimates of plans on this model rest on; None without a measured dense model."""
    select = dense.metrics.get("select")
    if not select:
        return None
    layers = curves_of(store, model.id, data.id, of="layers", criterion=criterion)
    groups = curves_of(store, model.id, data.id, of="groups", criterion=criterion)
    return Basis.of(
        model.description,
        select,
        layers=None if layers is None else layers.result,
        groups=None if groups is None else groups.result,
        outcomes=outcomes_of(store, model.id, data.id),
    )


def latency_profile_of(store: Store, model_id: str) -> LatencyProfile | None:
    """The newest times of this model's layers on this machine; None where they were not taken."""
    for result in store.earlier_results((PROFILE,), model_id=model_id):
        body: Mapping[str, Any] = result.get(PROFILE) or {}
        if body.get("machine") != cpu_name():
            continue
        try:
            return LatencyProfile.from_json(body)
        except MeasurementError:  # of another version
            continue
    return None
