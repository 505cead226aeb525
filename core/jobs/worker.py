"""The worker process: ``python -m core.jobs.worker``, started and supervised by the runner (core/jobs/process.py).

Commands come on stdin and events go to the original stdout, one JSON object per line:

    run {job, kind, payload, session, exclusive} · cancel {job} · pause · resume
    ready · started {job} · progress {done, total, message} · partial {body} · paused · resumed
    ended {state, result, error, traceback}

Whatever libraries print goes to stderr, the log file of the worker. The end of stdin is the end of the server: the
worker exits at once.
"""

import argparse
import gc
import json
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Mapping
from typing import IO, Any

from ..progress import Progress
from ..store import Workspace
from ..store.tables import plain
from .execution import execute
from .gate import Gate
from .kinds import JobContext
from .resources import apply_limits

__all__ = ["main"]

# The supervisor keeps the newest news and writes them at its own pace; this only bounds the traffic.
_PROGRESS_INTERVAL_S = 0.05
_PARTIAL_INTERVAL_S = 0.25


class _Channel:
    """Both directions of the protocol."""

    def __init__(self, commands: IO[str], events: IO[str]) -> None:
        self._commands = commands
        self._events = events
        self._lock = threading.Lock()
        self.runs: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self.gate = Gate(lambda waiting: self.send("paused" if waiting else "resumed"))
        self._job: str | None = None
        self._cancelled: set[str] = set()

    def send(self, event: str, **body: Any) -> None:
        line = json.dumps({"event": event, **plain(body)})
        with self._lock:
            self._events.write(line + "\n")
            self._events.flush()

    def listen(self) -> None:
        """Read commands until the server is gone (in a thread of its own)."""
        for line in self._commands:
            command = json.loads(line)
            match command["op"]:
                case "run":
                    # A job that was cancelled may be resumed: only a cancel that comes after this counts.
                    with self._lock:
                        self._cancelled.discard(command["job"])
                    self.runs.put(command)
                case "cancel":
                    with self._lock:
                        self._cancelled.add(command["job"])
                        if self._job == command["job"]:
                            self.gate.cancel()
                case "pause":
                    self.gate.pause()
                case "resume":
                    self.gate.resume()
        # No clean-up: everything that counts is written atomically, and nobody is left to be told.
        os._exit(0)

    def begin(self, job: str) -> None:
        with self._lock:
            self._job = job
            self.gate.new_job()
            if job in self._cancelled:
                self.gate.cancel()

    def end(self) -> None:
        with self._lock:
            self._job = None


class _WorkerProgress(Progress):
    def __init__(self, channel: _Channel) -> None:
        self._channel = channel
        self._progress: dict[str, Any] | None = None
        self._partial: Mapping[str, Any] | None = None
        self._sent = self._partial_sent = float("-inf")

    def update(self, done: float, total: float, message: str = "") -> None:
        self._progress = {"done": done, "total": total, "message": message}
        self._send_due()
        self.check()

    def publish(self, partial: Mapping[str, Any]) -> None:
        self._partial = partial
        self._send_due()

    def check(self) -> None:
        self._channel.gate.check()

    def flush(self) -> None:
        self._sent = self._partial_sent = float("-inf")
        self._send_due()

    def _send_due(self) -> None:
        time_s = time.monotonic()
        if self._progress is not None and time_s - self._sent >= _PROGRESS_INTERVAL_S:
            progress, self._progress, self._sent = self._progress, None, time_s
            self._channel.send("progress", **progress)
        if self._partial is not None and time_s - self._partial_sent >= _PARTIAL_INTERVAL_S:
            partial, self._partial, self._partial_sent = self._partial, None, time_s
            self._channel.send("partial", body=partial)


def main() -> None:
    """Serve jobs until stdin ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--workspace", required=True)
    parser.add_argument("--lane", choices=("work", "measure"), required=True)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--cold", action="store_true", help="do not import torch before the first job")
    options = parser.parse_args()

    apply_limits(options.lane, parent=options.parent)
    # Ctrl-C in the terminal is for the server; a job that raises KeyboardInterrupt is an ordinary failure.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    channel = _Channel(*_take_standard_streams())
    threading.Thread(target=channel.listen, daemon=True).start()
    if not options.cold:
        _warm_up(options.threads)
    workspace = Workspace.open(options.workspace)
    channel.send("ready")
    while True:
        _serve(channel, channel.runs.get(), workspace)


def _serve(channel: _Channel, command: Mapping[str, Any], workspace: Workspace) -> None:
    progress = _WorkerProgress(channel)
    channel.begin(command["job"])
    channel.send("started", job=command["job"])
    context = JobContext(workspace, command["session"], command["job"], progress, command["exclusive"])
    outcome = execute(command["kind"], command["payload"], context)
    channel.end()
    # Also a failed or cancelled job keeps its last partial result.
    progress.flush()
    channel.send("ended", **vars(outcome))


def _take_standard_streams() -> tuple[IO[str], IO[str]]:
    """The protocol's streams; afterwards stdin is empty and stdout is stderr, also for native libraries."""
    commands = os.fdopen(os.dup(0), "r", encoding="utf-8")
    events = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return commands, events


def _warm_up(threads: int) -> None:
    """Import once what every job needs (10–20 s of processor time with torch and torchvision)."""
    from .warm import import_rooms

    import_rooms(threads=threads)
    # What was imported never becomes garbage: later collections skip it.
    gc.collect()
    gc.freeze()


if __name__ == "__main__":
    main()
