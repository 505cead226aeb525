"""Read a variant as a model of its own, so that a plan can start from it."""

from collections.abc import Mapping
from typing import Any

from ..lineage import DESCRIPTION
from . import JobContext, job_kind


@job_kind("describe")
def describe_variant(payload: Mapping[str, Any], context: JobContext) -> dict[str, Any]:
    """Describe a variant's layers, weights and groups. Payload: ``variant_id``. Result: ``model_id``.

    The row of the model is named by the variant's newest measurement of kind ``description``.
    """
    from .. import loading
    from ..describing import store_model

    store = context.workspace.store
    variant = store.get_variant(str(payload["variant_id"]))
    context.progress.update(0, 0, "Reading the variant's layers and groups")
    model = loading.load_model(context.workspace, variant.artifact)
    spec = store.get_model(variant.model_id).spec
    row = store_model(context.workspace, model, name=variant.name, spec=spec, progress=context.progress)
    store.add_measurement(variant_id=variant.id, kind=DESCRIPTION, context={}, result={"model_id": row.id})
    return {"model_id": row.id}
