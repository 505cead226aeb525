"""How often somebody may be wrong."""

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable

__all__ = ["Attempts"]

_PLACES = 10_000


class Attempts:
    """Counts failures within a sliding window: per place they come from, and of all places together.

    Kept in memory: a restart of the server forgets them.
    """

    def __init__(
        self,
        *,
        per_place: int = 5,
        in_all: int = 60,
        window_s: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._per_place = per_place
        self._in_all = in_all
        self._window_s = window_s
        self._clock = clock
        self._lock = threading.Lock()
        self._all: deque[float] = deque()
        self._places: OrderedDict[str, deque[float]] = OrderedDict()

    def wait_s(self, place: str) -> float:
        """Seconds until another attempt is taken from this place; 0 now."""
        with self._lock:
            return max(
                self._left(self._places.get(place, deque()), self._per_place), self._left(self._all, self._in_all)
            )

    def failed(self, place: str) -> None:
        """Count a failure."""
        with self._lock:
            now = self._clock()
            mine = self._places.setdefault(place, deque())
            self._places.move_to_end(place)
            for times, most in ((mine, self._per_place), (self._all, self._in_all)):
                times.append(now)
                while len(times) > most:
                    times.popleft()
            while len(self._places) > _PLACES:
                self._places.popitem(last=False)

    def _left(self, times: deque[float], most: int) -> float:
        # The oldest of the last ``most`` failures decides: when it leaves the window there is room for one more.
        return max(0.0, times[0] + self._window_s - self._clock()) if len(times) >= most else 0.0
