"""Faults of jobs: killed, cancelled, out of memory. The quick ones with tiny kinds of jobs and workers without torch,
the slow ones with real kinds, a real network and real data.

After each: no result is half there, what was stored is intact, and the job taken up again ends with the same bits.
"""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from core.jobs import Runner
from core.jobs.resuming import checkpoint_epoch
from core.store import Job, JobState, Session, Workspace
from core.training.checkpoints import Checkpoints
from tests.jobs import conftest as _kinds  # noqa: F401 - registers the tiny kinds
from tests.jobs.running import MODEL, opened
from tests.jobs.test_runner_process import wait_until_warm, worker_pid

from ..patience import patient
from .servers import ended, running, serve, until

PATIENCE_S = 300.0
DATA = {"source": "digits", "limit": 400}
STAGE = {"learning_rate": 0.02}
TRAINING = {
    "method": "gradual",
    "sparsity": 0.9,
    "method_settings": {
        "prune": {"epochs": 3, **STAGE, "schedule": "constant"},
        "tune": {"epochs": 3, **STAGE},
        "training": {"images": 160, "batch_size": 20},
    },
}
FRACTIONS = (0.02, 0.25, 0.5, 0.75, 0.95)

quiet = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")


def state_of(workspace: Workspace, session: Session) -> tuple[list[str], int]:
    """What a session lists: variants with all their files, and measurements."""
    variants = workspace.store.variants(session.id)
    for variant in variants:
        workspace.artifacts.path(variant.artifact)  # raises when it is missing or damaged
        if variant.evaluation_artifact:
            workspace.artifacts.path(variant.evaluation_artifact)
    return [variant.artifact for variant in variants], sum(
        len(workspace.store.measurements(variant.id)) for variant in variants
    )


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    with Workspace.open(tmp_path_factory.mktemp("hungry")) as workspace, pytest.MonkeyPatch.context() as patch:
        patch.setenv("ESPALIER_JOB_MEMORY_MB", "600")
        with Runner(workspace, import_torch=False) as runner:
            wait_until_warm(runner)
            patch.undo()  # the worker has read it; those of the other tests of this module shall not
            yield runner


@pytest.mark.row("F08")
class TestMemory:
    def test_a_job_that_needs_too_much_says_so_and_gives_it_back(self, limited: Runner) -> None:
        pid = worker_pid(limited)
        assert pid is not None
        before = psutil.Process(pid).memory_info().rss
        payload = {"mb": 20, "plan": {"method_settings": {"training": {"batch_size": 128}}}}
        failed = limited.wait(limited.submit("test_hungry", payload).id, timeout_s=60)
        assert (failed.state, failed.error) == (JobState.FAILED, "Memory ran out: try a batch of 64 (it was 128).")
        done = limited.wait(limited.submit("test_count", {"n": 3}).id, timeout_s=60)
        assert done.result is not None
        assert done.result["pid"] == pid, "the same worker goes on"
        assert psutil.Process(pid).memory_info().rss < before + (30 << 20)

    def test_without_a_batch_it_says_what_else_helps(self, limited: Runner) -> None:
        failed = limited.wait(limited.submit("test_hungry", {"mb": 50}).id, timeout_s=60)
        assert failed.state is JobState.FAILED
        assert "Use fewer images" in (failed.error or "")


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    with (
        Workspace.open(tmp_path_factory.mktemp("cancel")) as workspace,
        Runner(workspace, import_torch=False, cancel_grace_s=0.5) as runner,
    ):
        yield runner


