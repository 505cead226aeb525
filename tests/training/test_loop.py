"""The loop: repeatable, stops and restores as it says, reports what pages read, and refuses bad input in words."""

import json
import math
from dataclasses import replace

import pytest
import torch
from pydantic import ValidationError

from core.analysis.evaluation import evaluate
from core.comb.combing import comb
from core.errors import Cancelled, DataError, PlanError, TrainingError
from core.models.capture import trace
from core.progress import Progress
from core.pruning.plan import Plan
from core.training.hooks import Hook
from core.training.loop import Run
from core.training.objective import CrossEntropy, Objective
from core.training.settings import StageSettings, TrainingSettings

from ..pruning.data import random_splits
from ..pruning.networks import mixed


def train(model, splits, training, stage, *, hooks=(), objective=None, best_from=0, seed=0, **others):
    stages = (("Training", stage.epochs),)
    with Run(model, splits, Plan(seed=seed), training, stages=stages, target=0.0, **others) as run:
        run.stage(stage, objective or CrossEntropy(), hooks=hooks, best_from=best_from)
    return run


def same(a, b):
    left, right = a.state_dict(), b.state_dict()
    return all(torch.equal(left[name], right[name]) for name in left)


class Recorder(Progress):
    def __init__(self):
        self.updates, self.published, self.checks = [], [], 0

    def update(self, done, total, message=""):
        self.updates.append((done, total, message))

    def publish(self, partial):
        self.published.append(json.loads(json.dumps(partial, allow_nan=False)))

    def check(self):
        self.checks += 1


class Sabotage(Hook):
    """Makes a weight NaN after a step of an epoch."""

    def __init__(self, epoch):
        self.epoch = epoch

    def after_step(self, run):
        if run.stage_epoch == self.epoch:
            with torch.no_grad():
                run.model.prunable()["head"].weight.fill_(math.nan)


@pytest.mark.row("F15")
def test_the_same_seed_gives_the_same_bits_and_another_seed_others(model, splits, training, stage):
    before = model.fingerprint()
    state = torch.get_rng_state()
    once, again = (train(model, splits, training, stage, best_from=3) for _ in range(2))
    assert same(once.model, again.model)
    assert not same(once.model, train(model, splits, training, stage, best_from=3, seed=1).model)
    assert not same(once.model, model)
    assert model.fingerprint() == before
    assert torch.equal(torch.get_rng_state(), state)
    assert not once.model.training
    assert all(p.is_contiguous() for p in once.model.graph_module.parameters())


def test_it_descends_as_a_plain_loop_does(model, splits, stage):
    """No augmentation, one batch per epoch: the order of images does not matter."""
    settings = TrainingSettings(batch_size=48, precision="fp32", channels_last=False)
    constant = stage.changed(schedule="constant")
    run = train(model, splits, settings, constant, best_from=3)
    plain = model.clone().train()
    optimizer = torch.optim.SGD([p for _, p in plain.named_parameters()], lr=0.05, momentum=0.9, nesterov=True)
    x, y = next(splits.train.batches(48))
    for _ in range(3):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(plain.predict(x), y).backward()
        optimizer.step()
    theirs = plain.state_dict()
    assert all(torch.allclose(v, theirs[k], rtol=1e-3, atol=1e-5) for k, v in run.model.state_dict().items())


def test_history_says_everything_that_pages_read(model, splits, training, stage):
    progress = Recorder()
    run = train(model, splits, training, stage.changed(warmup_epochs=1.0), progress=progress, best_from=1)
    body = run.history.to_json()
    assert {key: body[key] for key in ("kind", "metric", "unit", "seed", "precision", "step", "threads")} == {
        "kind": "training", "metric": "accuracy", "unit": "weights", "seed": 0, "precision": "fp32", "step": None,
        "threads": torch.get_num_threads(),
    }  # fmt: skip
    assert body["dense_score"] == evaluate(model, splits, "select").score
    assert body["stages"] == [{"name": "Training", "epochs": 3, "first_epoch": 1}]
    assert [row["epoch"] for row in body["epochs"]] == [1, 2, 3]
    assert sum(row["best"] for row in body["epochs"]) == 1
    for row in body["epochs"]:
        assert set(row) >= {
            "epoch", "stage", "loss", "parts", "train_score", "select_score", "select_low", "select_high",
            "learning_rate", "sparsity", "revived", "hidden", "jaccard", "images_per_s", "seconds", "layers", "best",
        }  # fmt: skip
        assert row["parts"]["ce"] == pytest.approx(row["loss"])
        assert 0 <= row["select_low"] <= row["select_score"] <= row["select_high"] <= 1
    assert progress.published[-1]["epochs"] == body["epochs"]
    assert progress.updates[0] == (1, 9, "Training · epoch 1/3")
    assert progress.updates[-1] == (9, 9, "Training · epoch 3/3")
    assert len(progress.updates) == 9
    assert progress.checks >= 9


