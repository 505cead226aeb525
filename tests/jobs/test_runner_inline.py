"""The runner in its inline mode: states, progress, cancel, failures, lanes."""

import threading
import time
from collections.abc import Iterator

import pytest

from core.errors import RegistryError, StoreError
from core.jobs import JOB_KINDS, Runner
from core.jobs.kinds import kinds_of, lane_of
from core.store import Job, JobState, Workspace

from ..patience import patient


@pytest.fixture
def runner(workspace: Workspace) -> Iterator[Runner]:
    with Runner(workspace, mode="inline", patience_s=0.3) as started:
        yield started


def until_running(runner: Runner, job: Job) -> Job:
    deadline = time.monotonic() + 10
    while runner.workspace.store.get_job(job.id).done < 1 and time.monotonic() < deadline:
        time.sleep(0.01)
    return runner.workspace.store.get_job(job.id)


def test_every_kind_has_a_lane_and_a_sentence() -> None:
    assert {"open", "sensitivity", "prune", "measure", "layer_times", "export"} <= set(JOB_KINDS)
    for kind in JOB_KINDS:
        assert JOB_KINDS.summary(kind).endswith(".")
        assert kind in kinds_of(lane_of(kind))


def test_a_job_is_done_with_its_result_and_last_partial(runner: Runner) -> None:
    session = runner.workspace.store.create_session()
    job = runner.submit("test_count", {"n": 5}, session_id=session.id, title="Count")
    done = runner.wait(job.id, timeout_s=10)
    assert done.state is JobState.DONE
    assert done.result is not None
    assert (done.result["sum"], done.result["session"], done.title) == (10, session.id, "Count")
    assert (done.done, done.total, done.message) == (5.0, 5.0, "step 5")
    assert done.started is not None
    assert done.finished is not None
    assert done.finished >= done.started
    assert runner.workspace.store.partial(job.id) == {"reached": 5}


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ("error", "The labels are out of range; check them."),
        ("other", "Unexpected error: ZeroDivisionError: kaboom"),
        ("exit", "Unexpected error: SystemExit: 3"),
        ("interrupt", "Unexpected error: KeyboardInterrupt: no message"),
        ("memory", "Memory ran out."),
    ],
)
def test_a_failure_has_a_sentence_a_traceback_and_its_partial(runner: Runner, how: str, sentence: str) -> None:
    failed = runner.wait(runner.submit("test_fail", {"how": how}).id, timeout_s=10)
    assert failed.state is JobState.FAILED
    assert failed.error is not None
    assert failed.error.startswith(sentence)
    assert "Traceback" in (failed.traceback or "")
    assert runner.workspace.store.partial(failed.id) == {"before": how}
    assert runner.wait(runner.submit("test_count", {"n": 1}).id, timeout_s=10).state is JobState.DONE


