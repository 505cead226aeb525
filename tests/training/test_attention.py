"""Attention transfer: 0 for equal maps, blind to the number of channels, there before and after a removal."""

import pytest
import torch
from torch.nn import functional as F

from core.errors import PlanError
from core.methods import prune
from core.models.opening import open_model
from core.pruning.plan import Plan
from core.training.attention import FeatureMaps, attention_loss, stage_ends
from core.training.distillation import make_objective, teacher_for
from core.training.loop import Run
from core.training.settings import DistillationSettings, StageSettings

from ..pruning.data import random_splits

MAPS = [torch.randn(3, 6, 8, 8, generator=torch.Generator().manual_seed(0))]


@pytest.fixture(scope="module")
def resnet():
    return open_model("digits_resnet")


def test_equal_maps_cost_nothing_and_other_channels_can_be_compared():
    student = [MAPS[0].clone().requires_grad_()]
    value = attention_loss(student, MAPS)
    value.backward()
    assert float(value.detach()) == 0.0
    assert float(student[0].grad.abs().max()) < 1e-7
    # Twice the channels, the same places: scale and number of channels do not count.
    assert float(attention_loss([torch.cat([MAPS[0], MAPS[0]], dim=1)], MAPS)) < 1e-12
    assert float(attention_loss([MAPS[0].flip(3)], MAPS)) > 0.01


def test_the_loss_is_its_definition():
    other = MAPS[0].roll(1, 2)[:, :4]
    a, b = (F.normalize(m.square().sum(1).flatten(1), dim=1) for m in (other, MAPS[0]))
    assert torch.allclose(attention_loss([other], MAPS), (a - b).square().sum(1).mean())


def test_stages_end_where_the_resolution_falls(resnet):
    places, sizes = stage_ends(resnet)
    assert sizes == ((16, 16), (8, 8), (4, 4))
    maps = FeatureMaps(resnet.graph_module, places)
    x = torch.randn(2, *resnet.input_shape)
    resnet.predict(x)
    assert [tuple(found.shape[2:]) for found in maps.take()] == list(sizes)
    maps.close()
    resnet.predict(x)
    with pytest.raises(KeyError):
        maps.take()


def test_tokens_are_no_feature_maps():
    model = open_model("digits_vit")
    with pytest.raises(PlanError, match="feature maps"):
        teacher_for(DistillationSettings(attention=1.0), model)
    teacher_for(DistillationSettings(attention=1.0, form="off"), model)  # nothing to transfer


def test_a_teacher_of_other_resolutions_is_refused(resnet, tmp_path):
    other = torch.nn.Sequential(
        torch.nn.Conv2d(resnet.input_shape[0], 4, 3, stride=4), torch.nn.Conv2d(4, 4, 1), torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(), torch.nn.Linear(4, resnet.num_classes),
    )  # fmt: skip
    from core.models.capture import trace

    trace(other.eval(), resnet.input_shape).save(tmp_path / "teacher")
    settings = DistillationSettings(attention=1.0, teacher="model", teacher_folder=str(tmp_path / "teacher"))
    with pytest.raises(PlanError, match="same resolution"):
        teacher_for(settings, resnet)


def test_a_student_equal_to_its_teacher_has_no_attention_loss_and_leaves_no_hook(resnet, training):
    splits = random_splits(resnet, train=32, select=16, test=8)
    settings = DistillationSettings(attention=10.0)
    with Run(resnet, splits, Plan(), training, stages=(("a", 1),), target=0.0) as run:
        objective = make_objective(settings, resnet, splits)
        run.model.eval()  # in training mode BatchNorm sees another batch than the teacher's statistics
        run.model.train = lambda mode=True: run.model  # type: ignore[method-assign]
        run.stage(StageSettings(epochs=1, learning_rate=1e-9), objective)
        parts = run.history.to_json()["epochs"][0]["parts"]
        assert 0 <= parts["attention"] < 1e-6
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in run.model.graph_module.modules())


def test_seap_transfers_attention_over_the_removal(resnet):
    splits = random_splits(resnet, train=64, select=16, test=8)
    own = {
        "training": {"batch_size": 16},
        "distillation": {"attention": 5.0},
        "train": {"epochs": 4, "learning_rate": 0.001},
    }
    result = prune(resnet, splits, Plan(method="seap", sparsity=0.3, method_settings=own))
    assert any("closed units were removed" in note for note in result.notes)
    assert all(row["parts"]["attention"] > 0 for row in result.history["epochs"])
