"""Training as a job on a real network and real data: history, checkpoints, cancel and resume to the same weights."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from core.jobs import Runner
from core.jobs.resuming import checkpoint_epoch
from core.store import Job, JobState, Session, Workspace
from core.training.checkpoints import Checkpoints
from tests.jobs.running import opened
from tests.jobs.test_runner_process import worker_pid

PATIENCE_S = 300.0
DATA = {"source": "digits", "limit": 400}
STAGE = {"learning_rate": 0.02}
PLAN = {
    "method": "gradual",
    "sparsity": 0.9,
    "method_settings": {
        "prune": {"epochs": 2, **STAGE, "schedule": "constant"},
        "tune": {"epochs": 2, **STAGE},
        "training": {"images": 160, "batch_size": 40},
    },
}

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")


def submit(runner: Runner, session: Session, name: str) -> Job:
    return runner.submit("prune", {"plan": PLAN, "name": name}, session_id=session.id)


def ended(runner: Runner, job: Job) -> Job:
    return runner.wait(job.id, timeout_s=PATIENCE_S)


def until_epoch(runner: Runner, job: Job, epochs: int) -> None:
    """Wait for the checkpoint of an epoch; the history tells of it a moment earlier."""
    place = Checkpoints(runner.workspace.checkpoints.path(job.id))
    deadline = time.monotonic() + PATIENCE_S
    while (place.epoch or 0) < epochs and time.monotonic() < deadline:
        if not runner.workspace.store.get_job(job.id).state.live:
            return
        time.sleep(0.02)


def artifact(runner: Runner, job: Job) -> str:
    assert job.state is JobState.DONE, f"{job.error}\n{job.traceback}"
    assert job.result is not None
    return runner.workspace.store.get_variant(job.result["variant_id"]).artifact


@pytest.fixture(scope="module")
def inline(runner: Runner) -> tuple[Runner, Session, Job]:
    session = opened(runner, data=DATA)
    return runner, session, ended(runner, submit(runner, session, "uninterrupted"))


def test_the_history_stays_and_the_checkpoint_goes(inline: tuple[Runner, Session, Job]) -> None:
    runner, _, job = inline
    store = runner.workspace.store
    variant = store.get_variant((job.result or {})["variant_id"])
    history: dict[str, Any] = store.partial(job.id) or {}
    assert history["kind"] == "training"
    assert [row["epoch"] for row in history["epochs"]] == [1, 2, 3, 4]
    assert history["epochs"][-1]["layers"]
    summary = (job.result or {})["training"]
    assert summary["epochs"] == 4
    assert summary["images_per_s"] > 0
    assert summary["machine"]
    assert runner.workspace.checkpoints.job_ids() == set()
    size, removed = (sum(layer[key] for layer in variant.layers) for key in ("size", "removed"))
    assert removed == round(0.9 * size)
    assert variant.metrics["test"]["n"] > 0


@pytest.mark.row("F10")
def test_cancelled_and_resumed_gives_the_same_weights(inline: tuple[Runner, Session, Job]) -> None:
    runner, session, whole = inline
    job = submit(runner, session, "stopped")
    until_epoch(runner, job, 1)
    runner.cancel(job.id)
    stopped = ended(runner, job)
    assert stopped.state is JobState.CANCELLED
    assert checkpoint_epoch(runner.workspace, stopped) in range(1, 4)
    assert (runner.workspace.store.partial(job.id) or {})["epochs"], "the curve is kept"
    resumed = ended(runner, runner.resume(job.id))
    assert artifact(runner, resumed) == artifact(runner, whole)
    history = runner.workspace.store.partial(job.id) or {}
    assert [row["epoch"] for row in history["epochs"]] == [1, 2, 3, 4]


def test_a_stored_model_teaches_by_its_artifact(inline: tuple[Runner, Session, Job]) -> None:
    runner, session, whole = inline
    teacher = f"artifact:{artifact(runner, whole)}"
    settings = {
        "tune": {"epochs": 1},
        "training": {"images": 100, "batch_size": 50},
        "distillation": {"form": "canonical", "teacher": "model", "teacher_folder": teacher},
    }
    plan = {"method": "one_shot_fine_tune", "sparsity": 0.5, "method_settings": settings}
    job = ended(runner, runner.submit("prune", {"plan": plan}, session_id=session.id))
    assert job.state is JobState.DONE, job.error
    variant = runner.workspace.store.get_variant((job.result or {})["variant_id"])
    assert variant.plan is not None
    assert variant.plan["method_settings"]["distillation"]["teacher_folder"] == teacher
    assert "kd" in (runner.workspace.store.partial(job.id) or {})["epochs"][0]["parts"]


@pytest.mark.slow
@pytest.mark.row("F01")
def test_a_killed_worker_and_a_killed_server_change_nothing(tmp_path: Path) -> None:
    with Workspace.open(tmp_path) as workspace, Runner(workspace) as runner:
        session = opened(runner, data=DATA)
        whole = artifact(runner, ended(runner, submit(runner, session, "uninterrupted")))

        job = submit(runner, session, "killed")
        until_epoch(runner, job, 1)
        pid = worker_pid(runner)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        failed = ended(runner, job)
        assert failed.state is JobState.FAILED
        assert "signal 9" in (failed.error or "")
        assert checkpoint_epoch(workspace, failed) is not None
        runner.resume(job.id)
        until_epoch(runner, job, 3)
    # The server went away in the middle of the resumed run.
    with Workspace.open(tmp_path) as workspace, Runner(workspace) as runner:
        stopped = workspace.store.get_job(job.id)
        if stopped.state is JobState.INTERRUPTED:
            assert checkpoint_epoch(workspace, stopped) is not None
            stopped = ended(runner, runner.resume(job.id))
        assert artifact(runner, stopped) == whole
