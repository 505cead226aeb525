"""Distillation: what is 0, what the forms differ by, and that the cache changes nothing."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from core.errors import PlanError
from core.models.capture import trace
from core.training.distillation import (
    Distillation,
    channel_wise_divergence,
    make_objective,
    softened_divergence,
    teacher_for,
)
from core.training.loop import Run
from core.training.objective import CrossEntropy
from core.training.settings import DistillationSettings, StageSettings, TrainingSettings

from ..pruning.data import random_splits
from ..pruning.networks import mixed

LOGITS = torch.randn(7, 5, generator=torch.Generator().manual_seed(0)) * 9
MAPS = torch.randn(3, 5, 6, 4, generator=torch.Generator().manual_seed(1)) * 9
LABELS = torch.arange(7) % 5


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0, 50.0])
@pytest.mark.parametrize(
    ("divergence", "logits"), [(softened_divergence, LOGITS), (channel_wise_divergence, MAPS)], ids=["logits", "maps"]
)
def test_a_student_equal_to_its_teacher_has_divergence_exactly_zero(divergence, logits, temperature):
    student = logits.clone().requires_grad_()
    value = divergence(student, logits, temperature)
    value.backward()
    assert float(value.detach()) == 0.0
    assert float(student.grad.abs().max()) < 1e-7
    assert float(divergence(logits + torch.randn_like(logits), logits, temperature)) > 0


def test_divergences_equal_their_definitions():
    other = LOGITS.flip(0)
    p, q = (LOGITS / 4).softmax(1), (other / 4).softmax(1)
    assert torch.allclose(softened_divergence(other, LOGITS, 4.0), (p * (p / q).log()).sum(1).mean())
    total = torch.zeros(())
    for n in range(3):
        for k in range(5):
            p, q = (MAPS[n, k].flatten() / 2).softmax(0), (MAPS.flip(0)[n, k].flatten() / 2).softmax(0)
            total += (p * (p / q).log()).sum()
    assert torch.allclose(channel_wise_divergence(MAPS.flip(0), MAPS, 2.0), total / 15, rtol=1e-4)


def test_the_forms_differ_by_the_factor_on_cross_entropy():
    model = mixed()
    canonical, authors = (
        Distillation(DistillationSettings(form=form, temperature=3.0, alpha=0.6), model)
        for form in ("canonical", "authors")
    )
    student = LOGITS.flip(0)
    ce, kd = F.cross_entropy(student, LABELS), softened_divergence(student, LOGITS, 3.0)
    value, parts = canonical.loss(student, LABELS, LOGITS)
    assert torch.allclose(value, 0.6 * 9 * kd + 0.4 * ce)
    assert (parts["ce"], parts["kd"]) == (ce, kd)
    assert torch.allclose(authors.loss(student, LABELS, LOGITS)[0], 9 * (0.6 * kd + 0.4 * ce))


def test_the_teacher_is_frozen_in_eval_mode_and_a_copy(model):
    teacher = Distillation(DistillationSettings(), model).teacher
    assert not teacher.training
    assert not any(p.requires_grad for p in teacher.graph_module.parameters())
    assert all(p.requires_grad for p in model.graph_module.parameters())


def test_cached_logits_are_those_of_the_batch_and_only_where_images_do_not_change(model, splits, training):
    loss = Distillation(DistillationSettings(), model)
    with Run(model, splits, _plan(), training, stages=(("a", 1),), target=0.0) as run:
        loss.begin(run, np.arange(48))
        assert loss._cache is not None
        chosen = np.array([40, 3, 17])
        x, _ = splits.train.batch(chosen)
        assert torch.allclose(loss.teach(x, chosen), model.clone().eval().predict(x), atol=1e-5)
    part = np.arange(5, 48, 3)  # a stratified part of the split has gaps
    loss = Distillation(DistillationSettings(), model)
    with Run(model, splits, _plan(), training, stages=(("a", 1),), target=0.0) as run:
        loss.begin(run, part)
        assert torch.allclose(
            loss.teach(x, np.array([5, 47])), loss._logits(splits.train.batch(np.array([5, 47]))[0]), atol=1e-5
        )


def test_with_augmentation_nothing_is_cached(model, splits, training):
    from dataclasses import replace

    moving = replace(splits, train=replace(splits.train, augmentation="flip"))
    loss = Distillation(DistillationSettings(), model)
    with Run(model, moving, _plan(), training, stages=(("a", 1),), target=0.0) as run:
        loss.begin(run, np.arange(48))
        assert loss._cache is None


def _plan():
    from core.pruning.plan import Plan

    return Plan()


def test_off_means_cross_entropy_alone(model, splits):
    assert type(make_objective(DistillationSettings(form="off"), model, splits)) is CrossEntropy


class TestAnotherTeacher:
    def test_is_loaded_and_used(self, model, splits, training, tmp_path):
        mixed(seed=5).save(tmp_path / "teacher")
        settings = DistillationSettings(teacher="model", teacher_folder=str(tmp_path / "teacher"))
        teacher = teacher_for(settings, model)
        assert teacher.fingerprint() == mixed(seed=5).fingerprint() != model.fingerprint()
        with Run(model, splits, _plan(), training, stages=(("a", 1),), target=0.0) as run:
            run.stage(StageSettings(epochs=1), make_objective(settings, model, splits))
            assert run.history.to_json()["epochs"][0]["parts"]["kd"] > 0

    def test_with_other_classes_is_refused(self, model, tmp_path):
        other = trace(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(432, 3)).eval(), (3, 12, 12))
        other.save(tmp_path / "teacher")
        with pytest.raises(PlanError, match=r"5 classes of the model .* it has 3"):
            teacher_for(DistillationSettings(teacher="model", teacher_folder=str(tmp_path / "teacher")), model)

    def test_that_is_missing_is_refused(self, model, tmp_path):
        with pytest.raises(PlanError, match="cannot be opened"):
            teacher_for(DistillationSettings(teacher="model", teacher_folder=str(tmp_path / "nothing")), model)
        with pytest.raises(PlanError, match="needs the folder"):
            teacher_for(DistillationSettings(teacher="model", teacher_folder=""), model)


def test_segmentation_uses_channel_wise_distillation():
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.BatchNorm2d(4), torch.nn.Conv2d(4, 5, 1))
    model = trace(net.eval(), (3, 8, 8), task="segmentation")
    splits = random_splits(model, train=8, select=4, test=2)
    settings = TrainingSettings(batch_size=4, precision="fp32")
    with Run(model, splits, _plan(), settings, stages=(("a", 2),), target=0.0) as run:
        run.stage(StageSettings(epochs=2), make_objective(DistillationSettings(), model, splits))
    row = run.history.to_json()["epochs"][-1]
    assert set(row["parts"]) == {"ce", "kd"}
    assert 0 <= row["train_score"] <= 1
    assert run.history.to_json()["metric"] == "mIoU"
