"""Checkpoints: whole or not there, and a continued run ends with the bits of an uninterrupted one."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch
from torch import nn

from core.comb.combing import comb
from core.errors import Cancelled, StoreError
from core.models.capture import trace
from core.pruning.plan import Plan
from core.training.checkpoints import Checkpoints
from core.training.distillation import Distillation
from core.training.hooks import Hook
from core.training.loop import Run
from core.training.objective import CrossEntropy
from core.training.settings import DistillationSettings, StageSettings

from ..pruning.data import random_splits
from .test_loop import same


class Kill(Hook):
    """Ends the run like a cancel would, in the middle of an epoch."""

    def __init__(self, epoch):
        self.epoch = epoch

    def after_step(self, run):
        if run.epoch == self.epoch and run.stage_step % run.steps_per_epoch == 1:
            raise Cancelled


class Shrink(Hook):
    """Replaces the model by a smaller one in the second epoch."""

    def after_step(self, run):
        if run.step == 4:
            found = comb(run.model)
            removal = {next(group for group in found.groups if group.units > 2).name: [0, 2]}
            run.remove_units(found, removal)


def two_stages(model, splits, training, checkpoints, *, hooks=(), kill=None):
    stages = (("One", 3), ("Two", 3))
    adamw = StageSettings(epochs=3, optimizer="adamw", learning_rate=1e-2, clip_norm=1.0)
    ending = [] if kill is None else [Kill(kill)]
    with Run(model, splits, Plan(), training, stages=stages, target=0.0, checkpoints=checkpoints) as run:
        loss = Distillation(DistillationSettings(), model)
        run.stage(adamw, loss, hooks=[*hooks, *ending], best_from=3)
        run.stage(StageSettings(epochs=3, warmup_epochs=1.0), CrossEntropy(), hooks=ending)
    return run


@pytest.mark.parametrize("hooks", [(), (Shrink(),)], ids=["plain", "replaced"])
@pytest.mark.row("F01")
def test_killed_anywhere_and_continued_gives_the_same_bits(hooks, model, splits, training, tmp_path):
    whole = two_stages(model, splits, training, None, hooks=hooks)
    for epoch in (1, 2, 3, 4, 6):
        checkpoints = Checkpoints(tmp_path / f"kill-{epoch}")
        with pytest.raises(Cancelled):
            two_stages(model, splits, training, checkpoints, hooks=hooks, kill=epoch)
        assert checkpoints.exists == (epoch > 1)
        assert checkpoints.epoch == (epoch - 1 or None)
        continued = two_stages(model, splits, training, checkpoints, hooks=hooks, kill=0)
        assert same(continued.model, whole.model)
        ours, theirs = continued.history.to_json(), whole.history.to_json()
        for row in (*ours["epochs"], *theirs["epochs"]):
            del row["seconds"], row["images_per_s"]
        assert ours == theirs


def test_augmentation_and_dropout_are_drawn_on_where_they_stood(tmp_path, training):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(4 * 36, 5))
    model = trace(net.eval(), (3, 8, 8))
    splits = random_splits(model)
    splits = replace(splits, train=replace(splits.train, augmentation="shift_flip"))
    whole = two_stages(model, splits, training, None)
    for epoch in (2, 5):
        checkpoints = Checkpoints(tmp_path / str(epoch))
        with pytest.raises(Cancelled):
            two_stages(model, splits, training, checkpoints, kill=epoch)
        torch.manual_seed(epoch)  # what the process drew in between does not matter
        assert same(two_stages(model, splits, training, checkpoints, kill=0).model, whole.model)
    assert not same(whole.model, two_stages(model, random_splits(model), training, None).model)


def test_a_finished_run_is_continued_to_the_same_end_without_training(model, splits, training, tmp_path):
    checkpoints = Checkpoints(tmp_path)
    whole = two_stages(model, splits, training, checkpoints, kill=0)
    again = two_stages(model, splits, training, checkpoints, kill=0)
    assert same(whole.model, again.model)
    assert again.history.to_json() == whole.history.to_json()


def test_another_plan_model_or_data_is_refused(model, splits, training, tmp_path):
    checkpoints = Checkpoints(tmp_path)
    two_stages(model, splits, training, checkpoints)
    for plan in (Plan(seed=1), Plan(sparsity=0.1)):
        with (
            pytest.raises(StoreError, match="belongs to a run with another model, data set, plan"),
            Run(model, splits, plan, training, stages=(("One", 3),), target=0.0, checkpoints=checkpoints),
        ):
            pass


class TestFiles:
    def test_the_newest_is_kept_alone_and_is_read_without_pickle(self, tmp_path, monkeypatch):
        checkpoints = Checkpoints(tmp_path / "deep" / "run")
        assert not checkpoints.exists
        for epoch in (1, 2, 10):
            checkpoints.save(epoch, {"epoch": epoch, "tensor": torch.full((2,), epoch)})
        assert checkpoints.epoch == 10
        assert [path.name for path in checkpoints.folder.iterdir()] == ["epoch-000010"]
        state, replaced = checkpoints.load()
        assert state["epoch"] == 10
        assert replaced is None
        (tmp_path / "deep" / "run" / "epoch-000010" / "state.pt").write_bytes(b"")
        with pytest.raises(StoreError, match="damaged"):
            checkpoints.load()
        checkpoints.clear()
        assert not checkpoints.exists
        with pytest.raises(StoreError, match="no checkpoint"):
            checkpoints.load()

    def test_code_in_a_checkpoint_is_never_run(self, tmp_path):
        class Evil:
            def __reduce__(self):
                return os.system, (f"touch {tmp_path / 'ran'}",)

        checkpoints = Checkpoints(tmp_path / "run")
        checkpoints.save(1, {"evil": Evil()})
        with pytest.raises(StoreError, match="damaged"):
            checkpoints.load()
        assert not (tmp_path / "ran").exists()

    @pytest.mark.parametrize("moment", ["save", "rename"])
    @pytest.mark.row("F04")
    def test_a_full_disk_is_said_in_words_and_leaves_the_one_before(self, tmp_path, monkeypatch, moment):
        checkpoints = Checkpoints(tmp_path)
        checkpoints.save(1, {"epoch": 1})

        def full(*_):
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            if moment == "save":
                patch.setattr(torch, "save", full)
            else:
                patch.setattr(type(tmp_path), "rename", full)
            with pytest.raises(StoreError, match=r"No space left on device.*intact"):
                checkpoints.save(2, {"epoch": 2})
        assert checkpoints.load()[0] == {"epoch": 1}
        assert [path.name for path in tmp_path.iterdir()] == ["epoch-000001"]

    def test_what_a_killed_writer_left_is_no_checkpoint(self, tmp_path):
        (tmp_path / ".writing-77").mkdir()
        (tmp_path / ".writing-77" / "state.pt").write_bytes(b"half")
        (tmp_path / "epoch-000004").mkdir()
        checkpoints = Checkpoints(tmp_path)
        assert not checkpoints.exists
        checkpoints.save(1, {"epoch": 1})
        assert checkpoints.load()[0] == {"epoch": 1}


SCRIPT = """
import sys, torch
from core.methods import prune
from core.pruning.plan import Plan
from core.training.checkpoints import Checkpoints
from core.progress import Progress
from tests.pruning.data import random_splits
from tests.pruning.networks import mixed

