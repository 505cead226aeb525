"""The facts that must stand beside every latency number: which machine, how busy it was, which versions ran.

Needs no torch: versions are read from the installed packages' metadata.
"""

import os
import platform
import time
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil
from platformdirs import user_cache_dir

__all__ = [
    "CpuUse",
    "available_cores",
    "busy_sentence",
    "cache_folder",
    "cpu_features",
    "cpu_name",
    "machine_facts",
]

FEATURES = {
    "avx2": "AVX2",
    "avx512f": "AVX-512",
    "avx512_bf16": "AVX-512 bf16",
    "amx_tile": "AMX",
    "amx_bf16": "AMX bf16",
}
PACKAGES = ("torch", "onnxruntime", "onnx", "openvino", "numpy")
# Less than this many cores taken from a measurement is the ordinary murmur of an operating system.
TOLERATED_CORES = 0.2


def cache_folder() -> Path:
    """Where what was measured on this machine is kept between processes: ESPALIER_CACHE, else the user's cache."""
    return Path(os.environ.get("ESPALIER_CACHE") or user_cache_dir("espalier"))


def _cpuinfo(field: str) -> str | None:
    """First value of a field of ``/proc/cpuinfo``; None elsewhere than on Linux."""
    try:
        with Path("/proc/cpuinfo").open() as lines:
            return next((line.split(":", 1)[1].strip() for line in lines if line.split(":")[0].strip() == field), None)
    except OSError:
        return None


def cpu_name() -> str:
    """Marketing name of the processor, as far as the system tells it."""
    return _cpuinfo("model name") or platform.processor() or platform.machine() or "unknown processor"


def cpu_features() -> list[str]:
    """Vector extensions that decide how fast convolutions run ("AVX-512", "AMX"); empty where not known."""
    flags = set((_cpuinfo("flags") or "").split())
    return [label for flag, label in FEATURES.items() if flag in flags]


def _cgroup_cores() -> float | None:
    """Cores that the container's quota allows (cgroup v2), None without a quota."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        return None


def available_cores() -> float:
    """Cores this process may use: affinity of the process, cut by the container's quota."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    return min(float(affinity), _cgroup_cores() or float(affinity))


def _versions(packages: Iterable[str]) -> dict[str, str | None]:
    versions: dict[str, str | None] = {}
    for package in packages:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = None
    return versions


def _system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"] + f" (kernel {platform.release()})"
    except (OSError, KeyError):
        return f"{platform.system()} {platform.release()}"


def machine_facts() -> dict[str, Any]:
    """JSON-serialisable facts about the machine and the versions that run on it.

    Keys: cpu, features, cores, available_cores, memory_bytes, system, python, versions, load_average.
    ``load_average`` is the one-minute mean of runnable processes (None where the system has none).
    """
    return {
        "cpu": cpu_name(),
        "features": cpu_features(),
        "cores": os.cpu_count() or 1,
        "available_cores": available_cores(),
        "memory_bytes": psutil.virtual_memory().total,
        "system": _system(),
        "python": platform.python_version(),
        "versions": _versions(PACKAGES),
        "load_average": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


class CpuUse:
    """How many cores everything except this process used since ``start`` (a stopwatch for CPU time).

    The load average lags by a minute and counts this process too, so that it cannot say whether a measurement was
    disturbed; the difference of the system's and this process's CPU time over the same span can.
    """

    def __init__(self) -> None:
        self._process = psutil.Process()
        self.start()

    def start(self) -> None:
        """Begin a new span."""
        self._wall_s = time.monotonic()
        self._others_s = self._others_cpu_s()

    def _others_cpu_s(self) -> float:
        system = psutil.cpu_times()
        idle_s = system.idle + getattr(system, "iowait", 0.0)
        # guest time is contained in user time on Linux, steal is time that a neighbour on the host took from us
        total_s = sum(system) - getattr(system, "guest", 0.0) - getattr(system, "guest_nice", 0.0)
        own = self._process.cpu_times()
        return total_s - idle_s - own.user - own.system

    def others_cores(self) -> float:
        """Cores used by others since the start, on average; 0.0 or more."""
        span_s = max(time.monotonic() - self._wall_s, 1e-3)
        return max(0.0, (self._others_cpu_s() - self._others_s) / span_s)

    @classmethod
    def sample(cls, *, seconds: float = 0.3) -> float:
        """Cores used by others over the next ``seconds``."""
        use = cls()
        time.sleep(seconds)
        return use.others_cores()


def busy_sentence(others_cores: float, *, threads: int, cores: float | None = None) -> str | None:
    """One sentence when other work leaves fewer cores than ``threads`` threads need; None when it does not."""
    cores = available_cores() if cores is None else cores
    missing = min(float(threads), cores) - (cores - others_cores)
    if missing <= TOLERATED_CORES:
        return None
    measured = "1 thread was" if threads == 1 else f"{threads} threads were"
    return (
        f"This machine was busy: other work used {others_cores:.1f} of {cores:g} cores while {measured} measured; "
        "milliseconds are too high, and ratios less certain."
    )
