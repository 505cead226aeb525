"""Stop and wait signals for a running job, seen at its next ``progress.check()``."""

import threading
import time
from collections.abc import Callable

from ..errors import Cancelled

__all__ = ["Gate"]


class Gate:
    """Passed by a job at every check. Others may close it for a while (a measurement runs) or for good (cancel).

    ``on_pause`` is called with True when the job begins to wait and with False when it goes on.
    """

    def __init__(self, on_pause: Callable[[bool], None] | None = None) -> None:
        self._condition = threading.Condition()
        self._cancelled = False
        self._closed = False
        self._waiting = False
        self._on_pause = on_pause or (lambda _waiting: None)
        self.paused_s = 0.0

    def cancel(self) -> None:
        """Make the next check raise Cancelled; a waiting job wakes up."""
        with self._condition:
            self._cancelled = True
            self._condition.notify_all()

    def pause(self) -> None:
        """Make the job wait at its next check."""
        with self._condition:
            self._closed = True

    def resume(self) -> None:
        """Let a waiting job go on."""
        with self._condition:
            self._closed = False
            self._condition.notify_all()

    @property
    def waiting(self) -> bool:
        """Whether a job waits at its check now: it has acknowledged the pause."""
        return self._waiting

    def new_job(self) -> None:
        """Forget the cancellation of the job before; a pause stays."""
        with self._condition:
            self._cancelled = False
            self.paused_s = 0.0

    def check(self) -> None:
        """Called by the job, once per batch.

        Raises:
            Cancelled: after ``cancel``.
        """
        # The two flags are read without the lock on the way through: a check costs nothing.
        if not (self._cancelled or self._closed):
            return
        with self._condition:
            if self._closed and not self._cancelled:
                started = time.monotonic()
                self._waiting = True
                self._on_pause(True)
                try:
                    self._condition.wait_for(lambda: self._cancelled or not self._closed)
                finally:
                    self._waiting = False
                    self.paused_s += time.monotonic() - started
                    self._on_pause(False)
            if self._cancelled:
                raise Cancelled
