"""DG2PF by the properties of METHODS §A3."""

import itertools
import json
import math

import pytest
import torch
from torch.nn.utils import parametrize

from core.errors import Cancelled, PlanError
from core.methods import METHODS, prune
from core.methods.dg2pf import DG2PFSettings
from core.models.opening import open_model
from core.progress import Progress
from core.pruning.criteria import CalibrationContext
from core.pruning.gradual import masks_at, plan_at
from core.pruning.masks import stored_weights
from core.pruning.plan import Plan
from core.pruning.schedules import SCHEDULES
from core.training.checkpoints import Checkpoints
from core.training.hooks import Hook
from core.training.loop import Run
from core.training.masking import GradualMasks
from core.training.objective import CrossEntropy
from core.training.settings import StageSettings, TrainingSettings

from ..pruning.data import random_splits
from ..pruning.networks import mixed, tied

TRAINING = TrainingSettings(batch_size=16, precision="fp32")
QUICK = {
    "training": TRAINING.to_json(),
    "tail_epochs": 1,
    "prune": {"epochs": 3, "optimizer": "adamw", "learning_rate": 0.01, "schedule": "constant", "clip_norm": 1.0},
    "tune": {"epochs": 1},
}


@pytest.fixture(scope="module")
def model():
    return mixed()


@pytest.fixture(scope="module")
def splits(model):
    return random_splits(model)


def plan_of(sparsity=0.8, *, settings=None, **fields):
    return Plan(method="dg2pf", sparsity=sparsity, method_settings={**QUICK, **(settings or {})}, **fields)


def zeros(model):
    return sum(int((module.weight == 0).sum()) for module in model.prunable().values())


@pytest.mark.parametrize("schedule", list(SCHEDULES))
@pytest.mark.parametrize("mode", ["simulated", "hard", "dense-gradient"])
def test_every_schedule_and_mode_ends_exactly_at_the_target(schedule, mode, model, splits):
    result = prune(model, splits, plan_of(settings={"schedule": schedule, "mode": mode}))
    assert zeros(result.model) == result.removed == round(0.8 * result.size)
    rows = result.history["epochs"]
    course = METHODS["dg2pf"].course(plan_of(settings={"schedule": schedule, "mode": mode}))
    for row, planned in zip(rows[:3], course.sparsity[:3], strict=True):
        expected = max(course.sparsity[: row["epoch"]]) if mode == "hard" else planned
        assert row["sparsity"] == pytest.approx(expected, abs=1 / result.size)
    assert rows[-1]["sparsity"] == pytest.approx(0.8, abs=1 / result.size)
    assert not any(parametrize.is_parametrized(m) for m in result.model.graph_module.modules())


@pytest.mark.parametrize("allocation", ["uniform", "global", "erk", "lamp"])
@pytest.mark.parametrize("mode", ["simulated", "hard"])
def test_every_scope_honours_overrides_and_protected_layers(allocation, mode, model, splits):
    plan = plan_of(0.7, allocation=allocation, overrides={"head": 0.25}, protected=("stem",), settings={"mode": mode})
    rows = {row["name"]: row for row in prune(model, splits, plan).layers}
    assert rows["head"]["removed"] == round(0.25 * rows["head"]["size"])
    assert rows["stem"]["removed"] == 0
    free = [row for name, row in rows.items() if name not in ("head", "stem")]
    assert sum(row["removed"] for row in free) == round(0.7 * sum(row["size"] for row in free))


@pytest.mark.parametrize("criterion", ["wanda", "random"])
def test_other_criteria_work_in_hard_mode_too(criterion, model, splits):
    result = prune(model, splits, plan_of(criterion=criterion, settings={"mode": "hard"}))
    assert zeros(result.model) == round(0.8 * result.size)
    assert all(row["revived"] in (0, None) for row in result.history["epochs"])


