"""Tiny job kinds for the tests of the runner, registered by ESPALIER_JOB_KINDS in this process and in its workers."""

import os
import signal
import time
from collections.abc import Mapping
from typing import Any

from core.errors import DataError
from core.jobs.kinds import JobContext, job_kind
from core.training.checkpoints import Checkpoints


@job_kind("test_count")
def count(payload: Mapping[str, Any], context: JobContext) -> dict[str, Any]:
    """Count to n, with progress and partial results; waits ``pause_s`` per step."""
    n = int(payload["n"])
    for i in range(n):
        context.progress.check()
        time.sleep(float(payload.get("pause_s", 0.0)))
        context.progress.update(i + 1, n, f"step {i + 1}")
        context.progress.publish({"reached": i + 1})
    print("noise on stdout must not disturb the protocol")
    return {"sum": n * (n - 1) // 2, "pid": os.getpid(), "nice": os.nice(0), "session": context.session_id}


@job_kind("test_fail")
def fail(payload: Mapping[str, Any], context: JobContext) -> dict[str, Any]:
    """Fail in the way that the payload names."""
    how = payload["how"]
    context.progress.publish({"before": how})
    if how == "error":
        raise DataError("The labels are out of range; check them.")
    if how == "exit":
        raise SystemExit(3)
    if how == "interrupt":
        raise KeyboardInterrupt
    if how == "memory":
        raise MemoryError
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    if how == "quit":
        os._exit(0)
    raise ZeroDivisionError("kaboom")


@job_kind("test_stubborn")
def stubborn(payload: Mapping[str, Any], context: JobContext) -> dict[str, Any]:
    """Never check for a cancel."""
    time.sleep(float(payload["seconds"]))
    return {}


@job_kind("test_alone", lane="measure")
def alone(payload: Mapping[str, Any], context: JobContext) -> dict[str, Any]:
    """Hold the machine for a while and say whether it was alone."""
    started = time.time()
    time.sleep(float(payload.get("seconds", 0.1)))
    return {"exclusive": context.exclusive, "from": started, "to": time.time()}


@job_kind("test_epochs")
def epochs(payload: Mapping[str, Any], context: JobContext) -> dict[str, Any]:
    """Count epochs as a training does: a checkpoint after each, from which the same job goes on."""
    assert context.job_id is not None
    folder = context.workspace.checkpoints.path(context.job_id)
    first = Checkpoints(folder).epoch or 0
    n = int(payload["n"])
    for epoch in range(first, n):
        context.progress.check()
        time.sleep(float(payload.get("pause_s", 0.0)))
        if payload.get("fails_at") == epoch and first == 0:
            raise DataError("The loss is not finite.")
        # Laid out as Checkpoints does, without torch.
        (folder / "writing").mkdir(parents=True, exist_ok=True)
        (folder / "writing" / "state.pt").write_bytes(b"")
        (folder / "writing").rename(folder / f"epoch-{epoch + 1:06d}")
        context.progress.publish({"epochs": list(range(epoch + 1))})
        context.progress.update(epoch + 1, n, f"epoch {epoch + 1}/{n}")
    context.workspace.checkpoints.remove(context.job_id)
    return {"first": first}


@job_kind("test_hungry")
def hungry(payload: Mapping[str, Any], context: JobContext) -> dict[str, Any]:
    """Take memory until there is none."""
    held = []
    while True:
        context.progress.check()
        held.append(bytearray(int(payload["mb"]) << 20))
