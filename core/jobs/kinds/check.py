"""Try a plan on a slice of the data: prune, measure, keep the numbers, not the model."""

from collections.abc import Mapping
from typing import Any

from ...errors import PlanError
from ...pruning.plan import Plan
from ..lineage import start_of
from . import JobContext, job_kind

_IMAGES = 500


@job_kind("check")
def check_plan(payload: Mapping[str, Any], context: JobContext) -> dict[str, Any]:
    """Measure what a plan costs on the first images of the select split; nothing is stored but this result.

    Payload: ``plan`` (Plan as JSON), ``images`` (500). Result: ``metric``, ``n``, ``score``, ``low``, ``high``,
    ``dense_score``, ``difference`` and ``comparison`` (paired, on the same images), ``parameters``, ``macs``,
    ``removed`` (weights) and ``plan``.

    Raises:
        PlanError: when the plan cannot work, or trains: such a plan is run, not tried.
    """
    from ...analysis.cost import count_macs, count_parameters
    from ...analysis.evaluation import evaluate
    from ...analysis.statistics import compare_paired
    from ...methods import METHODS, prune
    from .. import loading

    workspace, progress = context.workspace, context.progress
    plan = Plan.parse(payload["plan"])
    images = int(payload.get("images") or _IMAGES)
    if plan.method in METHODS and METHODS[plan.method].trains:
        raise PlanError(f"{METHODS[plan.method].title} trains, which takes longer than a check: run the plan instead.")
    _, dense = loading.session_parts(workspace, context.session_id)
    progress.update(0, 3, "Loading the model and the data")
    start = start_of(workspace.store, plan, dense)
    model = loading.load_model(workspace, start.artifact)
    splits = loading.load_data(workspace.store.get_dataset(dense.data_id), progress=progress)
    progress.update(1, 3, "Pruning a copy")
    result = prune(model, splits, plan, sensitivity=loading.plan_sensitivity(workspace, start, plan), progress=progress)
    progress.update(2, 3, f"Measuring on {images} images")
    reference = loading.load_model(workspace, dense.artifact)
    before = evaluate(reference, splits, "select", limit=images, progress=progress)
    after = evaluate(result.model, splits, "select", limit=images, progress=progress)
    compared = compare_paired(before, after)
    return {
        **{key: after.summary()[key] for key in ("metric", "n", "score", "low", "high")},
        "dense_score": before.score,
        "difference": compared.difference,
        "comparison": compared.to_json(),
        "parameters": count_parameters(result.model),
        "macs": count_macs(result.model),
        "removed": result.removed,
        "plan": plan.to_json(),
    }
