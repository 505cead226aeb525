"""How long a job still needs, from its progress and the monotonic clock."""

import time
from collections.abc import Callable

__all__ = ["EtaEstimator"]

_SMOOTHING_S = 15.0


class EtaEstimator:
    """Remaining seconds from a smoothed rate: recent progress counts more, single slow batches little.

    At first it is the mean rate so far, so that a slow first step does not speak for all the others.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last: tuple[float, float] | None = None
        self._total = 0.0
        self._rate: float | None = None
        self._known_s = 0.0

    def update(self, done: float, total: float) -> float | None:
        """Take in progress and return the remaining seconds, or None while they are unknown."""
        time_s = self._clock()
        if self._last is None or total != self._total or done < self._last[1]:
            # A new phase with its own unit: what was learned no longer holds.
            self._rate, self._known_s = None, 0.0
            self._total = total
        else:
            passed, advanced = time_s - self._last[0], done - self._last[1]
            if advanced <= 0.0 or passed <= 0.0:
                return self._remaining(done, total)
            rate = advanced / passed
            self._known_s = min(_SMOOTHING_S, self._known_s + passed)
            weight = min(1.0, passed / self._known_s)
            self._rate = rate if self._rate is None else (1 - weight) * self._rate + weight * rate
        self._last = (time_s, done)
        return self._remaining(done, total)

    def skip(self, seconds: float) -> None:
        """Leave out time in which the job was paused."""
        if self._last is not None:
            self._last = (self._last[0] + seconds, self._last[1])

    def _remaining(self, done: float, total: float) -> float | None:
        if not self._rate or total <= 0.0:
            return None
        return max(0.0, total - done) / self._rate