def test_within_an_epoch_news_come_at_most_once_a_second(model, splits, training, stage, monkeypatch):
    from core.training import meter

    monkeypatch.setattr(meter, "PUBLISH_EVERY_S", 0.0)
    progress = Recorder()
    train(model, splits, training, stage, progress=progress)
    steps = [body["step"] for body in progress.published if body["step"]]
    assert [(step["epoch"], step["step"], step["steps"]) for step in steps[:3]] == [(1, 1, 3), (1, 2, 3), (1, 3, 3)]
    monkeypatch.setattr(meter, "PUBLISH_EVERY_S", 1e9)
    progress = Recorder()
    train(model, splits, training, stage, progress=progress)
    assert not any(body["step"] for body in progress.published)


class TestBestState:
    def test_is_restored_and_is_the_one_with_the_best_score(self, model, splits, training):
        class Keep(Hook):
            def __init__(self):
                self.states = {}

            def epoch_end(self, run, row):
                self.states[run.epoch] = {k: v.clone() for k, v in run.model.state_dict().items()}

        keep = Keep()
        run = train(model, splits, training, StageSettings(epochs=6, learning_rate=0.5), hooks=[keep], best_from=2)
        body = run.history.to_json()
        best = body["restored_epoch"]
        scores = {row["epoch"]: row["select_score"] for row in body["epochs"]}
        assert best >= 2
        assert scores[best] == max(score for epoch, score in scores.items() if epoch >= 2)
        assert all(torch.equal(v, keep.states[best][k]) for k, v in run.model.state_dict().items())
        assert evaluate(run.model, splits, "select").score == scores[best]

    def test_may_be_the_one_before_training(self, model, splits, training):
        stage = StageSettings(epochs=2, learning_rate=10.0)
        run = train(model, splits, training, stage, hooks=[Sabotage(1)], best_from=0)
        assert same(run.model, model)
        assert run.history.to_json()["restored_epoch"] == 0

    def test_patience_ends_the_stage(self, model, splits, training):
        class Flat(Hook):
            """Undoes every epoch: the score never improves."""

            def epoch_start(self, run):
                self.kept = {k: v.clone() for k, v in run.model.state_dict().items()}

            def after_step(self, run):
                run.model.load_state_dict(self.kept)

        stage = StageSettings(epochs=9, patience=2)
        run = train(model, splits, training, stage, hooks=[Flat()], best_from=3)
        body = run.history.to_json()
        assert len(body["epochs"]) == 5
        assert body["restored_epoch"] == 3
        assert [event["text"] for event in body["events"]] == ["Stopped early: no better score in 2 epochs."]


class TestDivergence:
    @pytest.mark.row("F14")
    def test_before_there_is_a_result_it_is_an_error_that_says_where_why_and_what_to_do(self, model, splits, training):
        progress = Recorder()
        with pytest.raises(TrainingError) as caught:
            train(model, splits, training, StageSettings(epochs=4), hooks=[Sabotage(2)], best_from=4, progress=progress)
        text = str(caught.value)
        for part in ("at step 5 ", "epoch 2", "“Training”", "“head.weight”", "learning rate", "clip the gradients"):
            assert part in text, (part, text)
        assert len(progress.published[-1]["epochs"]) == 1
        assert progress.published[-1]["events"][0]["text"] in text

    @pytest.mark.row("F14")
    def test_with_a_result_the_run_ends_with_it_and_a_note(self, model, splits, training):
        stages = (("One", 3), ("Two", 2))
        with Run(model, splits, Plan(), training, stages=stages, target=0.0) as run:
            run.stage(StageSettings(epochs=3), CrossEntropy(), hooks=[Sabotage(3)], best_from=1)
            run.stage(StageSettings(epochs=2), CrossEntropy())
        assert run.ended_early
        assert len(run.history.to_json()["epochs"]) == 2
        assert "best state before" in run.notes[0]
        assert all(torch.isfinite(p).all() for p in run.model.graph_module.parameters())

    def test_an_absurd_learning_rate_is_named(self, model, splits, training):
        stage = StageSettings(epochs=9, learning_rate=10.0, schedule="constant", momentum=0.99)
        with pytest.raises(TrainingError, match="lower the learning rate"):
            train(model, splits, training, stage, hooks=[_Grow()], best_from=9)

    def test_broken_outputs_of_finite_weights(self, model, splits, training, stage):
        class Broken(Objective):
            def loss(self, student, targets, teacher):
                loss = student.sum() * math.inf
                return loss, {"ce": loss}

        with pytest.raises(TrainingError, match="outputs are finite and their loss is not"):
            train(model, splits, training, stage, objective=Broken(), best_from=1)


class _Grow(Hook):
    def after_backward(self, run):
        for parameter in run.optimizer.parameters.values():
            parameter.grad.mul_(1e30)


def test_cancel_stops_at_the_next_batch(model, splits, training, stage):
    class Stop(Recorder):
        def check(self):
            super().check()
            if self.updates and self.updates[-1][0] == 4:
                raise Cancelled

    progress = Stop()
    with pytest.raises(Cancelled):
        train(model, splits, training, stage, progress=progress)
    assert len(progress.updates) == 4
    assert len(progress.published[-1]["epochs"]) == 1


