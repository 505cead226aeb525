"""Jobs with checkpoints go on where they were stopped, whatever stopped them: as the same row, from the same place."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.errors import StoreError
from core.jobs import Runner
from core.jobs.histories import compact, training_summary
from core.jobs.resuming import checkpoint_epoch, resumable
from core.store import Job, JobState, Workspace
from tests.jobs.test_runner_process import ROOT, wait_until_warm, worker_pid

PATIENCE_S = 60.0


@pytest.fixture
def inline(tmp_path: Path) -> Iterator[Runner]:
    with Workspace.open(tmp_path) as workspace, Runner(workspace, mode="inline") as runner:
        yield runner


def reach(runner: Runner, job: Job, epoch: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while runner.workspace.store.get_job(job.id).done < epoch and time.monotonic() < deadline:
        time.sleep(0.01)


class TestResume:
    def test_a_cancelled_job_goes_on_as_the_same_row(self, inline: Runner) -> None:
        job = inline.submit("test_epochs", {"n": 40, "pause_s": 0.02})
        reach(inline, job, 2)
        inline.cancel(job.id)
        stopped = inline.wait(job.id, timeout_s=PATIENCE_S)
        assert stopped.state is JobState.CANCELLED
        assert (checkpoint_epoch(inline.workspace, stopped) or 0) >= 2
        before = inline.workspace.store.partial(job.id)
        assert before is not None

        assert inline.resume(job.id).id == job.id
        ended = inline.wait(job.id, timeout_s=PATIENCE_S)
        assert (ended.state, ended.error) == (JobState.DONE, None)
        assert ended.result is not None
        assert ended.result["first"] >= 2
        assert inline.workspace.store.partial(job.id) == {"epochs": list(range(40))}
        assert len(inline.workspace.store.jobs()) == 1
        assert inline.workspace.checkpoints.job_ids() == set()

    def test_a_failed_job_keeps_its_partial_result_and_can_be_resumed(self, inline: Runner) -> None:
        job = inline.submit("test_epochs", {"n": 5, "fails_at": 3})
        failed = inline.wait(job.id, timeout_s=PATIENCE_S)
        assert failed.error == "The loss is not finite."
        assert inline.workspace.store.partial(job.id) == {"epochs": [0, 1, 2]}
        inline.resume(job.id)
        ended = inline.wait(job.id, timeout_s=PATIENCE_S)
        assert (ended.state, ended.error, ended.traceback) == (JobState.DONE, None, None)

    def test_without_a_checkpoint_it_says_so(self, inline: Runner) -> None:
        job = inline.submit("test_fail", {"how": "error"})
        failed = inline.wait(job.id, timeout_s=PATIENCE_S)
        assert not resumable(inline.workspace, failed)
        with pytest.raises(StoreError, match="no checkpoint"):
            inline.resume(job.id)

    def test_what_is_done_or_live_cannot_be_resumed(self, inline: Runner) -> None:
        done = inline.submit("test_epochs", {"n": 1})
        inline.wait(done.id, timeout_s=PATIENCE_S)
        with pytest.raises(StoreError):
            inline.resume(done.id)
        store = inline.workspace.store
        with pytest.raises(StoreError, match="nothing to resume"):
            store.requeue_job(done.id, owner="x")

    def test_not_beside_the_same_work(self, inline: Runner) -> None:
        stopped = inline.submit("test_epochs", {"n": 30, "pause_s": 0.02})
        reach(inline, stopped, 1)
        inline.cancel(stopped.id)
        inline.wait(stopped.id, timeout_s=PATIENCE_S)
        inline.submit("test_epochs", {"n": 30, "pause_s": 0.02})
        with pytest.raises(StoreError, match="waits or runs already"):
            inline.resume(stopped.id)

    def test_checkpoints_go_with_their_job(self, inline: Runner) -> None:
        workspace = inline.workspace
        session = workspace.store.create_session("short")
        job = inline.submit("test_epochs", {"n": 5, "fails_at": 2}, session_id=session.id)
        inline.wait(job.id, timeout_s=PATIENCE_S)
        assert workspace.collect_garbage() == 0
        assert workspace.checkpoints.job_ids() == {job.id}
        workspace.store.delete_session(session.id)
        assert workspace.collect_garbage() == 1
        assert workspace.checkpoints.job_ids() == set()

    def test_a_name_never_leaves_the_folder(self, tmp_path: Path) -> None:
        with Workspace.open(tmp_path) as workspace, pytest.raises(StoreError):
            workspace.checkpoints.path("../artifacts")


@pytest.mark.row("F01")
class TestKill:
    def test_a_worker_killed_in_mid_job(self, tmp_path: Path) -> None:
        with Workspace.open(tmp_path) as workspace, Runner(workspace, import_torch=False) as runner:
            wait_until_warm(runner)
            job = runner.submit("test_epochs", {"n": 60, "pause_s": 0.03})
            reach(runner, job, 3)
            pid = worker_pid(runner)
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            failed = runner.wait(job.id, timeout_s=PATIENCE_S)
            assert failed.state is JobState.FAILED
            assert "signal 9" in (failed.error or "")
            assert runner.resume(job.id).state is JobState.QUEUED
            ended = runner.wait(job.id, timeout_s=PATIENCE_S)
            assert ended.state is JobState.DONE
            assert ended.result is not None
            assert ended.result["first"] >= 3

    def test_a_server_killed_in_mid_job(self, tmp_path: Path) -> None:
        script = (
            "import sys, time\n"
            "from core.jobs import Runner\n"
            "from core.store import Workspace\n"
            "runner = Runner(Workspace.open(sys.argv[1]), import_torch=False).start()\n"
            "job = runner.submit('test_epochs', {'n': 60, 'pause_s': 0.03})\n"
            "while runner.workspace.store.get_job(job.id).done < 3: time.sleep(0.02)\n"
            "print(job.id, flush=True)\n"
            "time.sleep(300)\n"
        )
        command = [sys.executable, "-c", script, str(tmp_path)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            job_id = server.stdout.readline().strip()
            server.kill()
            server.wait()
        with Workspace.open(tmp_path) as workspace, Runner(workspace, import_torch=False) as runner:
            stopped = workspace.store.get_job(job_id)
            assert stopped.state is JobState.INTERRUPTED
            assert resumable(workspace, stopped)
            runner.resume(job_id)
            ended = runner.wait(job_id, timeout_s=PATIENCE_S)
            assert ended.state is JobState.DONE
            assert ended.result is not None
            assert ended.result["first"] >= 3


class TestHistories:
    def test_a_long_history_stays_small(self) -> None:
        layers = {f"layer{i}": 1 / 3 for i in range(60)}
        rows = [
            {"epoch": i + 1, "loss": 1.0, "seconds": 2.0, "images_per_s": 100.0 + i, "layers": layers}
            for i in range(1000)
        ]
        small = compact({"kind": "training", "epochs": rows})
        with_layers = [row for row in small["epochs"] if "layers" in row]
        assert len(small["epochs"]) == 1000
        assert len(with_layers) <= 121
        assert "layers" in small["epochs"][-1]
        assert with_layers[0]["layers"]["layer0"] == 0.3333
        assert rows[1]["layers"] is layers, "what the method holds is untouched"

    def test_a_short_one_is_complete(self) -> None:
        rows = [{"epoch": 1, "layers": {"a": 0.5}}, {"epoch": 2, "layers": {"a": 0.75}}]
        assert compact({"epochs": rows, "seed": 3}) == {"epochs": rows, "seed": 3}

    def test_the_summary_adds_up(self) -> None:
        rows = [{"seconds": 2.0, "images_per_s": speed} for speed in (10.0, 100.0, 110.0)]
        summary = training_summary({"epochs": rows, "threads": 2})
        assert (summary["epochs"], summary["seconds"], summary["images_per_s"]) == (3, 6.0, 100.0)
        assert training_summary({})["images_per_s"] is None
