"""The sheet of a model's groups counts and chooses as the model itself does, and says why layers shrink together."""

import subprocess
import sys

import numpy as np
import pytest
from torchvision.models import get_model

from core.analysis.cost import count_macs, count_parameters
from core.comb.combing import comb
from core.comb.sheet import GroupSheet
from core.comb.summary import summarise
from core.comb.surgery import remove
from core.errors import ModelError, PlanError
from core.methods import prune
from core.methods.one_shot_structured import planned_removal
from core.models.cifar_resnet import CifarResNet
from core.pruning.criteria import CalibrationContext
from core.pruning.groups.base import score_groups
from core.pruning.plan import Plan

from .adversaries import EinsumAttention
from .checks import random_removal, traced

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def resnet():
    model = traced(CifarResNet(20), 32)
    found = comb(model)
    scores = {name: score_groups(name, found, CalibrationContext()) for name in ("magnitude", "bn_scale")}
    return model, found, summarise(found, scores)


def test_a_saved_sheet_is_the_same(resnet, tmp_path) -> None:
    _, found, sheet = resnet
    sheet.save(tmp_path / "groups.npz")
    read = GroupSheet.load(tmp_path / "groups.npz")
    assert read.groups == sheet.groups
    assert read.frozen == sheet.frozen
    assert read.prunable == sheet.prunable
    assert read.criteria() == ("magnitude", "bn_scale")
    for name, values in sheet.scores["bn_scale"].items():
        assert np.array_equal(values, read.scores["bn_scale"][name])
    removal = random_removal(found, 0)
    assert read.counts(removal) == sheet.counts(removal)


def test_counts_are_those_of_the_pruned_model(resnet) -> None:
    model, found, sheet = resnet
    assert (sheet.dense.parameters, sheet.dense.macs) == (count_parameters(model), count_macs(model))
    removal = random_removal(found, 1, ratio=0.6)
    pruned = remove(found, removal)
    counts = sheet.counts(removal)
    assert (counts.parameters, counts.macs) == (count_parameters(pruned), count_macs(pruned))
    group = sheet.group("layer2.0.conv1")
    one = remove(found, {group.name: [3]})
    assert group.unit_parameters == sheet.dense.parameters - count_parameters(one)
    assert group.unit_macs == sheet.dense.macs - count_macs(one)


@pytest.mark.parametrize("criterion", ["magnitude", "bn_scale", "random"])
def test_the_planned_removal_is_what_the_method_removes(resnet, criterion: str, tmp_path) -> None:
    model, _, sheet = resnet
    sheet.save(tmp_path / "groups.npz")
    plan = Plan(
        method="one_shot_structured",
        criterion=criterion,
        allocation="global",
        sparsity=0.4,
        overrides={"layer2.0.conv1": 0.5},
        protected=("conv1",),
        method_settings={"round_to": 4, "recalibrate": False, "per_cost": "macs"},
    )
    removal, note = planned_removal(GroupSheet.load(tmp_path / "groups.npz"), plan)
    result = prune(model, None, plan)
    assert note is None
    assert {name: units for name, units in removal.items() if units} == result.history["removal"]["groups"]
    assert sheet.counts(removal).macs == count_macs(result.model)


def test_a_criterion_that_needs_data_is_stood_in_for(resnet) -> None:
    _, _, sheet = resnet
    plan = Plan(method="one_shot_structured", criterion="taylor", allocation="global", sparsity=0.3)
    removal, note = planned_removal(sheet, plan)
    assert note is not None
    assert "stands in" in note
    assert removal == planned_removal(sheet, plan.changed(criterion="magnitude"))[0]


def test_couplings_name_operation_layers_and_line(resnet) -> None:
    _, _, sheet = resnet
    stem = sheet.group("conv1")
    assert {"conv1", "layer1.0.conv2", "layer1.2.conv2"} <= set(stem.creators)
    first = stem.couplings[0]
    assert first.reason == "addition"
    assert set(first.layers) == {"conv1", "layer1.0.conv2"}
    assert "cifar_resnet.py:" in first.text
    joined = {layer for coupling in stem.couplings for layer in coupling.layers}
    assert set(stem.creators) <= joined  # every creator is explained
    assert sheet.group("layer1.0.conv1").couplings == ()
    assert [frozen.name for frozen in sheet.frozen] == ["linear"]


def test_other_couplings() -> None:
    mobile = summarise(comb(traced(get_model("mobilenet_v2", weights=None), 32)))
    depthwise = mobile.group("features.0.0").couplings[0]
    assert (depthwise.reason, depthwise.layers) == ("depthwise", ("features.0.0", "features.1.conv.0.0"))
    squeeze = summarise(comb(traced(get_model("squeezenet1_1", weights=None), 64)))
    assert any(c.reason == "concatenation" for group in squeeze.groups for c in group.couplings)
    attention = summarise(comb(traced(EinsumAttention())))
    assert any(c.reason == "attention" for group in attention.groups for c in group.couplings)


def test_bad_input_says_what_is_wrong(resnet, tmp_path) -> None:
    _, _, sheet = resnet
    with pytest.raises(PlanError, match="no group “nothing”"):
        sheet.counts({"nothing": [0]})
    with pytest.raises(PlanError, match="units 0 to 15"):
        sheet.counts({"conv1": [16]})
    (tmp_path / "bad.npz").write_bytes(b"no sheet")
    with pytest.raises(ModelError, match="open the model again"):
        GroupSheet.load(tmp_path / "bad.npz")
    with pytest.raises(PlanError, match="cannot be ranked"):
        planned_removal(summarise(resnet[1]), Plan(method="one_shot_structured", sparsity=0.3))


def test_a_sheet_needs_no_torch() -> None:
    code = "import sys, core.comb.sheet, core.methods.one_shot_structured; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