def test_a_single_image_left_over_is_not_a_batch(model, training):
    splits = random_splits(mixed(), train=17)
    progress = Recorder()
    train(model, splits, training, StageSettings(epochs=1), progress=progress)
    assert len(progress.updates) == 1


def test_a_part_of_the_training_images_is_the_same_in_every_epoch(model, splits, stage):
    seen = []

    class Look(Objective):
        def begin(self, run, indices):
            assert indices.tolist() == splits.train.indices(20).tolist()

        def teach(self, x, indices):
            seen.append(set(indices.tolist()))

        loss = CrossEntropy().loss

    train(model, splits, TrainingSettings(batch_size=10, images=20, precision="fp32"), stage, objective=Look())
    assert len(seen) == 6
    for first, second in zip(seen[::2], seen[1::2], strict=True):
        assert first | second == set(splits.train.indices(20).tolist())


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_units_can_be_removed_in_mid_run(optimizer, model, splits, training):
    class Shrink(Hook):
        def after_step(self, run):
            if run.step == 2:
                found = comb(run.model)
                group = next(group for group in found.groups if group.units > 2)
                removal = {group.name: [0, 1]}
                state = run.optimizer.state()
                run.remove_units(found, removal)
                after = run.optimizer.state()
                assert set(after) == set(state)
                assert sum(t["step"].numel() for t in after.values() if "step" in t) == (
                    len(after) if optimizer == "adamw" else 0
                )
                for name, parameter in run.optimizer.parameters.items():
                    assert all(v.shape == parameter.shape for k, v in after[name].items() if k != "step")

    stage = StageSettings(epochs=2, optimizer=optimizer)
    run = train(model, splits, training, stage, hooks=[Shrink()], best_from=1)
    parameters = sum(p.numel() for p in run.model.graph_module.parameters())
    assert parameters < sum(p.numel() for p in model.graph_module.parameters())
    assert torch.isfinite(run.model.predict(torch.randn(2, *model.input_shape))).all()


class TestPrecision:
    def test_bf16_computes_in_half_and_keeps_weights_whole(self, model, splits, stage):
        half = train(model, splits, TrainingSettings(batch_size=16, precision="bf16"), stage, best_from=3)
        full = train(model, splits, TrainingSettings(batch_size=16, precision="fp32"), stage, best_from=3)
        assert half.history.to_json()["precision"] == "bf16"
        assert {p.dtype for p in half.model.graph_module.parameters()} == {torch.float32}
        assert not same(half.model, full.model)
        losses = [[row["loss"] for row in run.history.to_json()["epochs"]] for run in (half, full)]
        assert losses[0] == pytest.approx(losses[1], rel=0.05)

    def test_auto_takes_bf16_only_where_it_helps(self, monkeypatch):
        from core.training import engine

        for helps in (True, False):
            monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda helps=helps: helps)
            assert engine.chosen_precision("auto", torch.device("cpu")) == ("bf16" if helps else "fp32")
        with pytest.raises(PlanError, match="choose fp32"):
            engine.chosen_precision("bf16", torch.device("mps"))


class TestBadInput:
    def test_a_batch_larger_than_the_split(self, model, splits, stage):
        with pytest.raises(PlanError, match="at most the number of training images, 48; got 64"):
            train(model, splits, TrainingSettings(batch_size=64), stage)
        with pytest.raises(PlanError, match="images, 20; got 32"):
            train(model, splits, TrainingSettings(batch_size=32, images=20), stage)

    def test_no_data(self, model, training, stage, splits):
        with pytest.raises(PlanError, match="choose a data set first"):
            train(model, None, training, stage)
        empty = replace(splits, select=replace(splits.select, images=splits.select.images[:0], targets=torch.zeros(0)))
        with pytest.raises(PlanError, match="select split, and it is empty"):
            train(model, empty, training, stage)

    def test_broken_weights(self, model, splits, training, stage):
        broken = model.clone()
        with torch.no_grad():
            broken.prunable()["head"].weight[0, 0] = math.nan
        with pytest.raises(PlanError, match=r"“head\.weight” holds NaN"):
            train(broken, splits, training, stage)

    def test_data_with_other_classes(self, training, stage, splits):
        other = trace(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(432, 3)).eval(), (3, 12, 12))
        with pytest.raises(DataError, match="one output per class"):
            train(other, splits, training, stage)

    @pytest.mark.parametrize(
        "fields",
        [
            {"epochs": 0},
            {"learning_rate": math.nan},
            {"learning_rate": 0.0},
            {"learning_rate": math.inf},
            {"momentum": 1},
        ],
    )
    def test_settings_out_of_range(self, fields):
        with pytest.raises(ValidationError):
            StageSettings(**fields)
        with pytest.raises(PlanError, match=next(iter(fields))):
            StageSettings.parse(fields)
