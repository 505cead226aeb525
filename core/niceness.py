"""How a child process gives way to its server."""

import os
import sys
from contextlib import suppress
from pathlib import Path

__all__ = ["give_way"]

_AUTOGROUP = Path("/proc/self/autogroup")


def give_way(niceness: int) -> None:
    """Called by a process about itself: raise its nice value by so much (0 to 19), where the system knows such a thing.

    Linux shares the processors between sessions before it looks at nice values (``sched_autogroup``, see sched(7)): a
    process that leads a session of its own would take as much as its server and everybody on it together. So the
    session gives way, too; not one that this process shares with others.
    """
    with suppress(OSError, AttributeError):
        os.nice(niceness)
    if niceness and sys.platform == "linux" and os.getsid(0) == os.getpid():
        with suppress(OSError):  # a kernel without such groups
            _AUTOGROUP.write_text(str(os.nice(0)))
