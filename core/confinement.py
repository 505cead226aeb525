"""Child processes for what should not be trusted: bounded in memory, time and files, without a network.

``run_confined`` starts ``python -m MODULE`` as a fresh process (spawned, never forked: the caller has threads) and
waits; ``confine`` is what such a process calls about itself before it looks at anything. Knows no torch.

On Linux the kernel limits the address space, the processor time, the size of files and the number of open files; the
network is taken away where the kernel lets us (a network namespace of its own). On other systems what the kernel does
not offer is left out: the process is then only a separate one.
"""

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from .niceness import give_way
from .progress import SILENT, Progress

__all__ = ["Ending", "Limits", "confine", "limits_from", "run_confined"]

_PROJECT = Path(__file__).resolve().parent.parent
# Nothing else of the environment reaches the child: it may hold secrets.
_INHERITED = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH", "SYSTEMROOT", "TEMP", "TMP", "TMPDIR")
_NICENESS = 5
_OPEN_FILES = 64
_TICK_S = 0.05
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000


@dataclass(frozen=True)
class Limits:
    """What a confined process may use at most.

    ``counts_maps``: whether memory that is only mapped counts. For PyTorch it must not: it maps gigabytes of libraries
    that it never touches.
    """

    memory_bytes: int
    file_bytes: int
    cpu_s: int
    wall_s: float
    counts_maps: bool = True


@dataclass(frozen=True)
class Ending:
    """How a confined process ended: its exit code (negative: a signal), or that its time was up."""

    code: int
    out_of_time: bool = False


def run_confined(
    module: str, arguments: Sequence[str], limits: Limits, *, folder: Path, progress: Progress = SILENT
) -> Ending:
    """Run ``python -m module LIMITS arguments…`` in ``folder`` until it ends, its time is up or the person cancels.

    Raises:
        Cancelled: the person cancelled; the process is gone.
    """
    environment = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(_PROJECT), os.environ.get("PYTHONPATH"))))
    # Thread pools of numeric libraries reserve address space by the core.
    environment |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    process = subprocess.Popen(
        # -P, -s: neither the folder nor the user's own packages can take the place of ours.
        [sys.executable, "-P", "-s", "-m", module, json.dumps(asdict(limits)), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        cwd=folder,
        env=environment,
        start_new_session=True,
    )
    end = time.monotonic() + limits.wall_s
    try:
        while True:
            try:
                code = process.wait(timeout=_TICK_S)
            except subprocess.TimeoutExpired:
                progress.check()
            else:
                return Ending(code, out_of_time=code == -getattr(signal, "SIGXCPU", 0))
            if time.monotonic() > end:
                return Ending(-signal.SIGTERM, out_of_time=True)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def limits_from(text: str) -> Limits:
    """The limits as ``run_confined`` passes them."""
    return Limits(**json.loads(text))


def confine(limits: Limits) -> None:
    """Called by a process about itself, first of all: its limits, which it cannot raise again."""
    give_way(_NICENESS)
    if sys.platform == "linux":
        _leave_network()
    try:
        import resource
    except ImportError:  # not a Unix
        return
    bounds = {
        "RLIMIT_AS" if limits.counts_maps else "RLIMIT_DATA": limits.memory_bytes,
        "RLIMIT_FSIZE": limits.file_bytes,
        "RLIMIT_CPU": limits.cpu_s,
        "RLIMIT_CORE": 0,
        "RLIMIT_NOFILE": _OPEN_FILES,
        "RLIMIT_NPROC": 0,
    }
    for name, bound in bounds.items():
        if hasattr(resource, name):
            # At the soft limit of time comes a signal that says so, at the hard one the end.
            hard = bound + 1 if name == "RLIMIT_CPU" else bound
            with suppress(OSError, ValueError):  # a lower limit holds already
                resource.setrlimit(getattr(resource, name), (bound, hard))


def _leave_network() -> None:
    """A network namespace of its own, which has no network; and no way back to rights that were given up."""
    with suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if libc.unshare(_CLONE_NEWNET) != 0:
            libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET)
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
