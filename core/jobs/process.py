"""Jobs in a worker process: started warm, supervised, killed and replaced when it dies or does not listen."""

import json
import os
import queue
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Literal

from ..errors import StoreError
from ..store import Job, JobState, Workspace
from ..store.files import file_errors
from ..store.workspace import log
from .execution import Outcome
from .failures import describe_exit
from .reporting import Reporter
from .resources import worker_threads

__all__ = ["ProcessExecutor"]

_TICK_S = 0.1
CANCEL_GRACE_S = 10.0
_CLOSE_GRACE_S = 3.0
_LOG_BYTES = 1_000_000
_PROJECT = Path(__file__).resolve().parent.parent.parent

_GONE = {"event": "gone"}


class ProcessExecutor:
    """The supervisor of one worker process. ``run`` and ``warm_up`` belong to the lane's thread."""

    def __init__(
        self,
        workspace: Workspace,
        lane: Literal["work", "measure"],
        *,
        warm: bool = True,
        cancel_grace_s: float = CANCEL_GRACE_S,
    ) -> None:
        self._workspace = workspace
        self._lane = lane
        self._warm = warm
        self._cancel_grace_s = cancel_grace_s
        self._process: subprocess.Popen[str] | None = None
        self._events: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._write_lock = threading.RLock()
        self._ready = threading.Event()
        self._closing = threading.Event()
        self._cancelled_job: str | None = None
        self._waiting = False
        self._paused = False

    @property
    def ready(self) -> bool:
        """Whether the worker has imported torch and waits for jobs."""
        return self._ready.is_set()

    @property
    def waiting(self) -> bool:
        """Whether the worker acknowledged a pause and waits at its check."""
        return self._waiting

    @property
    def pid(self) -> int | None:
        """The process id of the worker, when there is one."""
        return self._process.pid if self._process is not None else None

    def warm_up(self) -> None:
        """Start the worker in the background."""
        if not self._closing.is_set():
            self._start()

    def run(self, job: Job, reporter: Reporter, *, exclusive: bool) -> Outcome:
        """Run a job in the worker, starting it when there is none."""
        # A job that was cancelled may be resumed; a cancel of this run that came already is in its row.
        self._cancelled_job = None
        outcome = self._attempt(job, reporter, exclusive)
        if outcome is None:  # the idle worker died just now, and nothing of the job was done
            outcome = self._attempt(job, reporter, exclusive)
        return outcome or self._not_started()

    def cancel(self, job_id: str) -> None:
        """Ask for the end of this job; the lane's thread passes it on and sees to it."""
        self._cancelled_job = job_id

    def pause(self) -> None:
        """Make the running job, or the next one, wait at its next check."""
        with self._write_lock:
            self._paused = True
            self._send(op="pause")

    def resume(self) -> None:
        """Let it go on."""
        with self._write_lock:
            self._paused = False
            self._send(op="resume")

    def rest(self) -> None:
        """End the idle worker; the next job starts another one."""
        self._stop_worker()

    def close(self) -> None:
        """Ask for the end: the lane's thread stops the running job, kills it if it must, and calls ``end``."""
        self._closing.set()

    def end(self) -> None:
        """Called by the lane's thread when it ends: nothing of the worker stays."""
        self._stop_worker()

    def _attempt(self, job: Job, reporter: Reporter, exclusive: bool) -> Outcome | None:
        """Run a job; None when the worker died before the job began."""
        if self._process is None or self._process.poll() is not None:
            self._stop_worker()
            self._start()
        # The job is not handed over while the worker imports torch, so that it can still be cancelled at once.
        if not self.ready:
            reporter.progress(0.0, 0.0, "Starting the worker (it imports PyTorch once)")
        while not self.ready:
            if self._next_event() is _GONE:
                self._stop_worker()
                return None
            if self._closing.is_set():
                return Outcome(JobState.INTERRUPTED)
            if not reporter.tick() or self._cancelled_job == job.id:
                return Outcome(JobState.CANCELLED)
        reporter.progress(0.0, 0.0, "Starting")
        self._send(
            op="run", job=job.id, kind=job.kind, payload=job.payload, session=job.session_id, exclusive=exclusive
        )
        return self._follow(job, reporter)

    def _not_started(self) -> Outcome:
        return Outcome(JobState.FAILED, error=f"The background worker did not start: {self._last_words()}")

    def _follow(self, job: Job, reporter: Reporter) -> Outcome | None:
        asked: float | None = None
        began = False
        paused_from = 0.0
        while True:
            event = self._next_event()
            match event.get("event"):
                case "started":
                    began = True
                case "progress":
                    reporter.progress(event["done"], event["total"], event["message"])
                case "partial":
                    reporter.partial(event["body"])
                case "paused":
                    paused_from = time.monotonic()
                case "resumed":
                    reporter.skip(time.monotonic() - paused_from)
                case "ended":
                    return self._outcome(event)
                case "gone":
                    outcome = self._died(asked)
                    return outcome if began or asked is not None else None
            stop = not reporter.tick() or self._cancelled_job == job.id or self._closing.is_set()
            if stop and asked is None:
                asked = time.monotonic()
                self._send(op="cancel", job=job.id)
            elif asked is not None:
                grace_s = _CLOSE_GRACE_S if self._closing.is_set() else self._cancel_grace_s
                if time.monotonic() - asked > grace_s:
                    log.warning("Job %s did not stop within %.0f s; its worker is replaced.", job.id, grace_s)
                    self._replace()
                    return self._stopped()

    def _outcome(self, event: dict[str, Any]) -> Outcome:
        state = JobState(event["state"])
        if state is JobState.CANCELLED:
            return self._stopped()
        return Outcome(state, result=event["result"], error=event["error"], traceback=event["traceback"])

    def _stopped(self) -> Outcome:
        return Outcome(JobState.INTERRUPTED if self._closing.is_set() else JobState.CANCELLED)

    def _died(self, asked: float | None) -> Outcome:
        process = self._process
        code = process.wait() if process is not None else None
        last_words = self._last_words()
        self._replace()
        if asked is not None:
            return self._stopped()
        return Outcome(JobState.FAILED, error=describe_exit(code), traceback=last_words)

    def _next_event(self) -> dict[str, Any]:
        try:
            return self._events.get(timeout=_TICK_S)
        except queue.Empty:
            return {}

    def _read(self, process: subprocess.Popen[str], events: "queue.SimpleQueue[dict[str, Any]]") -> None:
        """Pass the worker's events on, in a thread that lives as long as the worker."""
        stream = process.stdout
        if stream is not None:
            with suppress(OSError, ValueError):
                for line in stream:
                    event = json.loads(line)
                    if process is self._process:
                        self._note(event["event"])
                    events.put(event)
        if process is self._process:
            self._note("gone")
        events.put(_GONE)

    def _note(self, event: str) -> None:
        match event:
            case "ready":
                self._ready.set()
            case "paused":
                self._waiting = True
            case "resumed" | "ended":
                self._waiting = False
            case "gone":
                self._waiting = False
                self._ready.clear()

    def _start(self) -> None:
        arguments = ["--workspace", str(self._workspace.folder), "--lane", self._lane, "--parent", str(os.getpid())]
        arguments += ["--threads", str(worker_threads() if self._lane == "work" else 0)]
        if not self._warm:
            arguments.append("--cold")
        # -P: a folder named "core" in the current directory must not take the place of ours.
        path = os.pathsep.join(filter(None, (str(_PROJECT), os.environ.get("PYTHONPATH"))))
        environment = {**os.environ, "PYTHONPATH": path}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        self._ready.clear()
        self._waiting = False
        self._events = queue.SimpleQueue()
        with self._open_log() as errors, file_errors("start a worker in", self._workspace.folder):
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "core.jobs.worker", *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                encoding="utf-8",
                env=environment,
                # Its own group: Ctrl-C in the terminal reaches the server only, which then stops the job in order.
                start_new_session=True,
            )
        log.info("Worker %s (%s) started.", self._process.pid, self._lane)
        threading.Thread(target=self._read, args=(self._process, self._events), daemon=True).start()
        with self._write_lock:
            if self._paused:
                self._send(op="pause")

    def _replace(self) -> None:
        self._stop_worker()
        if self._warm and not self._closing.is_set():
            self._start()

    def _stop_worker(self) -> None:
        process, self._process = self._process, None
        self._ready.clear()
        self._waiting = False
        if process is None:
            return
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()

    def _send(self, **command: Any) -> None:
        process = self._process
        if process is None or process.stdin is None:
            return
        # A worker that is gone is noticed by the reader; there is nothing to say to it.
        with suppress(OSError, ValueError), self._write_lock:
            process.stdin.write(json.dumps(command) + "\n")
            process.stdin.flush()

    @property
    def _log_file(self) -> Path:
        return self._workspace.folder / f"worker-{self._lane}.log"

    def _open_log(self) -> IO[str]:
        path = self._log_file
        with file_errors("write", path):
            if path.exists() and path.stat().st_size > _LOG_BYTES:
                path.replace(path.with_suffix(".log.1"))
            return path.open("a", encoding="utf-8")

    def _last_words(self) -> str:
        try:
            lines = self._log_file.read_text(encoding="utf-8", errors="replace")[-4000:].strip().splitlines()
        except (OSError, StoreError):
            return "its log cannot be read."
        return "\n".join(lines[-12:]) or "it left no message."