@pytest.mark.row("F10", "F11")
class TestCancel:
    def test_while_the_worker_starts_while_it_waits_and_while_it_is_paused(self, quick: Runner) -> None:
        store = quick.workspace.store
        starting = quick.submit("test_count", {"n": 1000, "pause_s": 0.01})
        waiting = quick.submit("test_count", {"n": 5})
        for job in (waiting, starting):
            began = time.monotonic()
            quick.cancel(job.id)
            assert quick.wait(job.id, timeout_s=30).state is JobState.CANCELLED
            assert time.monotonic() - began < patient(2)
        work = quick.submit("test_count", {"n": 10_000, "pause_s": 0.01})
        running(quick.workspace, work)
        alone = quick.submit("test_alone", {"seconds": 4.0})
        until(lambda: quick._work.executor.waiting)
        began = time.monotonic()
        quick.cancel(work.id)
        assert quick.wait(work.id, timeout_s=30).state is JobState.CANCELLED
        assert time.monotonic() - began < patient(2)
        quick.cancel(alone.id)
        assert quick.wait(alone.id, timeout_s=30).state is JobState.CANCELLED
        assert store.jobs(states=[JobState.QUEUED, JobState.RUNNING]) == []

    def test_what_was_cancelled_can_be_resumed_at_once_and_cancelled_again(self, quick: Runner) -> None:
        job = quick.submit("test_epochs", {"n": 50, "pause_s": 0.03})
        for epochs in (2, 10):
            running(quick.workspace, job, done=epochs)
            quick.cancel(job.id)
            assert quick.wait(job.id, timeout_s=30).state is JobState.CANCELLED
            quick.resume(job.id)
        ended_job = quick.wait(job.id, timeout_s=60)
        assert ended_job.state is JobState.DONE
        assert ended_job.result is not None
        assert ended_job.result["first"] >= 10

    def test_twice_and_after_the_end_changes_nothing(self, quick: Runner) -> None:
        job = quick.submit("test_count", {"n": 10_000, "pause_s": 0.01})
        running(quick.workspace, job)
        for _ in range(3):
            quick.cancel(job.id)
        first = quick.wait(job.id, timeout_s=30)
        assert (first.state, quick.cancel(job.id)) == (JobState.CANCELLED, first)
        done = quick.wait(quick.submit("test_count", {"n": 2}).id, timeout_s=30)
        assert quick.cancel(done.id) == done


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    with Workspace.open(tmp_path_factory.mktemp("phases")) as workspace, Runner(workspace) as runner:
        wait_until_warm_for(runner, PATIENCE_S)
        yield runner


def run(runner: Runner, kind: str, payload: dict[str, Any], session: Session) -> Job:
    job = runner.wait(runner.submit(kind, payload, session_id=session.id).id, timeout_s=PATIENCE_S)
    assert job.state is JobState.DONE, f"{job.error}\n{job.traceback}"
    return job


@pytest.fixture(scope="module")
def session(real: Runner) -> Session:
    return opened(real, data=DATA)


@quiet
@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.row("F01", "F10")
class TestEachPhase:
    """A run without a fault takes T; the same run is stopped after a few parts of T, wherever it is then."""

    def whole(self, real: Runner, session: Session) -> tuple[str, float]:
        """The artifact and the duration of the training without a fault."""
        job = run(real, "prune", {"plan": TRAINING, "name": "whole"}, session)
        assert job.result is not None
        assert job.finished is not None
        assert job.started is not None
        variant = real.workspace.store.get_variant(job.result["variant_id"])
        return variant.artifact, (job.finished - job.started).total_seconds()

    def test_training_killed_or_cancelled_anywhere_ends_with_the_same_weights(
        self, real: Runner, session: Session
    ) -> None:
        workspace = real.workspace
        expected, seconds = self.whole(real, session)
        for kill in (False, True):
            for fraction in FRACTIONS:
                before = state_of(workspace, session)
                name = f"{'killed' if kill else 'cancelled'} at {fraction}"
                job = real.submit("prune", {"plan": TRAINING, "name": name}, session_id=session.id)
                until(lambda job=job: workspace.store.get_job(job.id).started is not None)
                time.sleep(fraction * seconds)
                began = time.monotonic()
                if kill:
                    pid = worker_pid(real)
                    assert pid is not None
                    os.kill(pid, signal.SIGKILL)
                else:
                    real.cancel(job.id)
                stopped = real.wait(job.id, timeout_s=PATIENCE_S)
                if stopped.state is JobState.DONE:
                    continue  # it was quicker
                assert stopped.state is (JobState.FAILED if kill else JobState.CANCELLED), stopped.error
                assert kill or time.monotonic() - began < patient(2)
                assert state_of(workspace, session) == before, f"{name}: nothing half is listed"
                if checkpoint_epoch(workspace, stopped) is not None:
                    real.resume(job.id)
                else:
                    job = real.submit("prune", {"plan": TRAINING, "name": name}, session_id=session.id)
                again = real.wait(job.id, timeout_s=PATIENCE_S)
                assert again.state is JobState.DONE, again.error
                assert again.result is not None
                assert workspace.store.get_variant(again.result["variant_id"]).artifact == expected, name

    @pytest.mark.parametrize(
        ("kind", "payload"),
        [
            ("open", {"model": MODEL, "data": DATA}),
            ("sensitivity", {"settings": {"images": 100, "levels": [0.5, 0.9]}}),
            ("prune", {"plan": {"sparsity": 0.5}, "name": "one shot"}),
            ("export", {}),
            ("measure", {"settings": {"pairs": 6, "warmup": 1}}),
        ],
        ids=["open", "sensitivity", "prune", "export", "measure"],
    )
    def test_every_kind_of_job_can_be_cancelled_anywhere(
        self, real: Runner, session: Session, kind: str, payload: dict[str, Any]
    ) -> None:
        store = real.workspace.store
        dense = store.variants(session.id)[0]
        payload = dict(payload)
        if kind == "export":
            payload["variant_id"] = dense.id
        if kind == "measure":
            payload["variant_ids"] = [dense.id]
        for wait_s in (0.0, 0.15, 0.4, 1.0):
            where = store.create_session("new") if kind == "open" else session
            before = state_of(real.workspace, where)
            job = real.submit(kind, payload, session_id=where.id)
            time.sleep(wait_s)
            began = time.monotonic()
            real.cancel(job.id)
            stopped = real.wait(job.id, timeout_s=60)
            if stopped.state is JobState.DONE:
                break
            assert stopped.state is JobState.CANCELLED, stopped.error
            # Reading torch's own start or one batch cannot be interrupted; on a quiet machine both are below 2 s.
            assert time.monotonic() - began < patient(2)
            assert state_of(real.workspace, where) == before
        assert run(real, kind, payload, where).result is not None


