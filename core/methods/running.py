"""``prune``: check a plan against a model, then hand both to the plan's method. Importing this needs no torch."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..errors import PlanError
from ..progress import SILENT, Progress
from ..pruning.plan import Plan
from .base import METHODS, MethodResult

if TYPE_CHECKING:
    from ..training.checkpoints import Checkpoints

__all__ = ["prune"]


def prune(
    model: Any,
    splits: Any,
    plan: Plan,
    *,
    sensitivity: Mapping[str, Any] | None = None,
    progress: Progress = SILENT,
    checkpoints: "Checkpoints | None" = None,
) -> MethodResult:
    """Prune a copy of a model; the model itself is never modified.

    Args:
        model: ``TracedModel``.
        splits: data for criteria, recalibration and training methods; ``None`` where the plan needs none.
        plan: what to remove.
        sensitivity: result of ``measure_sensitivity``, for the allocation of that name.
        checkpoints: where a method that trains keeps its last epoch; one that is there already is continued, and the
            result is, bit for bit, that of an uninterrupted run.

    Raises:
        PlanError: unknown method, criterion, allocation or layer; nothing to prune; an impossible target; weights
            that are not finite; a criterion that needs data when there are none.
        TrainingError: training diverged before there was a result.
        StoreError: a checkpoint that is damaged, belongs to another run, or cannot be written.
        Cancelled: when ``progress`` says so.
    """
    if plan.method not in METHODS:
        raise PlanError(f"Unknown method “{plan.method}”; known: {', '.join(METHODS)}.")
    method = METHODS[plan.method]
    settings = method.Settings.parse(plan.method_settings)
    if plan.patterns and method.removes == "units" and method.trains:
        raise PlanError(
            f"“{method.title}” removes whole units while it trains and knows no N:M patterns: take them out of the "
            "plan, and prune its variant further with them."
        )
    method.check(model, splits, plan)
    progress.check()
    return method.run(
        model,
        splits,
        plan.changed(method_settings=settings.to_json()),
        sensitivity=sensitivity,
        progress=progress,
        checkpoints=checkpoints,
    )
