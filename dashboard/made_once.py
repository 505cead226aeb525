"""Values that many browser sessions need and that are made once: a cache whose misses do not run side by side."""

import functools
import threading
from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

__all__ = ["made_once"]

Arguments = TypeVarTuple("Arguments")
Made = TypeVar("Made")


def made_once(most: int) -> Callable[[Callable[[*Arguments], Made]], Callable[[*Arguments], Made]]:
    """Keep the last ``most`` values of a function by its arguments, for all sessions.

    While one thread makes a value, others that want one wait for it: twenty people who follow one run would else draw
    the same curves twenty times whenever an epoch ends. Do not change what it returns.
    """

    def decorate(make: Callable[[*Arguments], Made]) -> Callable[[*Arguments], Made]:
        kept = functools.lru_cache(maxsize=most)(make)
        lock = threading.RLock()

        @functools.wraps(make)
        def call(*arguments: *Arguments) -> Made:
            with lock:
                return kept(*arguments)

        return call

    return decorate
