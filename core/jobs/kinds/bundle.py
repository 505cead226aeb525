"""Fill an empty session from a bundle that was uploaded: checked, and its models loaded once, away from the pages."""

from collections.abc import Mapping
from typing import Any

from ...errors import StoreError
from ...sharing.importing import import_bundle
from . import JobContext, job_kind


@job_kind("import")
def import_session(payload: Mapping[str, Any], context: JobContext) -> dict[str, Any]:
    """Payload: ``artifact`` (the uploaded file). Result: ``session_id``, ``variants``, ``notes``.

    Raises:
        StoreError: when the bundle is refused (see ``core.sharing.importing``), or the session is not empty.
    """
    if context.session_id is None:
        raise StoreError("A bundle is opened in an empty session; create one first.")
    workspace = context.workspace
    place = workspace.artifacts.path(str(payload.get("artifact")))
    session = import_bundle(workspace, place, into=context.session_id, progress=context.progress)
    notes = []
    if session.data_id is not None and workspace.store.get_dataset(session.data_id).description.get("away"):
        notes.append("The data did not travel along: open them from their folder to go on measuring.")
    return {"session_id": session.id, "variants": len(workspace.store.variants(session.id)), "notes": notes}
