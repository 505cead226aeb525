"""Sessions, jobs, variants and artifacts. Knows no torch."""

from .artifacts import Artifacts
from .database import Store
from .records import (
    Dataset,
    Job,
    JobState,
    Measurement,
    Model,
    SavedPlan,
    Sensitivity,
    Session,
    Share,
    Variant,
    View,
)
from .workspace import Workspace

__all__ = [
    "Artifacts",
    "Dataset",
    "Job",
    "JobState",
    "Measurement",
    "Model",
    "SavedPlan",
    "Sensitivity",
    "Session",
    "Share",
    "Store",
    "Variant",
    "View",
    "Workspace",
]
