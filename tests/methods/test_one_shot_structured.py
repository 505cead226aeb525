"""One-shot structured pruning: a plan becomes a smaller network that is proven, with rows that pages can show."""

import json

import pytest
import torch

from core.analysis.cost import count_macs, count_parameters
from core.comb.record import apply_records
from core.errors import PlanError
from core.methods import METHODS, prune
from core.models.cifar_resnet import CifarResNet
from core.models.traced import TracedModel
from core.pruning.plan import Plan

from ..comb.adversaries import EinsumAttention, ManyOutputs
from ..comb.checks import images, traced
from ..pruning.data import random_splits
from ..pruning.networks import only_norm

pytestmark = pytest.mark.filterwarnings("ignore")
NAME = "one_shot_structured"


@pytest.fixture(scope="module")
def model():
    return traced(CifarResNet(20), 16)


@pytest.fixture(scope="module")
def splits(model):
    return random_splits(model)


def _plan(sparsity: float = 0.5, **settings) -> Plan:
    plan = {key: settings.pop(key) for key in ("overrides", "protected", "criterion", "allocation") if key in settings}
    return Plan(method=NAME, sparsity=sparsity, method_settings=settings, **plan)


@pytest.mark.parametrize("budget", ["parameters", "macs"])
def test_the_budget_is_met_and_the_result_is_small_proven_and_reloads(budget, model, splits, tmp_path) -> None:
    before = {key: value.clone() for key, value in model.state_dict().items()}
    result = prune(model, splits, _plan(0.5, budget=budget, round_to=2, recalibrate=False))
    measure = {"parameters": count_parameters, "macs": count_macs}[budget]
    assert abs(1 - measure(result.model) / measure(model) - 0.5) < 0.03
    assert any("Verified" in note for note in result.notes)
    assert result.history["verification"]["exact"]
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    result.model.save(tmp_path)
    again = TracedModel.load(tmp_path)
    assert torch.equal(again.predict(images(model)), result.model.predict(images(model)))
    rebuilt = apply_records(model, again.origin["removals"])
    assert torch.equal(rebuilt.predict(images(model)), result.model.predict(images(model)))


def test_rows_say_what_went_where(model, splits) -> None:
    result = prune(model, splits, _plan(0.4))
    rows = {row["name"]: row for row in result.layers}
    assert set(rows) == set(model.prunable()) == set(result.masks)
    small = result.model.prunable()
    for name, row in rows.items():
        weight = small[name].weight
        assert row["kept_shape"] == list(weight.shape)
        assert row["size"] - row["removed"] == weight.numel()
        assert row["sparsity"] == row["removed"] / row["size"]
        assert row["channels"] - row["empty_channels"] == weight.shape[0]
    assert rows["conv1"]["groups"] == ["conv1"]
    assert rows["linear"]["groups"] == []
    json.dumps([result.layers, result.history], allow_nan=False)


def test_fixed_and_protected_layers(model, splits) -> None:
    plan = _plan(0.3, overrides={"layer3.0.conv1": 0.75}, protected=("layer2.0.conv2", "linear"), allocation="global")
    result = prune(model, splits, plan)
    kept = {row["name"]: row["kept_shape"][0] for row in result.layers}
    assert kept["layer3.0.conv1"] == 16
    assert kept["layer2.0.conv2"] == kept["layer2.1.conv2"] == 32  # one residual stream


def test_only_chosen_kinds_shrink() -> None:
    model = traced(EinsumAttention())
    result = prune(model, None, _plan(0.2, kinds=["heads"], criterion="random", allocation="uniform"))
    assert all("heads" in name for name in result.history["removal"]["groups"])


def test_recalibration_needs_data_and_says_so(model, splits) -> None:
    assert any("not recalibrated" in note for note in prune(model, None, _plan(0.3)).notes)
    done = prune(model, splits, _plan(0.3, recalibration_images=20))
    assert any("BatchNorm layers were recalibrated" in note for note in done.notes)


@pytest.mark.parametrize("criterion", ["fisher", "taylor", "bn_scale", "fpgm", "lamp"])
def test_the_settings_criterion_rules(criterion, model, splits) -> None:
    result = prune(
        model, splits, _plan(0.3, criterion="wanda", recalibrate=False, calibration_images=8).changed(
            method_settings={"criterion": criterion, "allocation": "isomorphic", "calibration_images": 8}
        )
    )  # fmt: skip
    assert result.history["criterion"] == criterion
    assert result.history["allocation"] == "isomorphic"


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (_plan(criterion="wanda"), "ranks single weights"),
        (_plan(allocation="erk"), "shares single weights"),
        (_plan(overrides={"gone": 0.5}), "no group or layer named"),
        (_plan(overrides={"linear": 0.5}), "output of the network"),
        (_plan(0.99), "is the most"),
        (_plan(round_to=256), "no group can shrink"),
        (_plan(0.5).changed(method_settings={"criterion": "fisher"}), "choose a data set first"),
    ],
)
def test_impossible_plans_say_what_to_do(plan, message, model) -> None:
    with pytest.raises(PlanError, match=message):
        prune(model, None, plan)


def test_a_model_without_groups_says_so() -> None:
    with pytest.raises(PlanError, match="nothing to prune in this model"):
        prune(only_norm(), None, _plan())


def test_several_outputs_are_all_verified() -> None:
    model = traced(ManyOutputs(), 16, task="segmentation")
    result = prune(model, None, _plan(0.2))
    assert set(result.model(images(model))) == {"out", "aux", "features"}


def test_pages_find_what_they_need() -> None:
    method = METHODS[NAME]
    assert method.removes == "units"
    fields = method.Settings.model_fields
    assert all(field.title for field in fields.values())
