"""How much of the machine a worker may use: the one place for these numbers.

Pages answer before jobs: the worker runs at low priority, so that with as many threads as cores it uses what the server
leaves idle. Measuring runs at the server's priority, because a number taken in the gaps of another process is noise;
it lasts seconds, and training waits meanwhile.

Measured by tests/benchmarks/responsiveness.py (ResNet-20, CIFAR-10, Chromium on the same two virtual cores, otherwise
idle): a click on the Plan page takes 0.35 s (p50) and 0.49 s (p95) idle, and 0.35 s and 0.47 s while a training runs at
nice 10, with one thread or two. Training alone made 418 images/s with two threads and 306 with one, and 235 and 217
while it was clicked twice a second. On a machine that other work keeps at load 10, threads that wait for each other
suffer most (25 images/s against 114): OMP_NUM_THREADS=1 is the choice there.
"""

import ctypes
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Literal

from ..environment import job_memory_mb
from ..niceness import give_way

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

__all__ = ["NICENESS", "apply_limits", "worker_threads"]

NICENESS = {"work": 10, "measure": 0}
# When memory runs out the kernel shall end a job, not the server of everybody.
_OOM_SCORE = "500"
_PR_SET_PDEATHSIG = 1


def worker_threads() -> int:
    """Threads of one operation in the work lane: OMP_NUM_THREADS when it is set, else the cores of this process."""
    chosen = os.environ.get("OMP_NUM_THREADS", "")
    if chosen.isdigit() and int(chosen) > 0:
        return int(chosen)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def apply_limits(lane: Literal["work", "measure"], *, parent: int) -> None:
    """Called by a worker about itself: its priority, its memory, and that it ends when its server does."""
    most_mb = job_memory_mb()
    if most_mb is not None and resource is not None:
        # What the process may write to, not what it maps: torch maps gigabytes that it never touches.
        resource.setrlimit(resource.RLIMIT_DATA, (most_mb << 20, most_mb << 20))
    give_way(NICENESS[lane])
    if sys.platform == "linux":
        with suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE)
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if hasattr(os, "getppid") and os.getppid() != parent:
        # The server died while this process was starting.
        os._exit(0)
