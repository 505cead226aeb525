"""Which stopped jobs can go on from where they were."""

from ..store import Job, JobState, Workspace

__all__ = ["STOPPED", "resumable"]

STOPPED = (JobState.INTERRUPTED, JobState.CANCELLED, JobState.FAILED)
"""The states in which a job can be taken up again."""


def resumable(workspace: Workspace, job: Job) -> bool:
    """Whether the job was stopped and left a checkpoint behind; without one it can only be run again."""
    return job.state in STOPPED and workspace.checkpoints.exists(job.id)
