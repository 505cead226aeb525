"""Jobs in a thread of this process: for tests, scripts and the command line."""

from collections.abc import Mapping
from typing import Any

from ..errors import Cancelled
from ..progress import Progress
from ..store import Job, JobState, Workspace
from .execution import Outcome, execute
from .gate import Gate
from .kinds import JobContext
from .reporting import Reporter

__all__ = ["InlineExecutor"]


class _InlineProgress(Progress):
    def __init__(self, reporter: Reporter, gate: Gate) -> None:
        self._reporter = reporter
        self._gate = gate
        self._paused_s = 0.0

    def update(self, done: float, total: float, message: str = "") -> None:
        self._reporter.progress(done, total, message)
        self.check()

    def publish(self, partial: Mapping[str, Any]) -> None:
        self._reporter.partial(partial)

    def check(self) -> None:
        if not self._reporter.tick():
            raise Cancelled
        self._gate.check()
        self._reporter.skip(self._gate.paused_s - self._paused_s)
        self._paused_s = self._gate.paused_s


class InlineExecutor:
    """Runs a job in the thread that calls ``run``. A job that never checks cannot be stopped here."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._gate = Gate()
        self._job_id: str | None = None
        self._closing = False

    @property
    def ready(self) -> bool:
        """Always: there is nothing to start."""
        return True

    @property
    def waiting(self) -> bool:
        """Whether the running job waits at its check."""
        return self._gate.waiting

    def warm_up(self) -> None:
        """Nothing to do."""

    def run(self, job: Job, reporter: Reporter, *, exclusive: bool) -> Outcome:
        """Run a job to its end, in this thread."""
        self._gate.new_job()
        self._job_id = job.id
        if self._closing:
            return Outcome(JobState.INTERRUPTED)
        progress = _InlineProgress(reporter, self._gate)
        context = JobContext(self._workspace, job.session_id, job.id, progress, exclusive)
        outcome = execute(job.kind, job.payload, context)
        self._job_id = None
        if outcome.state is JobState.CANCELLED and self._closing:
            return Outcome(JobState.INTERRUPTED)
        return outcome

    def cancel(self, job_id: str) -> None:
        """Make the next check of this job raise Cancelled."""
        if self._job_id == job_id:
            self._gate.cancel()

    def pause(self) -> None:
        """Make the job wait at its next check."""
        self._gate.pause()

    def resume(self) -> None:
        """Let it go on."""
        self._gate.resume()

    def rest(self) -> None:
        """Nothing to free."""

    def close(self) -> None:
        """Stop the running job at its next check."""
        self._closing = True
        self._gate.cancel()

    def end(self) -> None:
        """Nothing to free."""
