"""Find the groups of a session's model that was opened before Espalier kept them."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...errors import StoreError
from . import JobContext, job_kind


@job_kind("groups")
def find_session_groups(payload: Mapping[str, Any], context: JobContext) -> dict[str, Any]:
    """Find the coupled groups of the session's model and keep them with it. Payload: none. Result: ``groups``."""
    from ...comb.sheet import FILE_NAME
    from .. import loading
    from ..grouping import find_groups

    store, artifacts = context.workspace.store, context.workspace.artifacts
    session = store.get_session(context.session_id) if context.session_id else None
    if session is None or session.model_id is None:
        raise StoreError("Open a model in this session first.")
    row = store.get_model(session.model_id)
    model = loading.load_model(context.workspace, row.artifact)
    context.progress.update(0, 0, "Finding the coupled groups")
    sheet = find_groups(model)
    with tempfile.TemporaryDirectory(prefix="espalier-") as name:
        folder = Path(name) / "model"
        model.save(folder)
        sheet.save(folder / FILE_NAME)
        context.progress.check()
        artifact = artifacts.put_folder(folder)
    store.add_model(
        id=row.id,
        name=row.name,
        spec=row.spec,
        description=row.description,
        artifact=artifact,
        weights_artifact=row.weights_artifact,
    )
    return {"groups": len(sheet.groups)}
