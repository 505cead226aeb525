"""Sessions, jobs, variants and artifacts. Knows no torch."""

from .artifacts import Artifacts
from .database import Store
from .records import Dataset, Job, JobState, Measurement, Model, Sensitivity, Session, Variant
from .workspace import Workspace

__all__ = [
    "Artifacts",
    "Dataset",
    "Job",
    "JobState",
    "Measurement",
    "Model",
    "Sensitivity",
    "Session",
    "Store",
    "Variant",
    "Workspace",
]
