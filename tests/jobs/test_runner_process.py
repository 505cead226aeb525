"""The runner with worker processes: isolation, kill -9 of either side, pause, cancel. Workers start without torch."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from core.errors import StoreError
from core.jobs import Runner
from core.jobs.process import ProcessExecutor
from core.store import Job, JobState, Workspace

from ..patience import patient

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    folder = tmp_path_factory.mktemp("process-workspace")
    with (
        Workspace.open(folder) as workspace,
        Runner(workspace, import_torch=False, cancel_grace_s=0.5, patience_s=20.0) as started,
    ):
        wait_until_warm(started)
        yield started


def wait_until_warm(runner: Runner) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not runner.warm and time.monotonic() < deadline:
        time.sleep(0.02)
    assert runner.warm


def worker_pid(runner: Runner) -> int | None:
    executor = runner._work.executor
    assert isinstance(executor, ProcessExecutor)
    return executor.pid


def run(runner: Runner, kind: str, **payload: object) -> Job:
    return runner.wait(runner.submit(kind, payload).id, timeout_s=PATIENCE_S)


def until_progress(runner: Runner, job: Job) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while runner.workspace.store.get_job(job.id).done < 1 and time.monotonic() < deadline:
        time.sleep(0.02)


def test_jobs_run_in_one_warm_worker_at_low_priority(runner: Runner) -> None:
    first, second = run(runner, "test_count", n=3), run(runner, "test_count", n=4)
    assert first.result is not None
    assert second.result is not None
    assert first.result["pid"] == second.result["pid"] == worker_pid(runner) != os.getpid()
    assert first.result["nice"] >= min(19, psutil.Process().nice() + 10)
    group = Path(f"/proc/{worker_pid(runner)}/autogroup")
    if group.is_file():  # the worker leads a session of its own, which Linux would else give an equal share
        assert int(group.read_text().split()[-1]) == first.result["nice"]
    assert second.message == "step 4"
    assert runner.workspace.store.partial(second.id) == {"reached": 4}


def test_progress_and_eta_are_seen_while_it_runs(runner: Runner) -> None:
    job = runner.submit("test_count", {"n": 120, "pause_s": 0.01})
    seen = set()
    while (now := runner.wait(job.id, timeout_s=0.05)).state.live:
        seen.add(now.done)
    assert len(seen) >= 3
    assert now.state is JobState.DONE


@pytest.mark.row("F10")
def test_cancel_in_mid_job_is_quick_and_keeps_the_worker(runner: Runner) -> None:
    pid = worker_pid(runner)
    job = runner.submit("test_count", {"n": 100_000, "pause_s": 0.01})
    until_progress(runner, job)
    started = time.monotonic()
    runner.cancel(job.id)
    assert runner.wait(job.id, timeout_s=PATIENCE_S).state is JobState.CANCELLED
    assert time.monotonic() - started < patient(2)
    assert worker_pid(runner) == pid


@pytest.mark.row("F10")
def test_a_job_that_ignores_the_cancel_loses_its_worker(runner: Runner) -> None:
    pid = worker_pid(runner)
    job = runner.submit("test_stubborn", {"seconds": 300})
    time.sleep(0.5)
    runner.cancel(job.id)
    assert runner.wait(job.id, timeout_s=PATIENCE_S).state is JobState.CANCELLED
    assert run(runner, "test_count", n=2).state is JobState.DONE
    assert worker_pid(runner) != pid


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ("error", "The labels are out of range; check them."),
        ("other", "Unexpected error: ZeroDivisionError: kaboom"),
        ("exit", "Unexpected error: SystemExit: 3"),
        ("interrupt", "Unexpected error: KeyboardInterrupt"),
        ("kill", "The worker died (signal 9), probably because memory ran out."),
        ("segfault", "The worker died (signal 11, SIGSEGV)"),
        ("quit", "The worker ended unexpectedly (exit code 0)"),
    ],
)
@pytest.mark.row("F09")
def test_whatever_a_job_does_the_next_one_runs(runner: Runner, how: str, sentence: str) -> None:
    failed = run(runner, "test_fail", how=how)
    assert failed.state is JobState.FAILED
    assert failed.error is not None
    assert failed.error.startswith(sentence)
    assert runner.workspace.store.partial(failed.id) == {"before": how}
    assert run(runner, "test_count", n=2).state is JobState.DONE


@pytest.mark.row("F01")
def test_a_worker_killed_from_outside_fails_its_job_and_is_replaced(runner: Runner) -> None:
    job = runner.submit("test_count", {"n": 100_000, "pause_s": 0.01})
    until_progress(runner, job)
    pid = worker_pid(runner)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    failed = runner.wait(job.id, timeout_s=PATIENCE_S)
    assert failed.state is JobState.FAILED
    assert "signal 9" in (failed.error or "")
    assert run(runner, "test_count", n=2).state is JobState.DONE


@pytest.mark.row("F01")
def test_an_idle_worker_that_died_is_replaced(runner: Runner) -> None:
    pid = worker_pid(runner)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert run(runner, "test_count", n=2).state is JobState.DONE
    assert worker_pid(runner) != pid


@pytest.mark.row("F01")
def test_a_worker_that_dies_before_its_job_began_hands_it_to_the_next(runner: Runner) -> None:
    wait_until_warm(runner)
    pid = worker_pid(runner)
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)  # it takes the job, but does not begin
    job = runner.submit("test_count", {"n": 2})
    while runner.workspace.store.get_job(job.id).state is JobState.QUEUED:
        time.sleep(0.02)
    time.sleep(0.3)
    os.kill(pid, signal.SIGKILL)
    assert runner.wait(job.id, timeout_s=PATIENCE_S).state is JobState.DONE
    assert worker_pid(runner) != pid


def test_measuring_pauses_work_which_then_goes_on(runner: Runner) -> None:
    store = runner.workspace.store
    work = runner.submit("test_count", {"n": 200, "pause_s": 0.01})
    until_progress(runner, work)
    alone = runner.submit("test_alone", {"seconds": 0.6})
    while store.get_job(alone.id).state is not JobState.DONE:
        time.sleep(0.05)
    result = store.get_job(alone.id).result
    assert result is not None
    assert result["exclusive"] is True
    assert runner.wait(work.id, timeout_s=PATIENCE_S).state is JobState.DONE


@pytest.mark.row("F07")
def test_a_second_server_on_the_same_folder_is_refused(runner: Runner) -> None:
    with (
        Workspace.open(runner.workspace.folder) as other,
        pytest.raises(StoreError, match="in use by another Espalier server"),
    ):
        Runner(other).start()


SERVER = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell that starts tests in the background ignores it
from core.jobs import Runner
from core.store import Workspace
runner = Runner(Workspace.open(sys.argv[1]), import_torch=False).start()
for n in (1, 2):
    job = runner.submit("test_count", {"n": 100_000, "pause_s": 0.01, "which": n})
while runner.workspace.store.jobs()[-1].done < 1:
    time.sleep(0.02)
print(runner._work.executor.pid, flush=True)
time.sleep(300)
"""


