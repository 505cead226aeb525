"""A lane: one thread that takes queued jobs of its kinds, one at a time, and writes how they ended."""

import functools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

from ..errors import StoreError
from ..store import Job, JobState, Store
from ..store.workspace import log
from .execution import Executor, Outcome
from .quiet import Quiet
from .reporting import Reporter

__all__ = ["JobLane"]

# New jobs wake the lane at once; this is how often it looks by itself (a database that was busy, a job of a restart).
_POLL_S = 5.0

_INTERRUPTED = "The server was stopped while this job ran; start it again."


class JobLane:
    """Runs jobs in its own daemon thread: a pool's threads would keep the process alive until their job ends."""

    def __init__(
        self,
        name: str,
        executor: Executor,
        *,
        store: Store,
        owner: str,
        kinds: list[str],
        alone_beside: "JobLane | None" = None,
        quiet: Quiet | None = None,
        patience_s: float = 30.0,
        rest_after_s: float | None = None,
        on_end: Callable[[], None],
    ) -> None:
        self.name = name
        self.executor = executor
        self._store = store
        self._owner = owner
        self._kinds = kinds
        self._beside = alone_beside
        self._quiet = quiet
        self._patience_s = patience_s
        self._rest_after_s = rest_after_s
        self._last_job = time.monotonic()
        self._on_end = on_end
        self._condition = threading.Condition()
        self._news = True
        self._held = 0
        self._stopping = False
        self._warm = False
        self._job: Job | None = None
        self._unwritten: list[Callable[[], None]] = []
        self._thread = threading.Thread(target=self._loop, name=f"espalier-{name}", daemon=True)

    def start(self, *, warm: bool) -> None:
        """Start the thread; ``warm``: prepare the executor before the first job comes."""
        self._warm = warm
        self._thread.start()

    def wake(self) -> None:
        """Say that a job may have been queued."""
        with self._condition:
            self._news = True
            self._condition.notify_all()

    @contextmanager
    def held(self, patience_s: float) -> Iterator[bool]:
        """Keep this lane still inside the block: no job starts, and the running one waits at its check.

        Yields:
            Whether it is still; False when the running job did not reach a check in time.
        """
        with self._condition:
            self._held += 1
        self.executor.pause()
        try:
            yield self._still_within(patience_s)
        finally:
            with self._condition:
                self._held -= 1
                if not self._held:  # somebody else may hold it still
                    self.executor.resume()
                self._news = True
                self._condition.notify_all()

    def stop(self) -> None:
        """Ask the lane to end; the running job becomes interrupted."""
        with self._condition:
            self._stopping = True
            self._condition.notify_all()
        self.executor.close()

    def join(self, timeout_s: float) -> None:
        """Wait for the thread; a job that cannot be stopped in time is left behind and marked interrupted."""
        if self._thread.ident is None or self._thread is threading.current_thread():
            return
        self._thread.join(timeout_s)
        job = self._job
        if job is not None and self._thread.is_alive():
            self._store.finish_job(job.id, JobState.INTERRUPTED, error=_INTERRUPTED)

    def _still_within(self, patience_s: float) -> bool:
        deadline = time.monotonic() + patience_s
        while self._job is not None and not self.executor.waiting and not self._stopping:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True

    def _loop(self) -> None:
        try:
            if self._warm:
                self.executor.warm_up()
            self._serve()
        finally:
            self.executor.end()

    def _serve(self) -> None:
        problem = ""
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._stopping or (self._news and not self._held), timeout=_POLL_S)
                if self._stopping:
                    return
                if self._held:
                    continue
            try:
                self._write_ends()
                job = self._take()
                problem = ""
                if job is not None:
                    self._run(job)
                    self._last_job = time.monotonic()
                elif self._rest_after_s is not None and time.monotonic() - self._last_job > self._rest_after_s:
                    self.executor.rest()
            except StoreError as error:
                if problem != str(error):
                    problem = str(error)
                    log.error("The job runner (%s) waits: %s", self.name, problem)
                self._news = self._news or bool(self._unwritten)  # a job that has ended is not kept waiting
                time.sleep(1.0)
            except Exception as error:
                # The lane outlives everything: a full disk now must not stop the jobs of tomorrow.
                log.exception("The job runner (%s) met an error: %s", self.name, error)
                time.sleep(1.0)

    def _take(self) -> Job | None:
        with self._condition:
            # Claimed under the lock, so that ``held`` sees either no job or this one.
            if self._held or self._stopping:
                return None
            self._job = self._store.claim_job(self._kinds, owner=self._owner)
            self._news = self._job is not None
            return self._job

    def _run(self, job: Job) -> None:
        log.info("Job %s (%s) starts.", job.id, job.kind)
        reporter = Reporter(self._store, job.id)
        try:
            if self._beside is None:
                outcome = self.executor.run(job, reporter, exclusive=True)
            else:
                asked = self._quiet.asked(self._patience_s) if self._quiet is not None else nullcontext(True)
                with asked as quiet, self._beside.held(self._patience_s) as still:
                    outcome = self.executor.run(job, reporter, exclusive=quiet and still)
            reporter.flush()
            self._finish(job, outcome)
        finally:
            self._job = None
            self._on_end()

    def _finish(self, job: Job, outcome: Outcome) -> None:
        log.info("Job %s (%s) ends: %s. %s", job.id, job.kind, outcome.state, outcome.error or "")
        if outcome.traceback:
            log.info("%s", outcome.traceback)
        error = outcome.error
        if outcome.state is JobState.INTERRUPTED and error is None:
            error = _INTERRUPTED
        self._unwritten.append(
            functools.partial(
                self._store.finish_job,
                job.id,
                outcome.state,
                result=outcome.result,
                error=error,
                traceback=outcome.traceback,
            )
        )
        self._write_ends()

    def _write_ends(self) -> None:
        """Write how jobs ended. What cannot be written now (full disk, a workspace that is gone) is tried again before
        the next job begins."""
        while self._unwritten:
            self._unwritten[0]()
            del self._unwritten[0]
