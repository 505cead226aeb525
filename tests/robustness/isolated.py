"""Running a script where the machine is not as it should be: a full disk, a read-only folder, no network.

Linux only. The faults are made in namespaces of the script's own process, so that nothing of them outlives it and no
right is needed that an ordinary user has not (where user namespaces are allowed; else the tests skip and say so).
"""

import functools
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

__all__ = ["ROOT", "run_isolated", "run_python"]

ROOT = Path(__file__).resolve().parents[2]


@functools.cache
def _problem() -> str | None:
    if sys.platform != "linux":
        return "namespaces are Linux's"
    probe = "mount -t tmpfs none /mnt"
    found = subprocess.run(["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", probe], capture_output=True)
    return None if found.returncode == 0 else f"no user namespaces here: {found.stderr.decode().strip()}"


def run_python(code: str, *arguments: str, timeout_s: float = 300.0) -> "subprocess.CompletedProcess[str]":
    """Run a script in this checkout and wait for it."""
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        env=_environment(),
        capture_output=True,
        text=True,
        timeout=timeout_s,
    )


def run_isolated(
    code: str, *arguments: str, before: str, network: bool = True, timeout_s: float = 300.0
) -> "subprocess.CompletedProcess[str]":
    """Run a script after the shell command ``before`` in mount (and network) namespaces of its own.

    Skips the test where that is not possible.
    """
    problem = _problem()
    if problem is not None:
        pytest.skip(problem)
    command = shlex.join([sys.executable, "-c", code, *arguments])
    flags = ["--user", "--map-root-user", "--mount", *([] if network else ["--net"])]
    return subprocess.run(
        ["unshare", *flags, "sh", "-c", f"{before} && exec {command}"],
        cwd=ROOT,
        env=_environment(),
        capture_output=True,
        text=True,
        timeout=timeout_s,
    )


def _environment() -> dict[str, str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return environment