@quiet
@pytest.mark.slow
@pytest.mark.row("F01", "F02")
def test_a_server_that_is_killed_or_stopped_in_mid_training_loses_nothing(tmp_path: Path) -> None:
    artifacts = []
    with serve(tmp_path) as server, Workspace.open(tmp_path) as workspace:
        session = workspace.store.create_session("server")
        opening = ended(workspace, server.queue(workspace, "open", {"model": MODEL, "data": DATA}, session.id))
        assert opening.state is JobState.DONE, opening.error
        whole = ended(workspace, server.queue(workspace, "prune", {"plan": TRAINING, "name": "whole"}, session.id))
        assert whole.result is not None
        artifacts.append(workspace.store.get_variant(whole.result["variant_id"]).artifact)
        stopped = server.queue(workspace, "prune", {"plan": TRAINING, "name": "SIGTERM"}, session.id)
        until(lambda: Checkpoints(workspace.checkpoints.path(stopped.id)).exists)
        assert server.stop() < 10
        assert server.process.returncode == 0
        assert workspace.store.get_job(stopped.id).state is JobState.INTERRUPTED
        assert checkpoint_epoch(workspace, workspace.store.get_job(stopped.id)) is not None
    with serve(tmp_path) as server, Workspace.open(tmp_path) as workspace:
        killed = server.queue(workspace, "prune", {"plan": TRAINING, "name": "SIGKILL"}, session.id)
        until(lambda: Checkpoints(workspace.checkpoints.path(killed.id)).exists)
        server.process.kill()
        server.process.wait()
    with Workspace.open(tmp_path) as workspace, Runner(workspace) as runner:
        assert workspace.store.get_job(killed.id).state is JobState.INTERRUPTED
        for job in (stopped, killed):
            again = runner.wait(runner.resume(job.id).id, timeout_s=PATIENCE_S)
            assert again.state is JobState.DONE, again.error
            assert again.result is not None
            artifacts.append(workspace.store.get_variant(again.result["variant_id"]).artifact)
    assert len(set(artifacts)) == 1, "the same weights, by hash"


def wait_until_warm_for(runner: Runner, patience_s: float) -> None:
    """Wait until the worker has imported torch."""
    until(lambda: runner.warm, patience_s)


@quiet
@pytest.mark.slow
@pytest.mark.row("F15")
def test_one_and_two_threads_rank_alike_and_score_within_the_tolerance() -> None:
    """The tolerance: the same weights go but for ties in the last bit (at most 0.1 %), and accuracy within 1 point."""
    import torch

    import core

    model = core.open_model("sample/digits_resnet")
    data = core.fit_data(core.open_data("digits"), model)
    plan = core.Plan(sparsity=0.7, allocation="lamp", criterion="wanda")
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2, 1):
            torch.set_num_threads(threads)
            pruned = core.prune(model, data, plan).model
            found.append((pruned, core.evaluate(pruned, data).score))
    finally:
        torch.set_num_threads(before)
    (one, first), (two, second), (again, third) = found
    assert one.fingerprint() == again.fingerprint()
    assert first == third
    weights = [model.state_dict() for model in (one, two)]
    differing = sum(int(((weights[0][name] == 0) != (weights[1][name] == 0)).sum()) for name in weights[0])
    assert differing <= 0.001 * sum(tensor.numel() for tensor in weights[0].values())
    assert abs(first - second) <= 0.01
