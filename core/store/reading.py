"""One reading of the store for one drawing of a page: what was read stays as it was read until something is written.

A page asks for its session, its jobs and its dense variant from many places. Reading each once costs less, and all
parts of the page speak of the same state.
"""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Concatenate, ParamSpec, TypeVar

__all__ = ["forget", "once", "one_reading"]

Self = TypeVar("Self")
Parameters = ParamSpec("Parameters")
Read = TypeVar("Read")

_SEEN: ContextVar[dict[Any, Any] | None] = ContextVar("espalier_seen", default=None)


@contextmanager
def one_reading() -> Iterator[None]:
    """Within it, in this thread, methods that are marked with ``once`` read what they read once."""
    before = _SEEN.set({})
    try:
        yield
    finally:
        _SEEN.reset(before)


def forget() -> None:
    """Something was written by this thread: read everything anew."""
    seen = _SEEN.get()
    if seen is not None:
        seen.clear()


def once(read: Callable[Concatenate[Self, Parameters], Read]) -> Callable[Concatenate[Self, Parameters], Read]:
    """Mark a method that reads rows by arguments that can be hashed. Rows are frozen; a list of them is copied."""

    @functools.wraps(read)
    def call(self: Self, *arguments: Parameters.args, **named: Parameters.kwargs) -> Read:
        seen = _SEEN.get()
        if seen is None:
            return read(self, *arguments, **named)
        key = (self.engine, read.__name__, arguments, tuple(sorted(named.items())))  # type: ignore[attr-defined]
        if key not in seen:
            seen[key] = read(self, *arguments, **named)
        found = seen[key]
        return list(found) if isinstance(found, list) else found  # type: ignore[return-value]

    return call
