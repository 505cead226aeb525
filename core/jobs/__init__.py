"""Background work: the runner, its lanes and workers, and the kinds of jobs. Knows no torch until a job runs."""

from .kinds import JOB_KINDS, JobContext, job_kind
from .runner import Runner

__all__ = ["JOB_KINDS", "JobContext", "Runner", "job_kind"]