class Watch(Hook):
    """Remembers stored weights, optimizer states and masks around every epoch."""

    def __init__(self, pruner):
        self.pruner, self.epochs = pruner, []

    def epoch_start(self, run):
        self.start = self._tensors(run)

    def epoch_end(self, run, row):
        self.epochs.append((self.start, self._tensors(run), dict(row)))

    def _tensors(self, run):
        found = {}
        for name, mask in self.pruner.masks.items():
            parameter = next(iter(stored_weights(run.model, {name: mask})))
            state = {k: v.detach().clone() for k, v in run.optimizer._tensors(parameter).items()}
            found[name] = (state, mask.clone())
        return found


def gradual(model, splits, mode, *, epochs=6, tail=2, schedule="linear", stage=None, sparsity=0.6):
    """Stage 1 alone, watched."""
    plan = Plan(sparsity=sparsity, allocation="global")
    pruner = GradualMasks(plan, schedule=schedule, epochs=epochs, mode=mode, context=CalibrationContext(splits))
    watch = Watch(pruner)
    stage = stage or StageSettings(
        epochs=epochs + tail, optimizer="adamw", learning_rate=0.02, weight_decay=0.1, schedule="constant"
    )
    with Run(model, splits, plan, TRAINING, stages=(("Pruning", epochs + tail),), target=sparsity) as run:
        run.stage(stage.changed(epochs=epochs + tail), CrossEntropy(), hooks=[pruner, watch], best_from=epochs)
    return run, watch.epochs


class TestHiddenWeights:
    @pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
    def test_are_bit_identical_while_hidden_and_so_is_their_optimizer_state(self, optimizer, model, splits):
        stage = StageSettings(optimizer=optimizer, learning_rate=0.02, weight_decay=0.1, clip_norm=1.0)
        _, epochs = gradual(model, splits, "simulated", stage=stage)
        moved = 0
        for start, end, _ in epochs[:6]:
            for name, (before, mask) in start.items():
                after = end[name][0]
                for key, tensor in before.items():
                    assert torch.equal(tensor[~mask], after[key][~mask]), (name, key)
                    moved += int((tensor[mask] != after[key][mask]).sum())
        assert moved
        hidden = [start[name][0][""][~start[name][1]] for start, _, _ in epochs[:6] for name in start]
        assert sum(int((values != 0).sum()) for values in hidden)  # hidden, not gone

    def test_come_back_when_survivors_have_shrunk_below_them(self, model, splits):
        shrinking = StageSettings(optimizer="sgd", learning_rate=0.2, weight_decay=0.5, schedule="constant")
        _, epochs = gradual(model, splits, "simulated", epochs=12, sparsity=0.3, stage=shrinking)
        assert sum(row["revived"] for _, _, row in epochs) > 0
        for (_, before, _), (after, _, row) in itertools.pairwise(epochs):
            revived = {name: after[name][1] & ~before[name][1] for name in after}
            assert sum(int(mask.sum()) for mask in revived.values()) == row["revived"]
            for name, mask in revived.items():  # with the value that they were hidden with
                assert torch.equal(after[name][0][""][mask], before[name][0][""][mask])

    @pytest.mark.parametrize("schedule", list(SCHEDULES))
    def test_never_come_back_in_hard_mode(self, schedule, model, splits):
        _, epochs = gradual(model, splits, "hard", schedule=schedule)
        for (_, before, _), (after, _, row) in itertools.pairwise(epochs):
            assert row["revived"] == 0
            for name in after:
                assert not torch.any(after[name][1] & ~before[name][1])
                assert not torch.any(after[name][0][""][~after[name][1]])

    def test_learn_from_the_pruned_network_in_dense_gradient_mode(self, model, splits):
        _, epochs = gradual(model, splits, "dense-gradient")
        moved = [
            int((start[name][0][""] != end[name][0][""])[~start[name][1]].sum())
            for start, end, _ in epochs[:6]
            for name in start
        ]
        assert sum(moved)

    def test_are_zero_for_good_after_the_last_level(self, model, splits):
        run, epochs = gradual(model, splits, "simulated")
        for start, end, row in epochs[6:]:
            assert row["revived"] == row["hidden"] == 0
            assert row["jaccard"] == 1.0
            for name, (tensors, mask) in start.items():
                assert not torch.any(tensors[""][~mask])
                assert not torch.any(end[name][0][""][~mask])
        assert zeros(run.model) == round(0.6 * sum(m.weight.numel() for m in run.model.prunable().values()))


