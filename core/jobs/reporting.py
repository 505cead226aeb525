"""The way of progress from a running job to its row: the newest news, at most four times a second."""

import time
from collections.abc import Mapping
from typing import Any

from ..errors import StoreError
from ..store import Store
from ..store.workspace import log
from .eta import EtaEstimator

__all__ = ["PARTIAL_INTERVAL_S", "PROGRESS_INTERVAL_S", "Reporter"]

PROGRESS_INTERVAL_S = 0.25
PARTIAL_INTERVAL_S = 0.5
_HEARTBEAT_S = 5.0
_CANCEL_POLL_S = 0.5


class Reporter:
    """Collects what one job reports and writes it when it is due. Used by one thread."""

    def __init__(self, store: Store, job_id: str) -> None:
        self._store = store
        self._job_id = job_id
        self._eta = EtaEstimator()
        self._progress: dict[str, Any] | None = None
        self._partial: Mapping[str, Any] | None = None
        self._problem = ""
        self._written = self._partial_written = self._polled = time.monotonic()
        self._written -= PROGRESS_INTERVAL_S
        self._partial_written -= PARTIAL_INTERVAL_S

    def progress(self, done: float, total: float, message: str) -> None:
        """Take in where the job stands."""
        eta_s = self._eta.update(done, total)
        self._progress = {"done": float(done), "total": float(total), "message": message[:200], "eta_s": eta_s}

    def partial(self, body: Mapping[str, Any]) -> None:
        """Take in a partial result, which replaces the one before."""
        self._partial = body

    def skip(self, seconds: float) -> None:
        """Leave a pause out of the estimate of the remaining time."""
        self._eta.skip(seconds)

    def tick(self) -> bool:
        """Write what is due, and ask whether the job should go on (False: it was cancelled or deleted)."""
        time_s = time.monotonic()
        try:
            if self._partial is not None and time_s - self._partial_written >= PARTIAL_INTERVAL_S:
                self._store.put_partial(self._job_id, self._partial)
                self._partial, self._partial_written = None, time_s
            since = time_s - self._written
            if (self._progress is not None and since >= PROGRESS_INTERVAL_S) or since >= _HEARTBEAT_S:
                self._written = self._polled = time_s
                progress, self._progress = self._progress or {}, None
                return self._store.update_job(self._job_id, **progress)
            if time_s - self._polled >= _CANCEL_POLL_S:
                self._polled = time_s
                return not self._store.should_stop(self._job_id)
        except StoreError as error:
            # A full disk or a busy database must not end the job: its news come late, its result is what counts.
            if self._problem != str(error):
                self._problem = str(error)
                log.warning("Progress of job %s was not written: %s", self._job_id, error)
            self._written = self._partial_written = self._polled = time_s
        return True

    def flush(self) -> None:
        """Write what is left; a failed or cancelled job keeps its last partial result."""
        try:
            if self._partial is not None:
                self._store.put_partial(self._job_id, self._partial)
            if self._progress is not None:
                self._store.update_job(self._job_id, **self._progress)
        except StoreError as error:
            log.warning("The last progress of job %s was not written: %s", self._job_id, error)
        self._partial = self._progress = None
