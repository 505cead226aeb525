"""The runner: submits jobs, runs them in two lanes, and ends promptly. One per process and workspace."""

import atexit
import threading
import time
from collections.abc import Mapping
from typing import Any, Literal

from ..errors import StoreError
from ..store import Job, Workspace
from ..store.owner import this_process
from ..store.workspace import log
from .execution import Executor
from .inline import InlineExecutor
from .kinds import kinds_of, lane_of
from .lane import JobLane
from .process import CANCEL_GRACE_S, ProcessExecutor
from .quiet import Quiet, QuietWatch
from .resuming import resumable

__all__ = ["Runner"]

_CLOSE_S = 6.0
# Measurements are rare and their worker holds half a gigabyte; the worker of the work lane is always kept warm.
_REST_AFTER_S = 300.0


class Runner:
    """Background work on one workspace.

    ``mode="process"`` (the server): jobs run in worker processes at low priority, one per lane, and the runner holds
    the workspace's server lock. ``mode="inline"`` (tests, scripts, the command line): jobs run in threads of this
    process, no lock is taken, and only jobs submitted here are run.

    ``patience_s``: how long a measurement waits for training to pause. ``cancel_grace_s``: how long a cancelled job may
    go on before its worker is killed. ``import_torch``: whether workers import torch before their first job.
    """

    def __init__(
        self,
        workspace: Workspace,
        *,
        mode: Literal["process", "inline"] = "process",
        patience_s: float = 30.0,
        cancel_grace_s: float = CANCEL_GRACE_S,
        import_torch: bool = True,
    ) -> None:
        self.workspace = workspace
        self.mode = mode
        self._cancel_grace_s = cancel_grace_s
        self._import_torch = import_torch
        self._store = workspace.store
        self._owner = this_process()
        self._ended = threading.Condition()
        self._running = False
        self._quiet = Quiet(workspace.folder, workspace.lock)
        self._work = self._lane("work", patience_s)
        self._measure = self._lane("measure", patience_s, alone_beside=self._work)
        self._watch: QuietWatch | None = None
        self._patience_s = patience_s

    def start(self) -> "Runner":
        """Start the lanes. Process mode takes the server lock, recovers what a crash left and warms a worker up.

        Raises:
            StoreError: when another server uses this workspace.
        """
        if self._running:
            return self
        if self.mode == "process":
            self.workspace.lock.acquire()
            self.workspace.log_to_file()
            for job in self._store.recover_jobs(new_owner=self._owner):
                log.info("Job %s (%s) was interrupted by a stop of the server.", job.id, job.kind)
        self._running = True
        self._work.start(warm=True)
        self._measure.start(warm=False)
        self._watch = QuietWatch(
            self._quiet, self._work.held, patience_s=self._patience_s, server=self.mode == "process"
        )
        self._watch.start()
        if self.mode == "process":
            threading.Thread(target=self._clean_up, name="espalier-garbage", daemon=True).start()
        atexit.register(self.close)
        return self

    @property
    def warm(self) -> bool:
        """Whether a job would start at once: the worker has imported torch."""
        return self._work.executor.ready

    def submit(
        self,
        kind: str,
        payload: Mapping[str, Any],
        *,
        session_id: str | None = None,
        title: str | None = None,
        most_per_person: int | None = None,
    ) -> Job:
        """Queue a job and return its row; the same job that is still queued or running is returned instead.

        Raises:
            StoreError: when too many jobs of the session, or of its owner, wait, or the runner is not running.
            RegistryError: for an unknown kind.
        """
        if not self._running:
            raise StoreError("The job runner is not running; call start() first.")
        lane = self._lane_of(kind)
        job = self._store.create_job(
            kind,
            payload,
            owner=self._owner,
            session_id=session_id,
            title=title or "",
            most_per_person=most_per_person,
        )
        lane.wake()
        return job

    def cancel(self, job_id: str) -> Job:
        """Stop a job: a queued one at once, a running one at its next check. A job that has ended stays as it is."""
        job = self._store.request_cancel(job_id)
        for lane in (self._work, self._measure):
            lane.executor.cancel(job_id)
        return job

    def queue_position(self, job: Job) -> int:
        """How many jobs that wait will run before this one in its lane, whoever asked for them."""
        return self._store.queue_position(job.id, kinds_of(lane_of(job.kind)))

    def resume(self, job_id: str, *, most_per_person: int | None = None) -> Job:
        """Put a job that was stopped back into the queue: the same row, which goes on from its checkpoint.

        Raises:
            StoreError: when it has no checkpoint, is live or done, or the same work is live already.
        """
        if not self._running:
            raise StoreError("The job runner is not running; call start() first.")
        job = self._store.get_job(job_id)
        if not resumable(self.workspace, job):
            raise StoreError(
                f"“{job.title}” ({job.state.value}) has no checkpoint to go on from; run it again instead."
            )
        job = self._store.requeue_job(job_id, owner=self._owner, most_per_person=most_per_person)
        self._lane_of(job.kind).wake()
        return job

    def wait(self, job_id: str, timeout_s: float | None = None) -> Job:
        """The job once it has ended, or as it stands after ``timeout_s`` seconds."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            job = self._store.get_job(job_id)
            left_s = 0.5 if deadline is None else min(0.5, deadline - time.monotonic())
            if not job.state.live or left_s <= 0:
                return job
            with self._ended:
                self._ended.wait(left_s)

    def close(self) -> None:
        """End within seconds: running jobs become interrupted, queued ones stay queued, the lock is freed."""
        if not self._running:
            return
        self._running = False
        atexit.unregister(self.close)
        lanes = (self._work, self._measure)
        for lane in lanes:
            lane.stop()
        if self._watch is not None:
            self._watch.stop()
        for lane in lanes:
            lane.join(_CLOSE_S)
        if self.mode == "process":
            self.workspace.lock.release()

    def __enter__(self) -> "Runner":
        return self.start()

    def __exit__(self, *_error: object) -> None:
        self.close()

    def _lane_of(self, kind: str) -> JobLane:
        return self._measure if lane_of(kind) == "measure" else self._work

    def _lane(
        self, name: Literal["work", "measure"], patience_s: float, *, alone_beside: JobLane | None = None
    ) -> JobLane:
        return JobLane(
            name,
            self._executor(name),
            store=self._store,
            owner=self._owner,
            kinds=kinds_of(name),
            alone_beside=alone_beside,
            quiet=None if alone_beside is None else self._quiet,
            patience_s=patience_s,
            rest_after_s=_REST_AFTER_S if name == "measure" else None,
            on_end=self._notify,
        )

    def _executor(self, lane: Literal["work", "measure"]) -> Executor:
        if self.mode == "inline":
            return InlineExecutor(self.workspace)
        return ProcessExecutor(self.workspace, lane, warm=self._import_torch, cancel_grace_s=self._cancel_grace_s)

    def _clean_up(self) -> None:
        try:
            removed = self.workspace.collect_garbage()
        except Exception as error:
            log.warning("Unused files were not deleted: %s", error)
        else:
            log.info("%d unused files were deleted.", removed)

    def _notify(self) -> None:
        with self._ended:
            self._ended.notify_all()