def test_forward_and_gradient_are_those_of_the_pruned_network(model, splits):
    """Hide and restore, done by hand, against θ·M."""
    plan = Plan(sparsity=0.5, allocation="global")
    by_hand = model.clone().train()
    masks = masks_at(by_hand, plan, CalibrationContext(splits))
    with torch.no_grad():
        for name, mask in masks.items():
            by_hand.prunable()[name].weight.mul_(mask)
    x, y = next(splits.train.batches(16))
    torch.nn.functional.cross_entropy(by_hand.predict(x), y).backward()

    from core.pruning.masks import parametrise

    ours = model.clone().train()
    parametrise(ours, masks)
    torch.nn.functional.cross_entropy(ours.predict(x), y).backward()
    assert torch.equal(ours.predict(x), by_hand.predict(x))
    for name, mask in masks.items():
        theta = ours.prunable()[name].parametrizations.weight.original
        assert torch.equal(theta, model.prunable()[name].weight)
        assert torch.allclose(theta.grad, by_hand.prunable()[name].weight.grad * mask, atol=1e-7)
        assert not torch.any(theta.grad[~mask])


def test_the_plan_at_a_moment_moves_overrides_along(model):
    plan = Plan(sparsity=0.8, overrides={"head": 0.4})
    half = plan_at(plan, "linear", 0.5)
    assert (half.sparsity, half.overrides) == (0.4, {"head": 0.2})
    assert plan_at(plan, "cubic", 1.0) == plan


def test_continued_runs_end_with_the_same_bits(model, splits, tmp_path):
    for teacher in ("dense", "progressive"):
        plan = plan_of(settings={"distillation": {"teacher": teacher}})
        whole = prune(model, splits, plan)
        for stop in (2, 4, 5):

            class Stop(Progress):
                stop_at, epochs = stop, 0

                def publish(self, partial):
                    self.epochs = len(partial["epochs"])

                def check(self):
                    if self.epochs == self.stop_at - 1:
                        raise Cancelled

            checkpoints = Checkpoints(tmp_path / f"{teacher}-{stop}")
            with pytest.raises(Cancelled):
                prune(model, splits, plan, progress=Stop(), checkpoints=checkpoints)
            continued = prune(model, splits, plan, checkpoints=checkpoints)
            assert continued.model.fingerprint() == whole.model.fingerprint()
            assert all(torch.equal(mask, whole.masks[name]) for name, mask in continued.masks.items())


def test_the_progressive_teacher_is_the_previous_level(model, splits):
    from core.training.distillation import Distillation, ProgressiveTeacher
    from core.training.settings import DistillationSettings

    loss = Distillation(DistillationSettings(teacher="progressive"), model)
    plan = Plan(sparsity=0.6)
    pruner = GradualMasks(plan, schedule="linear", epochs=3, mode="simulated", context=CalibrationContext(splits))
    seen = []

    class Look(Hook):
        def epoch_start(self, run):
            seen.append(zeros(loss.teacher))

    hooks = [pruner, ProgressiveTeacher(loss, pruner.level), Look()]
    with Run(model, splits, plan, TRAINING, stages=(("Pruning", 4),), target=0.6) as run:
        run.stage(StageSettings(epochs=4), loss, hooks=hooks, best_from=3)
    size = sum(module.weight.numel() for module in model.prunable().values())
    assert seen == pytest.approx([0, 0.2 * size, 0.4 * size, 0.4 * size], abs=1)


