"""What a finished run teaches the estimates: what they would have said, beside what was measured."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..comb.sheet import FILE_NAME, GroupSheet
from ..methods import METHODS
from ..planning.whatif import effect_of_removal, effect_of_rows, foreseen
from ..pruning.plan import Plan
from ..store import Variant, Workspace
from .knowledge import basis_of

if TYPE_CHECKING:
    from ..methods import MethodResult

__all__ = ["outcome_of_run"]


def outcome_of_run(
    workspace: Workspace, plan: Plan, result: "MethodResult", select: Mapping[str, Any], dense: Variant
) -> dict[str, Any] | None:
    """JSON of the ``Outcome`` of a removal at once from the dense model; None where nothing can be learnt.

    ``select``: ``Evaluation.summary`` of the variant on the selection split, on which the dense model was measured.
    """
    before = dense.metrics.get("select") or {}
    removes = METHODS[plan.method].removes
    if removes == "nothing" or before.get("n") != select["n"] or not foreseen(plan):
        return None
    if removes == "units":
        file = workspace.artifacts.path(dense.artifact) / FILE_NAME
        if not file.is_file():
            return None
        removal = (result.history.get("removal") or {}).get("groups") or {}
        effect = effect_of_removal(plan, GroupSheet.load(file), removal)
    else:
        effect = effect_of_rows(plan, result.layers)
    store = workspace.store
    basis = basis_of(
        store, store.get_model(dense.model_id), store.get_dataset(dense.data_id), dense, criterion=plan.criterion
    )
    said = None if basis is None else basis.estimate(effect)
    return effect.outcome(
        score=float(select["score"]),
        dense_score=float(before["score"]),
        n=int(select["n"]),
        estimated=None if said is None else said.band,
    ).to_json()
