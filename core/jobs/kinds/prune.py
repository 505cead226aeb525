"""Execute a plan on the session's model and store the variant."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import PlanError
from ...methods.naming import default_name
from ...pruning.plan import Plan
from ...reach import reachable
from ...store import Variant, Workspace
from ..histories import KeepsHistory, compact, training_summary
from ..lineage import rows_since_dense, start_of
from . import JobContext, job_kind

if TYPE_CHECKING:
    from ...training.checkpoints import Checkpoints

__all__ = ["TEACHER", "prune_session"]

TEACHER = "artifact:"
"""In place of a path, ``teacher_folder`` of a plan may name a model of the workspace: this, and its artifact's id."""


@job_kind("prune")
def prune_session(payload: Mapping[str, Any], context: JobContext) -> dict[str, Any]:
    """Prune the dense model, or the variant that the plan starts from; evaluate on select and test, weigh the files.

    Payload: ``plan`` (Plan as JSON), ``name`` (optional label), ``race`` (optional: runs that are compared with each
    other carry the same word). Result: ``variant_id``, ``notes``, for methods that train ``training``, see
    ``training_summary``, and for a removal at once that timed layers ``latency``, see ``NetworkLatency.to_json``; for a
    removal at once from the dense model also ``outcome``: estimated and measured, from which later estimates learn. The
    masks are the zeros of the stored weights.

    A training publishes its history as the partial result, which stays when the job has ended, however it ended; and it
    writes a checkpoint per epoch, from which the same job goes on when it is resumed.
    """
    from ...methods import METHODS, prune
    from .. import loading
    from ..learning import outcome_of_run
    from ..measuring import measured_variant

    workspace, progress = context.workspace, context.progress
    plan = Plan.parse(payload["plan"])
    session, dense = loading.session_parts(workspace, context.session_id)
    start = start_of(workspace.store, plan, dense)
    progress.update(0, 0, "Loading the model and the data")
    model = loading.load_model(workspace, start.artifact)
    splits = loading.load_data(workspace.store.get_dataset(dense.data_id), progress=progress)
    progress.update(0, 0, "Pruning")
    trains = plan.method in METHODS and METHODS[plan.method].trains
    result = prune(
        model,
        splits,
        _with_teacher(plan, workspace),
        sensitivity=loading.plan_sensitivity(workspace, start, plan),
        progress=KeepsHistory(progress),
        checkpoints=_checkpoints(context) if trains else None,
    )
    if trains:
        progress.publish(compact(result.history))
    progress.update(0, 0, "Evaluating the pruned model")
    measured = measured_variant(result.model, splits, workspace=workspace, progress=progress)
    with tempfile.TemporaryDirectory(prefix="espalier-") as name:
        folder = Path(name) / "model"
        result.model.save(folder)
        progress.check()
        artifact = workspace.artifacts.put_folder(folder)
    variant = workspace.store.add_variant(
        session_id=session.id,
        name=payload.get("name") or plan.name or default_name(plan),
        model_id=dense.model_id,
        data_id=dense.data_id,
        parent_id=start.id,
        job_id=context.job_id,
        plan=plan.to_json(),
        artifact=artifact,
        layers=_since_dense(start, result),
        **measured,
    )
    if context.job_id is not None:
        workspace.checkpoints.remove(context.job_id)
    made: dict[str, Any] = {"variant_id": variant.id, "notes": list(result.notes)}
    if not trains and start.plan is None:
        made["outcome"] = outcome_of_run(workspace, plan, result, measured["metrics"]["select"], dense)
    if result.history.get("latency"):
        made["latency"] = result.history["latency"]
    return {**made, "training": _summary(result.history)} if trains else made


def _since_dense(start: Variant, result: Any) -> list[dict[str, Any]]:
    """What went of the dense model, also where the plan started from a variant."""
    if start.plan is None:
        return list(result.layers)
    nonzero = {name: int(layer.weight.count_nonzero()) for name, layer in result.model.prunable().items()}
    return rows_since_dense(start.layers, result.layers, nonzero)


def _checkpoints(context: JobContext) -> "Checkpoints | None":
    """Where this job keeps what it needs to go on; None for work without a row."""
    from ...training.checkpoints import Checkpoints

    return None if context.job_id is None else Checkpoints(context.workspace.checkpoints.path(context.job_id))


def _with_teacher(plan: Plan, workspace: Workspace) -> Plan:
    """The plan with the place of a teacher that it names by its artifact: plans stay true when a workspace moves."""

    def placed(value: Any, name: str = "") -> Any:
        if isinstance(value, Mapping):
            return {key: placed(item, key) for key, item in value.items()}
        if name == "teacher_folder" and isinstance(value, str) and value.startswith(TEACHER):
            return str(workspace.artifacts.path(value.removeprefix(TEACHER)))
        if name == "teacher_folder" and isinstance(value, str):
            return str(reachable(value, error=PlanError))
        return value

    return plan.changed(method_settings=placed(plan.method_settings))


def _summary(history: Mapping[str, Any]) -> dict[str, Any]:
    from ...analysis.machine import cpu_name
    from .. import loading

    return {**training_summary(history), "machine": cpu_name(), "device": loading.device()}