def start_server(folder: Path) -> tuple["subprocess.Popen[str]", int]:
    process = subprocess.Popen([sys.executable, "-c", SERVER, str(folder)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, int(process.stdout.readline())


def gone_within(pid: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.row("F01")
def test_kill_9_of_the_server_leaves_no_worker_and_the_job_is_interrupted(tmp_path: Path) -> None:
    process, worker = start_server(tmp_path)
    with process:
        process.kill()
        process.wait()
    assert gone_within(worker, 10)
    with Workspace.open(tmp_path) as workspace:
        queued, running = workspace.store.jobs()
        assert (running.state, queued.state) == (JobState.RUNNING, JobState.QUEUED)
        with Runner(workspace, import_torch=False) as runner:
            ended = workspace.store.get_job(running.id)
            assert ended.state is JobState.INTERRUPTED
            assert ended.error is not None
            assert workspace.store.partial(running.id)
            # The queue is taken over: nothing that was asked for is lost.
            until_progress(runner, queued)
            assert workspace.store.get_job(queued.id).state is JobState.RUNNING


@pytest.mark.row("F02")
def test_the_end_of_a_server_interrupts_within_seconds(tmp_path: Path) -> None:
    process, worker = start_server(tmp_path)
    with process:
        started = time.monotonic()
        process.send_signal(signal.SIGINT)
        process.wait(timeout=30)
        assert time.monotonic() - started < patient(10)
    assert gone_within(worker, 5)
    with Workspace.open(tmp_path) as workspace:
        assert workspace.store.jobs()[-1].state is JobState.INTERRUPTED


def test_a_worker_that_cannot_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ESPALIER_JOB_KINDS", "no.such.module")
    with Workspace.open(tmp_path) as workspace, Runner(workspace, import_torch=False) as runner:
        failed = run(runner, "test_count", n=1)
        assert failed.state is JobState.FAILED
        assert "No module named 'no'" in (failed.error or "")