class Say(Progress):
    def publish(self, partial):
        print(len(partial["epochs"]), flush=True)

torch.set_num_threads(1)
model = mixed()
splits = random_splits(model, train=512)
stages = {"prune": {"epochs": 6, "optimizer": "adamw", "learning_rate": 1e-2}, "tune": {"epochs": 6}}
settings = {"tail_epochs": 0, "training": {"batch_size": 8, "precision": "fp32"}, **stages}
plan = Plan(method="dg2pf", sparsity=0.9, method_settings=settings)
result = prune(model, splits, plan, progress=Say(), checkpoints=Checkpoints(sys.argv[1]))
print(result.model.fingerprint())
"""


@pytest.mark.slow
@pytest.mark.row("F01")
def test_a_process_killed_with_signal_9_is_continued_to_the_same_bits(tmp_path):
    def start(folder):
        return subprocess.Popen([sys.executable, "-c", SCRIPT, str(folder)], stdout=subprocess.PIPE, text=True)

    def last_line(process):
        out, _ = process.communicate(timeout=300)
        assert process.returncode == 0
        return out.strip().splitlines()[-1]

    expected = last_line(start(tmp_path / "whole"))
    for epoch in (2, 8):
        folder = tmp_path / f"killed-{epoch}"
        process = start(folder)
        for line in process.stdout:
            if line.strip() == str(epoch):
                break
        time.sleep(0.1)  # into the next epoch
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert Checkpoints(folder).epoch >= epoch - 1
        assert last_line(start(folder)) == expected
