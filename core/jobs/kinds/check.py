"""Try a plan on a slice of the data: estimate, prune, measure, keep the numbers, not the model."""

from collections.abc import Mapping
from typing import Any

from ...pruning.plan import Plan
from ..lineage import start_of
from . import JobContext, job_kind

_IMAGES = 500


@job_kind("check")
def check_plan(payload: Mapping[str, Any], context: JobContext) -> dict[str, Any]:
    """Measure what a plan costs on the first images of the select split; nothing is stored but this result.

    Payload: ``plan`` (Plan as JSON), ``images`` (500). Result: what ``core.planning.trying.Tried.body`` holds
    (``metric``, ``n``, ``score``, ``low``, ``high``, ``dense_score``, ``difference``, ``comparison``, ``parameters``,
    ``macs``, ``removed`` weights, bytes …), ``plan``, ``estimated`` (said before measuring, or None) and ``outcome``,
    from which later estimates learn (None where they do not know all that the plan does, see ``foreseen``).

    Raises:
        PlanError: when the plan cannot work, or trains: such a plan is run, not tried.
    """
    from ...planning.trying import Trial, refuse_training
    from ...planning.whatif import foreseen
    from .. import loading
    from ..knowledge import basis_of

    workspace, progress = context.workspace, context.progress
    plan = Plan.parse(payload["plan"])
    images = int(payload.get("images") or _IMAGES)
    refuse_training(plan)
    _, dense = loading.session_parts(workspace, context.session_id)
    progress.update(0, 3, "Loading the model and the data")
    store = workspace.store
    start, data = start_of(store, plan, dense), store.get_dataset(dense.data_id)
    trial = Trial(
        loading.load_model(workspace, start.artifact),
        loading.load_data(data, progress=progress),
        images=images,
        sensitivity=loading.plan_sensitivity(workspace, start, plan),
        reference=loading.load_model(workspace, dense.artifact),
        progress=progress,
    )
    progress.update(1, 3, f"Measuring the dense model on {images} images")
    dense_first = trial.dense
    progress.update(2, 3, f"Pruning a copy and measuring it on {dense_first.n} images")
    known = basis_of(store, store.get_model(dense.model_id), data, dense, criterion=plan.criterion)
    tried = trial.run(plan, known if foreseen(plan) else None)
    return {
        **tried.body,
        "plan": plan.to_json(),
        "estimated": tried.estimated,
        "outcome": tried.outcome.to_json() if foreseen(plan) else None,
    }
