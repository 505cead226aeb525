"""From a snapshot to a session of one's own. Its artifacts must be in the workspace already. Knows no torch."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from ..data.opening import DATA_SOURCES
from ..errors import StoreError
from ..store import Session, Store, Workspace
from ..store.connection import now
from .snapshot import DataPart, ModelPart, SensitivityPart, Snapshot, program_version

__all__ = ["NOTES", "plant"]

NOTES = "notes"
"""Kind of the measurement that holds the notes of a run that was made elsewhere."""


def plant(
    workspace: Workspace,
    snapshot: Snapshot,
    *,
    how: str,
    name: str = "",
    owner: str = "",
    title: str = "",
    into: str | None = None,
) -> Session:
    """A new session with everything that the snapshot holds; the one it came from is not touched.

    ``into``: the id of an empty session that is filled instead of a new one.

    ``how`` ("fork", "import") and ``title`` are remembered as a step of ``Session.lineage``. Models, data and
    sensitivities that the workspace knows already are kept as they are: what came from elsewhere never replaces them.

    Raises:
        StoreError: when it cannot be stored; then there is no new session.
    """
    store = workspace.store
    step = {
        "how": how,
        "name": snapshot.name,
        "title": title,
        "taken": snapshot.taken.isoformat(),
        "made": now().isoformat(),
        "espalier": snapshot.espalier or program_version(),
    }
    lineage = [*snapshot.lineage, step]
    if into is None:
        session = store.create_session(name or snapshot.name, owner, lineage=lineage)
    else:
        session = _emptied(store, into)
        store.set_session_lineage(into, lineage)
        store.rename_session(into, name or snapshot.name)
    try:
        _fill(store, session, snapshot)
    except BaseException:
        if into is None:
            store.delete_session(session.id)
        raise
    return store.get_session(session.id)


def _emptied(store: Store, session_id: str) -> Session:
    session = store.get_session(session_id)
    if session.model_id is not None or store.variants(session_id):
        raise StoreError("This session holds a model already; what comes from elsewhere needs an empty one.")
    return session


def _fill(store: Store, session: Session, snapshot: Snapshot) -> None:
    for model in snapshot.models:
        _add_model(store, model)
    store.set_session_model(session.id, snapshot.model.id)
    if snapshot.data is not None:
        _add_data(store, snapshot.data)
        store.set_session_data(session.id, snapshot.data.id)
        for part in snapshot.sensitivities:
            _add_sensitivity(store, snapshot.model.id, snapshot.data.id, part)
    names = _add_variants(store, session, snapshot)
    for item in snapshot.measurements:
        store.add_measurement(
            variant_id=names[item.variant_id],
            kind=item.kind,
            context=_renamed(item.context, names),
            result=_renamed(item.result, names),
        )
    for kept in snapshot.plans:
        store.save_plan(session.id, kept.name, _renamed(kept.plan, names))
    for view in snapshot.views:
        store.save_view(session.id, view.name, _renamed(view.body, names))
    if snapshot.draft_plan:
        store.save_draft(session.id, _renamed(snapshot.draft_plan, names), revision=session.revision)


def _add_model(store: Store, part: ModelPart) -> None:
    try:
        store.get_model(part.id)
    except StoreError:
        store.add_model(**part.model_dump())


def _add_data(store: Store, part: DataPart) -> None:
    try:
        store.get_dataset(part.id)
    except StoreError:
        # Nothing is fetched from the internet because a file said so.
        store.add_dataset(**{**part.model_dump(), "spec": {**part.spec, "download": False}, "description": _away(part)})


def _away(part: DataPart) -> dict[str, Any]:
    """The description, which says whether the data must be found first: data of one's own folders do not travel."""
    source = str(part.spec.get("source"))
    return {**part.description, "away": source not in DATA_SOURCES or DATA_SOURCES[source].needs_folder}


def _add_sensitivity(store: Store, model_id: str, data_id: str, part: SensitivityPart) -> None:
    if any(found.complete for found in store.sensitivities(model_id, data_id)):
        return
    # Not the key of a measurement that this workspace makes itself: that one must not be answered from here.
    content = json.dumps(["from elsewhere", model_id, data_id, part.to_json()], sort_keys=True)
    store.put_sensitivity(
        key=hashlib.sha256(content.encode()).hexdigest(),
        model_id=model_id,
        data_id=data_id,
        settings=part.settings,
        result=part.result,
        complete=part.complete,
    )


def _add_variants(store: Store, session: Session, snapshot: Snapshot) -> dict[str, str]:
    """Add the variants, parents first; returns their new ids by the old ones."""
    names: dict[str, str] = {}
    left = list(snapshot.variants)
    if left and snapshot.data is None:
        raise StoreError("Variants without data cannot be: the snapshot is not whole.")
    while left:
        ready = [part for part in left if part.parent_id is None or part.parent_id in names]
        if not ready:
            raise StoreError("The variants of this snapshot name parents that it does not hold.")
        for part in ready:
            made = store.add_variant(
                session_id=session.id,
                name=part.name,
                model_id=part.model_id,
                data_id=snapshot.data.id if snapshot.data else "",
                artifact=part.artifact,
                parent_id=None if part.parent_id is None else names[part.parent_id],
                plan=None if part.plan is None else _renamed(part.plan, names),
                evaluation_artifact=part.evaluation_artifact,
                metrics=part.metrics,
                sizes=part.sizes,
                layers=part.layers,
            )
            names[part.id] = made.id
            if part.notes:
                store.add_measurement(variant_id=made.id, kind=NOTES, context={}, result={NOTES: list(part.notes)})
        left = [part for part in left if part not in ready]
    return names


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    """JSON with the ids of variants replaced wherever they stand alone."""
    if isinstance(value, Mapping):
        return {names.get(key, key): _renamed(item, names) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_renamed(item, names) for item in value]
    return names.get(value, value) if isinstance(value, str) else value
