"""How much a person has uploaded lately."""

import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable

from ..errors import AccessError
from .people import Person

__all__ = ["Uploads"]

_MB = 1_000_000
_WINDOW_S = 24 * 3600.0


class Uploads:
    """Adds up the bytes of each person's uploads of the last 24 hours, in memory: a restart of the server forgets."""

    def __init__(self, most_mb: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._most_mb = most_mb
        self._clock = clock
        self._lock = threading.Lock()
        self._taken: dict[str, deque[tuple[float, int]]] = defaultdict(deque)

    def take(self, person: Person, size_bytes: int) -> None:
        """Count an upload before it is stored.

        Raises:
            AccessError: when it would be more than the person may upload; it is not counted then.
        """
        with self._lock:
            taken = self._taken[person.id]
            while taken and taken[0][0] <= self._clock() - _WINDOW_S:
                taken.popleft()
            so_far = sum(size for _, size in taken)
            if so_far + size_bytes > self._most_mb * _MB:
                raise AccessError(
                    f"A person may upload {self._most_mb} MB within 24 hours here; you have uploaded "
                    f"{so_far / _MB:.0f} MB, and this file has {size_bytes / _MB:.0f} MB. Try again tomorrow."
                )
            taken.append((self._clock(), size_bytes))
