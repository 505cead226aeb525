"""Execute a plan on the session's model and store the variant."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...pruning.plan import Plan
from ...store import Variant, Workspace
from . import JobContext, job_kind


@job_kind("prune")
def prune_session(payload: Mapping[str, Any], context: JobContext) -> dict[str, Any]:
    """Prune as the plan says, evaluate on select and test, weigh the files.

    Payload: ``plan`` (Plan as JSON), ``name`` (optional label). Result: ``variant_id``, ``notes``. The masks are the
    zeros of the stored weights.
    """
    from ...methods import prune
    from .. import loading
    from ..measuring import measured_variant

    workspace, progress = context.workspace, context.progress
    plan = Plan.parse(payload["plan"])
    session, dense = loading.session_parts(workspace, context.session_id)
    progress.update(0, 0, "Loading the model and the data")
    model = loading.load_model(workspace, dense.artifact)
    splits = loading.load_data(workspace.store.get_dataset(dense.data_id), progress=progress)
    progress.update(0, 0, "Pruning")
    result = prune(model, splits, plan, sensitivity=_sensitivity(workspace, dense, plan), progress=progress)
    progress.update(0, 0, "Evaluating the pruned model")
    measured = measured_variant(result.model, splits, workspace=workspace, progress=progress)
    with tempfile.TemporaryDirectory(prefix="espalier-") as name:
        folder = Path(name) / "model"
        result.model.save(folder)
        progress.check()
        artifact = workspace.artifacts.put_folder(folder)
    variant = workspace.store.add_variant(
        session_id=session.id,
        name=payload.get("name") or plan.name or f"{plan.allocation} {plan.sparsity:.0%}",
        model_id=dense.model_id,
        data_id=dense.data_id,
        parent_id=dense.id,
        job_id=context.job_id,
        plan=plan.to_json(),
        artifact=artifact,
        layers=result.layers,
        **measured,
    )
    return {"variant_id": variant.id, "notes": list(result.notes)}


def _sensitivity(workspace: Workspace, dense: Variant, plan: Plan) -> Mapping[str, Any] | None:
    """The newest complete measurement, one with the plan's criterion first; the method says when it needs one."""
    found = [item for item in workspace.store.sensitivities(dense.model_id, dense.data_id) if item.complete]
    found.sort(key=lambda item: item.settings.get("criterion") == plan.criterion)
    return found[-1].result if found else None