def test_history_records_revived_hidden_jaccard_and_layers(model, splits):
    history = prune(model, splits, plan_of()).history
    json.dumps(history, allow_nan=False)
    assert [stage["name"] for stage in history["stages"]] == ["Distilled gradual pruning", "Pruned fine-tuning"]
    first, tuned = history["epochs"][0], history["epochs"][-1]
    assert first["hidden"] == pytest.approx(0.8 / 3 * 2028, abs=1200)
    assert first["revived"] == 0
    assert 0 < first["jaccard"] < 1
    assert set(first["layers"]) == set(model.prunable())
    assert set(first["parts"]) == {"ce", "kd"}
    assert tuned["revived"] is None
    assert set(tuned["parts"]) == {"ce"}
    assert history["restored_epoch"] >= 3  # never a state below the target
    assert (history["target"], history["unit"]) == (0.8, "weights")


def test_shared_weights_are_hidden_once_and_stay_shared():
    model = tied()
    splits = random_splits(model)
    result = prune(model, splits, plan_of(0.5, allocation="uniform"))
    modules = result.model.prunable()
    assert modules["embed"].weight is modules["again"].weight
    assert int((modules["again"].weight == 0).sum()) == 72
    assert result.removed == round(0.5 * result.size)


class TestSettings:
    def test_presets(self):
        quick, authors = DG2PFSettings(preset="quick"), DG2PFSettings(preset="authors")
        assert (quick.prune.epochs, quick.tail_epochs, quick.tune.epochs) == (5, 3, 5)
        assert quick.prune.learning_rate == 1e-3
        assert (authors.prune.learning_rate, authors.prune.clip_norm, authors.distillation.form) == (
            1e-5,
            0.5,
            "authors",
        )
        assert DG2PFSettings(preset="standard").changed(preset="own") == DG2PFSettings()
        assert DG2PFSettings(preset="large").prune.learning_rate == 1e-4
        for preset in ("quick", "standard", "large", "authors"):
            settings = DG2PFSettings(preset=preset)
            assert DG2PFSettings.parse(json.loads(json.dumps(settings.to_json()))) == settings

    def test_a_preset_leaves_other_fields_alone(self):
        settings = DG2PFSettings.parse({"preset": "quick", "training": {"batch_size": 9}, "prune": {"momentum": 0.5}})
        assert settings.training.batch_size == 9
        assert (settings.prune.momentum, settings.prune.epochs, settings.prune.optimizer) == (0.5, 5, "adamw")

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"prune": {"epochs": 0}}, "prune.epochs"),
            ({"prune": {"learning_rate": math.nan}}, "prune.learning_rate"),
            ({"mode": "soft"}, "mode"),
            ({"preset": "fast"}, "preset"),
            ({"distillation": {"temperature": 0}}, "temperature"),
            ({"training": {"batch_size": 4096}}, "at most the number of training images"),
            ({"distillation": {"teacher": "model", "teacher_folder": "/nowhere"}}, "cannot be opened"),
        ],
    )
    def test_bad_input_is_one_sentence(self, settings, message, model, splits):
        with pytest.raises(PlanError, match=message):
            prune(model, splits, plan_of(settings=settings))

    def test_no_data_and_impossible_targets(self, model, splits):
        with pytest.raises(PlanError, match="choose a data set first"):
            prune(model, None, plan_of())
        with pytest.raises(PlanError, match="most that is possible"):
            prune(model, splits, plan_of(0.9999))


@pytest.mark.parametrize("name", ["digits_vit", "scenes_fcn"])
def test_it_trains_transformers_and_segmentation(name):
    model = open_model(name)
    splits = random_splits(model, train=4, select=2, test=2)
    settings = {"training": {"batch_size": 2}, "tail_epochs": 0, "prune": {"epochs": 1}, "tune": {"epochs": 1}}
    result = prune(model, splits, plan_of(0.5, settings=settings))
    assert zeros(result.model) >= result.removed == round(0.5 * result.size)
    assert result.history["metric"] == ("mIoU" if name == "scenes_fcn" else "accuracy")
    assert result.model.fingerprint() == type(model).clone(result.model).fingerprint()
