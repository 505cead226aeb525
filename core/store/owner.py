"""Who runs a job: a process, named so that it can be recognised after it died, even when its pid is used again."""

import os
import socket
from datetime import UTC, datetime, timedelta

import psutil

__all__ = ["is_alive", "this_process"]

# On another machine (PostgreSQL) a process cannot be looked up: it counts as dead when its heartbeat is this old.
_HEARTBEAT_GRACE = timedelta(minutes=5)


def this_process() -> str:
    """``host:pid:start time`` of this process."""
    pid = os.getpid()
    return f"{socket.gethostname()}:{pid}:{psutil.Process(pid).create_time():.0f}"


def is_alive(owner: str, *, heartbeat: datetime | None = None) -> bool:
    """Whether the process named by ``this_process`` still runs."""
    try:
        host, pid, started = owner.rsplit(":", 2)
        if host != socket.gethostname():
            return heartbeat is not None and datetime.now(UTC) - heartbeat < _HEARTBEAT_GRACE
        process = psutil.Process(int(pid))
        # One second of slack: the start time is computed from the boot time, which the clock may shift.
        return abs(process.create_time() - float(started)) <= 1.0 and process.status() != psutil.STATUS_ZOMBIE
    except (ValueError, psutil.Error):
        return False
