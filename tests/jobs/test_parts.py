"""The small parts of the runner: gate, remaining time, failures in words."""

import signal
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Cancelled, PlanError
from core.jobs.eta import EtaEstimator
from core.jobs.failures import describe_exit, describe_failure
from core.jobs.gate import Gate
from core.jobs.inline import InlineExecutor
from core.jobs.lane import JobLane
from core.store import Workspace
from core.store.owner import this_process


def test_an_open_gate_costs_nothing_and_a_cancelled_one_raises() -> None:
    gate = Gate()
    gate.check()
    gate.cancel()
    with pytest.raises(Cancelled):
        gate.check()
    gate.new_job()
    gate.check()


def test_a_closed_gate_holds_until_it_opens() -> None:
    news: list[bool] = []
    gate = Gate(news.append)
    gate.pause()
    thread = threading.Thread(target=gate.check)
    thread.start()
    deadline = time.monotonic() + 5
    while not gate.waiting and time.monotonic() < deadline:
        time.sleep(0.005)
    assert thread.is_alive()
    gate.resume()
    thread.join(5)
    assert not thread.is_alive()
    assert news == [True, False]
    assert gate.paused_s > 0


def test_a_slow_first_step_does_not_speak_for_the_others() -> None:
    clock = [0.0]
    eta = EtaEstimator(clock=lambda: clock[0])
    eta.update(0, 100)
    clock[0] = 5.0
    assert eta.update(1, 100) == pytest.approx(99 * 5.0)
    for done in range(2, 12):
        clock[0] += 0.1
        left = eta.update(done, 100)
    assert left == pytest.approx(89 * 6.0 / 11)  # eleven steps took six seconds


@given(rate=st.floats(0.01, 100), total=st.floats(10, 1e4), step_s=st.floats(0.1, 5))
def test_a_steady_rate_is_estimated_exactly(rate: float, total: float, step_s: float) -> None:
    clock = [100.0]
    eta = EtaEstimator(clock=lambda: clock[0])
    assert eta.update(0.0, total) is None
    for step in range(1, 6):
        clock[0] += step_s
        done = min(total, rate * step_s * step)
        remaining = eta.update(done, total)
        if done < total:
            assert remaining == pytest.approx((total - done) / rate, rel=1e-6)
        else:
            assert remaining == pytest.approx(0.0, abs=1e-6)
            break


def test_a_pause_is_left_out_and_a_new_phase_starts_anew() -> None:
    clock = [0.0]
    eta = EtaEstimator(clock=lambda: clock[0])
    eta.update(0, 10)
    clock[0] = 1.0
    assert eta.update(1, 10) == pytest.approx(9.0)
    clock[0] = 102.0
    eta.skip(100.0)
    assert eta.update(2, 10) == pytest.approx(8.0)
    assert eta.update(0, 500) is None


def test_failures_in_words() -> None:
    sentence, details = describe_failure(PlanError("Sparsity must be below 1."))
    assert sentence == "Sparsity must be below 1."
    assert details is not None
    assert "PlanError" in details
    for error in (MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried")):
        assert describe_failure(error)[0].startswith("Memory ran out")
    assert describe_failure(MemoryError(), {"plan": {"training": {"batch_size": 128}}})[0].endswith(
        "try a batch of 64 (it was 128)."
    )
    assert "disk is full" in describe_failure(OSError(28, "No space left"))[0]
    long, _ = describe_failure(ValueError("x" * 10_000 + "\nsecond line"))
    assert len(long) < 400
    assert "memory" in describe_exit(-signal.SIGKILL)
    assert "SIGSEGV" in describe_exit(-signal.SIGSEGV)
    assert "exit code 0" in describe_exit(0)


def test_a_lane_lets_its_executor_rest_when_it_is_idle(workspace: Workspace) -> None:
    rested = threading.Event()

    class Resting(InlineExecutor):
        def rest(self) -> None:
            rested.set()

    lane = JobLane(
        "measure",
        Resting(workspace),
        store=workspace.store,
        owner=this_process(),
        kinds=["test_count"],
        rest_after_s=0.0,
        on_end=lambda: None,
    )
    lane.start(warm=False)
    assert rested.wait(10)
    lane.stop()
    lane.join(5)
