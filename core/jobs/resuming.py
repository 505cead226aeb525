"""Which stopped jobs can go on from where they were."""

from ..store import Job, JobState, Workspace
from ..training.checkpoints import Checkpoints

__all__ = ["STOPPED", "checkpoint_epoch", "resumable"]

STOPPED = (JobState.INTERRUPTED, JobState.CANCELLED, JobState.FAILED)
"""The states in which a job can be taken up again."""


def resumable(workspace: Workspace, job: Job) -> bool:
    """Whether the job was stopped and left a checkpoint behind; without one it can only be run again."""
    return checkpoint_epoch(workspace, job) is not None


def checkpoint_epoch(workspace: Workspace, job: Job) -> int | None:
    """Epochs that need not be trained again when the job is resumed; None when it cannot be."""
    return Checkpoints(workspace.checkpoints.path(job.id)).epoch if job.state in STOPPED else None
