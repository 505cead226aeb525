"""Search for a plan in the background: every measured plan is a point that the page draws as it comes."""

from collections.abc import Mapping
from typing import Any

from ...planning.settings import SearchSettings
from ...pruning.plan import Plan
from . import JobContext, job_kind


@job_kind("search")
def search_session(payload: Mapping[str, Any], context: JobContext) -> dict[str, Any]:
    """Search on the session's model and data.

    Payload: ``plan`` (Plan as JSON: what stays as it is) and ``settings`` (SearchSettings as JSON). Result and partial:
    see ``core.planning.finding.find_smallest``. Plans that earlier searches measured, also stopped ones, are taken from
    there: a search that was stopped and is started again goes on where it was. Sensitivity that is measured on the way
    is stored as if it had been asked for.

    Raises:
        PlanError: see ``find_smallest``.
    """
    from ...comb.sheet import FILE_NAME, GroupSheet
    from ...planning.finding import search_plans
    from .. import loading
    from ..knowledge import curves_of, outcomes_of, tried_before
    from .sensitivity import keep_sensitivity

    workspace, progress = context.workspace, context.progress
    store = workspace.store
    plan = Plan.parse(payload.get("plan") or {})
    settings = SearchSettings.parse(payload.get("settings") or {})
    _, dense = loading.session_parts(workspace, context.session_id)
    progress.update(0, 0, "Loading the model and the data")
    data = store.get_dataset(dense.data_id)
    groups = curves_of(store, dense.model_id, data.id, of="groups", criterion=plan.criterion)
    sheet_file = workspace.artifacts.path(dense.artifact) / FILE_NAME
    return search_plans(
        loading.load_model(workspace, dense.artifact),
        loading.load_data(data, progress=progress),
        plan,
        settings,
        sensitivity=loading.plan_sensitivity(workspace, dense, plan),
        group_sensitivity=None if groups is None else groups.result,
        sheet=GroupSheet.load(sheet_file) if sheet_file.is_file() else None,
        outcomes=outcomes_of(store, dense.model_id, data.id),
        known=tried_before(store, dense.model_id, data.id),
        keep_sensitivity=lambda result: keep_sensitivity(workspace, result, model_id=dense.model_id, data_id=data.id),
        progress=progress,
    )
