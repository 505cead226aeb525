"""Running one job function: the same few lines for the inline mode and the worker process."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ..errors import Cancelled
from ..store import Job, JobState
from .failures import describe_failure
from .kinds import JOB_KINDS, JobContext
from .reporting import Reporter

__all__ = ["Executor", "Outcome", "execute"]


@dataclass(frozen=True)
class Outcome:
    """How a job ended."""

    state: JobState
    result: Mapping[str, Any] | None = None
    error: str | None = None
    traceback: str | None = None


class Executor(Protocol):
    """Runs the jobs of one lane, one at a time. ``run`` is called by the lane's thread, the rest by any thread."""

    @property
    def ready(self) -> bool:
        """Whether a job would start at once."""

    @property
    def waiting(self) -> bool:
        """Whether the running job waits at its check after ``pause``."""

    def warm_up(self) -> None:
        """Prepare, so that the first job starts at once."""

    def run(self, job: Job, reporter: Reporter, *, exclusive: bool) -> Outcome:
        """Run a job to its end."""

    def cancel(self, job_id: str) -> None:
        """Stop this job, if it is the one that runs."""

    def pause(self) -> None:
        """Make the running job (or the next one) wait at its next check."""

    def resume(self) -> None:
        """Let it go on."""

    def rest(self) -> None:
        """The lane has been idle for long: free what costs memory; the next job brings it back."""

    def close(self) -> None:
        """Ask for the end: a running job becomes interrupted."""

    def end(self) -> None:
        """The lane's thread is done: free everything."""


def execute(kind: str, payload: Mapping[str, Any], context: JobContext) -> Outcome:
    """Call the job function; whatever it raises becomes an outcome, even SystemExit and KeyboardInterrupt."""
    try:
        return Outcome(JobState.DONE, result=JOB_KINDS[kind](payload, context))
    except Cancelled:
        return Outcome(JobState.CANCELLED)
    except BaseException as error:
        message, traceback = describe_failure(error, payload)
        return Outcome(JobState.FAILED, error=message, traceback=traceback)
