"""Why a job ended, in words. The traceback goes to its own column and the log."""

import errno
import signal
import traceback
from collections.abc import Mapping
from typing import Any

from ..errors import EspalierError

__all__ = ["describe_exit", "describe_failure"]

_NO_MEMORY = (
    "Memory ran out. Use fewer images, a smaller batch or a smaller image size, or close other programs, and try again."
)


def describe_failure(error: BaseException, payload: Mapping[str, Any] | None = None) -> tuple[str, str | None]:
    """One sentence for the person, and the traceback where the error was not meant for people.

    ``payload``: of the job, whose batch size is named when memory ran out.

    Our own errors are their sentence; running out of memory or disk says what to do; everything else is unexpected.
    """
    details = "".join(traceback.format_exception(error))
    if isinstance(error, EspalierError):
        return str(error), details
    # torch is not imported here: its out-of-memory errors are known by name and text.
    text = str(error)
    if (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "can't allocate memory" in text
        or "not enough memory" in text
    ):
        batch = _batch_size(payload or {})
        return (f"Memory ran out: try a batch of {batch // 2} (it was {batch})." if batch > 1 else _NO_MEMORY), details
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "The disk is full. Free some space and try again; nothing of this job was stored.", details
    first = text.strip().splitlines()[0][:300] if text.strip() else "no message"
    return f"Unexpected error: {type(error).__name__}: {first}", details


def _batch_size(payload: Any) -> int:
    """The largest batch size that a payload names, at any depth; 0 when it names none."""
    if isinstance(payload, Mapping):
        own = [int(value) for key, value in payload.items() if key == "batch_size" and isinstance(value, int)]
        return max([*own, *(_batch_size(value) for value in payload.values())], default=0)
    if isinstance(payload, list | tuple):
        return max((_batch_size(value) for value in payload), default=0)
    return 0


def describe_exit(code: int | None) -> str:
    """One sentence for a worker process that ended in the middle of a job, by its exit code (negative: a signal)."""
    if code == -signal.SIGKILL:
        return (
            "The worker died (signal 9), probably because memory ran out. Use fewer images, a smaller batch or a "
            "smaller image size, and try again."
        )
    if code is not None and code < 0:
        return (
            f"The worker died (signal {-code}, {_signal_name(-code)}): a library crashed. Try again; if it "
            "happens again, this model or these data trigger the crash."
        )
    return f"The worker ended unexpectedly (exit code {code}). Try again; the log of the workspace has the details."


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"