def test_an_end_that_cannot_be_written_is_written_later_and_once(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, refusals = runner.workspace.store, ["The disk is full."]
    finish, calls = store.finish_job, []

    def full(job_id: str, state: JobState, **values: object) -> None:
        calls.append(job_id)
        if refusals:
            raise StoreError(refusals.pop())
        finish(job_id, state, **values)  # type: ignore[arg-type]

    monkeypatch.setattr(store, "finish_job", full)
    job = runner.submit("test_count", {"n": 1})
    assert runner.wait(job.id, timeout_s=patient(30)).state is JobState.DONE
    after = runner.submit("test_count", {"n": 2})
    assert runner.wait(after.id, timeout_s=patient(30)).state is JobState.DONE
    assert calls == [job.id, job.id, after.id]


def test_cancel_a_running_and_a_queued_job(runner: Runner) -> None:
    running = runner.submit("test_count", {"n": 10_000, "pause_s": 0.01})
    queued = runner.submit("test_count", {"n": 1})
    until_running(runner, running)
    assert runner.cancel(queued.id).state is JobState.CANCELLED
    started = time.monotonic()
    runner.cancel(running.id)
    runner.cancel(running.id)
    ended = runner.wait(running.id, timeout_s=10)
    assert ended.state is JobState.CANCELLED
    assert time.monotonic() - started < patient(2)
    assert ended.error is None
    assert runner.workspace.store.partial(running.id) is not None
    assert runner.cancel(running.id).state is JobState.CANCELLED


def test_another_process_may_cancel_by_the_store_alone(runner: Runner) -> None:
    job = runner.submit("test_count", {"n": 10_000, "pause_s": 0.01})
    until_running(runner, job)
    runner.workspace.store.request_cancel(job.id)
    assert runner.wait(job.id, timeout_s=10).state is JobState.CANCELLED


def test_deleting_the_session_stops_its_job(runner: Runner) -> None:
    session = runner.workspace.store.create_session()
    job = runner.submit("test_count", {"n": 10_000, "pause_s": 0.01}, session_id=session.id)
    until_running(runner, job)
    runner.workspace.store.delete_session(session.id)
    after = runner.wait(runner.submit("test_count", {"n": 1}).id, timeout_s=10)
    assert after.state is JobState.DONE


def test_a_measurement_runs_alone_and_work_goes_on_afterwards(runner: Runner) -> None:
    work = runner.submit("test_count", {"n": 300, "pause_s": 0.01})
    until_running(runner, work)
    alone = runner.wait(runner.submit("test_alone", {"seconds": 0.3}).id, timeout_s=10)
    assert alone.result is not None
    assert alone.result["exclusive"] is True
    assert runner.wait(work.id, timeout_s=20).state is JobState.DONE


def test_a_measurement_says_when_it_could_not_be_alone(runner: Runner) -> None:
    work = runner.submit("test_stubborn", {"seconds": 1.5})
    time.sleep(0.2)
    alone = runner.wait(runner.submit("test_alone", {}).id, timeout_s=10)
    assert alone.result is not None
    assert alone.result["exclusive"] is False
    assert runner.wait(work.id, timeout_s=10).state is JobState.DONE


def test_a_paused_job_can_be_cancelled(runner: Runner) -> None:
    work = runner.submit("test_count", {"n": 10_000, "pause_s": 0.01})
    until_running(runner, work)
    alone = runner.submit("test_alone", {"seconds": 1.0})
    time.sleep(0.3)
    runner.cancel(work.id)
    assert runner.wait(work.id, timeout_s=0.6).state is JobState.CANCELLED
    assert runner.wait(alone.id, timeout_s=10).state is JobState.DONE


def test_closing_interrupts_promptly_and_keeps_the_queue(workspace: Workspace) -> None:
    runner = Runner(workspace, mode="inline").start()
    running = runner.submit("test_count", {"n": 10_000, "pause_s": 0.01})
    queued = runner.submit("test_count", {"n": 1})
    until_running(runner, running)
    started = time.monotonic()
    runner.close()
    runner.close()
    assert time.monotonic() - started < patient(3)
    ended = workspace.store.get_job(running.id)
    assert ended.state is JobState.INTERRUPTED
    assert ended.error
    assert workspace.store.get_job(queued.id).state is JobState.QUEUED
    with pytest.raises(StoreError, match="not running"):
        runner.submit("test_count", {"n": 1})


def test_unknown_kinds_are_refused(runner: Runner) -> None:
    with pytest.raises(RegistryError, match="known: "):
        runner.submit("nonsense", {})


def test_inline_runners_take_no_lock_and_leave_no_threads(workspace: Workspace) -> None:
    before = threading.active_count()
    for _ in range(3):
        with Runner(workspace, mode="inline") as first, Runner(workspace, mode="inline"):
            first.wait(first.submit("test_count", {"n": 1}).id, timeout_s=10)
    assert not workspace.lock.held
    assert threading.active_count() == before


def test_progress_is_written_at_a_bounded_rate(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    store, writes = runner.workspace.store, []
    original = store.update_job
    monkeypatch.setattr(store, "update_job", lambda job_id, **news: writes.append(news) or original(job_id, **news))
    started = time.monotonic()
    runner.wait(runner.submit("test_count", {"n": 500, "pause_s": 0.002}).id, timeout_s=20)
    assert 1 <= len(writes) <= 4 * (time.monotonic() - started) + 3
