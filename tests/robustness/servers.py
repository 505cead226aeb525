"""The real server in a process of its own, and jobs in its queue that need no page."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.store import Job, JobState, Workspace

from .isolated import ROOT

__all__ = ["PATIENCE_S", "Server", "ended", "running", "serve", "until"]

PATIENCE_S = 240.0


@dataclass
class Server:
    """A running ``run_app.py``."""

    process: "subprocess.Popen[str]"
    url: str
    folder: Path

    def queue(self, workspace: Workspace, kind: str, payload: Mapping[str, Any], session_id: str | None = None) -> Job:
        """Give the server a job; it looks for new ones every few seconds."""
        owner = json.loads((self.folder / "server.lock").read_text())["process"]
        return workspace.store.create_job(kind, payload, owner=owner, session_id=session_id, title=kind)

    def answers(self, timeout_s: float = 5.0) -> bool:
        """Whether the server answers."""
        try:
            with urllib.request.urlopen(self.url + "/_stcore/health", timeout=timeout_s):
                return True
        except OSError:
            return False

    def stop(self) -> float:
        """End it as a service manager does; returns the seconds that it took."""
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=60)
        return time.monotonic() - started


@contextlib.contextmanager
def serve(folder: Path, *arguments: str, **environment: str) -> Iterator[Server]:
    """Start a server on the workspace ``folder``; kill it in the end if it still runs."""
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    path = os.pathsep.join(filter(None, (str(ROOT), inherited.get("PYTHONPATH"))))
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "run_app.py"), "--no-browser", "--workspace", str(folder), *arguments],
        cwd=ROOT,
        env={**inherited, "ESPALIER_JOB_KINDS": "tests.jobs.sample_kinds", "PYTHONPATH": path, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert "http://" in line, process.communicate(timeout=30)[1][-3000:]
        server = Server(process, next(word for word in line.split() if word.startswith("http://")), folder)
        until(lambda: server.answers() or process.poll() is not None)
        yield server
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def until(true: Any, patience_s: float = PATIENCE_S) -> None:
    """Wait until ``true()`` is."""
    end = time.monotonic() + patience_s
    while not true():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {patience_s:.0f} s")
        time.sleep(0.02)


def ended(workspace: Workspace, job: Job) -> Job:
    """The job once it has ended."""
    until(lambda: not workspace.store.get_job(job.id).state.live)
    return workspace.store.get_job(job.id)


def running(workspace: Workspace, job: Job, *, done: float = 1.0) -> None:
    """Wait until the job has come so far."""

    def far() -> bool:
        now = workspace.store.get_job(job.id)
        return now.done >= done or now.state not in (JobState.QUEUED, JobState.RUNNING)

    until(far)
