"""Rows of the store as immutable records. Pages and workers meet here and nowhere else. Knows no torch.

Small numbers and ids live in rows; arrays live in content-addressed artifacts, named by their SHA-256.
Times are UTC (``datetime`` with timezone).
"""

from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "Dataset",
    "Job",
    "JobState",
    "Measurement",
    "Model",
    "SavedPlan",
    "Sensitivity",
    "Session",
    "Share",
    "Variant",
    "View",
]


class Record(BaseModel):
    """An immutable row."""

    model_config = ConfigDict(frozen=True, protected_namespaces=())


class JobState(StrEnum):
    """queued → running → done | failed | cancelled | interrupted."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"

    @property
    def live(self) -> bool:
        """Whether the job may still change."""
        return self in (JobState.QUEUED, JobState.RUNNING)


class Session(Record):
    """A person's work: one model, one data set, a draft plan, and the runs and variants made from them.

    ``revision`` grows with every write of the draft; a write that names an older revision is refused. ``owner`` is the
    person it belongs to, "" where nobody logs in. ``lineage``: what it was forked or imported from, the first first;
    see ``core.sharing.planting``.
    """

    id: str
    name: str
    model_id: str | None = None
    data_id: str | None = None
    draft_plan: dict[str, Any] = Field(default_factory=dict)
    revision: int = 0
    created: datetime
    updated: datetime
    owner: str = ""
    lineage: list[dict[str, Any]] = Field(default_factory=list)


class Model(Record):
    """A traced model. ``id`` is the SHA-256 of its graph and tensors.

    ``artifact`` is the saved TracedModel; ``weights_artifact`` the weight statistics (npz, core/analysis/weights.py).
    ``description``: see ``core.analysis.describe``.
    """

    id: str
    name: str
    spec: dict[str, Any]
    description: dict[str, Any]
    artifact: str
    weights_artifact: str
    created: datetime


class Dataset(Record):
    """A data set that was read once. ``id`` is its fingerprint. ``description``: see ``Splits.describe``."""

    id: str
    name: str
    spec: dict[str, Any]
    description: dict[str, Any]
    created: datetime


class Job(Record):
    """A piece of background work. ``partial`` is not loaded with lists of jobs: ask ``store.partial(job_id)``."""

    id: str
    session_id: str | None
    kind: str
    title: str
    payload: dict[str, Any]
    state: JobState
    done: float = 0.0
    total: float = 0.0
    message: str = ""
    eta_s: float | None = None
    result: dict[str, Any] | None = None
    error: str | None = None
    traceback: str | None = None
    created: datetime
    started: datetime | None = None
    finished: datetime | None = None


class Variant(Record):
    """A model with measurements and lineage. The dense model of a session is its first variant (``plan`` is None).

    ``metrics``: ``{"select": {...}, "test": {...}}`` with the numbers of ``Evaluation.summary``; ``sizes``: see
    ``core.export.sizes``; ``layers``: per-layer what-went-where; ``evaluation_artifact`` holds the per-example arrays
    (npz) that paired comparisons need.
    """

    id: str
    session_id: str
    name: str
    model_id: str
    data_id: str
    parent_id: str | None = None
    job_id: str | None = None
    plan: dict[str, Any] | None = None
    artifact: str
    evaluation_artifact: str | None = None
    metrics: dict[str, Any] = Field(default_factory=dict)
    sizes: dict[str, Any] = Field(default_factory=dict)
    layers: list[dict[str, Any]] = Field(default_factory=list)
    created: datetime


class Measurement(Record):
    """One measurement of one variant: ``kind`` is ``latency`` or ``onnx``; ``result`` holds its numbers."""

    id: str
    variant_id: str
    kind: str
    context: dict[str, Any]
    result: dict[str, Any]
    created: datetime


class Sensitivity(Record):
    """A measured sensitivity, cached by the content of model, data and settings (``key``)."""

    id: str
    key: str
    model_id: str
    data_id: str
    settings: dict[str, Any]
    result: dict[str, Any]
    complete: bool
    created: datetime


class SavedPlan(Record):
    """A plan that a person kept under a name. ``plan`` is ``Plan.to_json()``."""

    id: str
    session_id: str
    name: str
    plan: dict[str, Any]
    created: datetime


class View(Record):
    """A page with what is chosen on it (``body``), kept under a name; shown one after another in a presentation."""

    id: str
    session_id: str
    name: str
    body: dict[str, Any]
    position: int
    created: datetime


class Share(Record):
    """A frozen report that can be read by whoever has the link. Of its token only the SHA-256 is known.

    ``body``: see ``core.sharing.report``; ``artifact`` may hold what is too large for a row.
    """

    id: str
    token_hash: str
    session_id: str
    title: str
    body: dict[str, Any]
    artifact: str | None = None
    allow_onnx: bool = False
    created: datetime
    revoked: datetime | None = None
