"""A session as it was at one moment: what links, bundles, forks and model cards are made of. Knows no torch."""

import importlib.metadata
import json
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from ..errors import StoreError
from ..settings import Settings
from ..store import Measurement, Model, Session, Store, Variant, Workspace
from ..store.connection import now
from .privacy import own_folders, without_paths

__all__ = [
    "SNAPSHOT_VERSION",
    "DataPart",
    "MeasurementPart",
    "ModelPart",
    "PlanPart",
    "SensitivityPart",
    "Snapshot",
    "VariantPart",
    "ViewPart",
    "program_version",
    "take_snapshot",
]

SNAPSHOT_VERSION = 1

Hash = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Fingerprint = Annotated[str, StringConstraints(pattern=r"^[0-9a-z]{1,64}$")]
Identity = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$")]
Label = Annotated[str, StringConstraints(max_length=300)]

_ARTIFACT = re.compile(r"\b[0-9a-f]{64}\b")


class ModelPart(Settings):
    """A row of models; see ``core.store.records.Model``."""

    id: Fingerprint
    name: Label
    spec: dict[str, Any]
    description: dict[str, Any]
    artifact: Hash
    weights_artifact: Hash


class DataPart(Settings):
    """A row of data sets: which data, and their fingerprint (``id``); never the data themselves."""

    id: Fingerprint
    name: Label
    spec: dict[str, Any]
    description: dict[str, Any]


class VariantPart(Settings):
    """A row of variants, and the notes of the run that made it."""

    id: Identity
    name: Label
    model_id: Fingerprint
    parent_id: Identity | None = None
    plan: dict[str, Any] | None = None
    artifact: Hash
    evaluation_artifact: Hash | None = None
    metrics: dict[str, Any]
    sizes: dict[str, Any]
    layers: tuple[dict[str, Any], ...] = ()
    notes: tuple[str, ...] = ()
    created: datetime


class MeasurementPart(Settings):
    """A row of measurements."""

    variant_id: Identity
    kind: Label
    context: dict[str, Any]
    result: dict[str, Any]
    created: datetime


class SensitivityPart(Settings):
    """A row of sensitivities; its key is made anew where it arrives."""

    settings: dict[str, Any]
    result: dict[str, Any]
    complete: bool
    created: datetime


class PlanPart(Settings):
    """A saved plan."""

    name: Label
    plan: dict[str, Any]


class ViewPart(Settings):
    """A saved view."""

    name: Label
    body: dict[str, Any]


class Snapshot(Settings):
    """One session, whole. ``models`` begins with the session's own; ``variants`` with the dense one.

    ``lineage``: what the session was forked or imported from, the first first.
    """

    version: int = Field(default=SNAPSHOT_VERSION, ge=1)
    espalier: Label = ""
    taken: datetime
    name: Label
    models: tuple[ModelPart, ...] = Field(min_length=1, max_length=1000)
    data: DataPart | None = None
    draft_plan: dict[str, Any] = Field(default_factory=dict)
    variants: tuple[VariantPart, ...] = Field(default=(), max_length=1000)
    measurements: tuple[MeasurementPart, ...] = Field(default=(), max_length=10_000)
    sensitivities: tuple[SensitivityPart, ...] = Field(default=(), max_length=1000)
    plans: tuple[PlanPart, ...] = Field(default=(), max_length=1000)
    views: tuple[ViewPart, ...] = Field(default=(), max_length=1000)
    lineage: tuple[dict[str, Any], ...] = Field(default=(), max_length=1000)

    @property
    def model(self) -> ModelPart:
        """The session's model."""
        return self.models[0]

    @property
    def dense(self) -> VariantPart | None:
        """The model as it was opened, with its measurements; None while it has none."""
        return next((variant for variant in self.variants if variant.plan is None), None)

    def saved_models(self) -> list[tuple[str, str]]:
        """Name and artifact of every model that is saved: those of rows, then those of variants."""
        return [(part.name, part.artifact) for part in self.models] + [(v.name, v.artifact) for v in self.variants]

    def model_record(self) -> Model:
        """The session's model as the store would give it."""
        return Model(created=self.taken, **self.model.model_dump())

    def variant_records(self) -> list[Variant]:
        """The variants as the store would give them, for whatever reads records."""
        data_id = self.data.id if self.data else ""
        return [
            Variant(
                session_id="", data_id=data_id, **{**part.model_dump(exclude={"notes"}), "layers": list(part.layers)}
            )
            for part in self.variants
        ]

    def measurement_records(self, variant_id: str) -> list[Measurement]:
        """The measurements of a variant as the store would give them."""
        return [
            Measurement(id=f"{number}", **part.model_dump())
            for number, part in enumerate(self.measurements)
            if part.variant_id == variant_id
        ]

    def artifact_names(self) -> set[str]:
        """Everything in it that may name an artifact; fingerprints of models and data are among them."""
        return set(_ARTIFACT.findall(json.dumps(self.to_json())))


def program_version() -> str:
    """The version of Espalier; "" in a checkout that was never installed."""
    try:
        return importlib.metadata.version("espalier")
    except importlib.metadata.PackageNotFoundError:
        return ""


def take_snapshot(workspace: Workspace, session_id: str) -> Snapshot:
    """The session as it is now.

    Raises:
        StoreError: when it does not exist, or has no model yet.
    """
    store = workspace.store
    session = store.get_session(session_id)
    if session.model_id is None:
        raise StoreError("There is nothing to take along yet: open a model in this session first.")
    variants = sorted(store.variants(session_id), key=lambda variant: variant.plan is not None)
    measurements = [item for variant in variants for item in store.measurements(variant.id)]
    named = [item.result.get("model_id") for item in measurements]
    models = dict.fromkeys([session.model_id, *(v.model_id for v in variants), *(name for name in named if name)])
    body = {
        "espalier": program_version(),
        "taken": now(),
        "name": session.name,
        "models": [_of(store.get_model(str(model)), ModelPart) for model in models],
        "data": _of(store.get_dataset(session.data_id), DataPart) if session.data_id else None,
        "draft_plan": session.draft_plan,
        "variants": [{**_of(variant, VariantPart), "notes": _notes(store, variant)} for variant in variants],
        "measurements": [_of(item, MeasurementPart) for item in measurements],
        "sensitivities": [_of(item, SensitivityPart) for item in _sensitivities(store, session)],
        "plans": [_of(kept, PlanPart) for kept in store.saved_plans(session_id)],
        "views": [_of(view, ViewPart) for view in store.views(session_id)],
        "lineage": session.lineage,
    }
    return Snapshot.parse(without_paths(body, own_folders(workspace.folder, *_named_paths(body))), error=StoreError)


def _of(record: Any, part: type[Settings]) -> dict[str, Any]:
    return {name: value for name, value in record.model_dump().items() if name in part.model_fields}


def _sensitivities(store: Store, session: Session) -> list[Any]:
    if session.model_id is None or session.data_id is None:
        return []
    return store.sensitivities(session.model_id, session.data_id)


def _notes(store: Store, variant: Variant) -> list[str]:
    """What the run that made the variant had to say; it may have been cleared since."""
    if variant.job_id is None:
        return []
    try:
        return [str(note) for note in (store.get_job(variant.job_id).result or {}).get("notes") or ()]
    except StoreError:
        return []


def _named_paths(value: Any) -> Iterator[str]:
    """The folders and files that specifications and plans name."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key in ("root", "checkpoint", "teacher_folder") and isinstance(item, str):
                yield item
            else:
                yield from _named_paths(item)
    elif isinstance(value, list):
        for item in value:
            yield from _named_paths(item)
