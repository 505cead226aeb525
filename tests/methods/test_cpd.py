"""CPD and its control: budgets, physical removal while training, resuming, transformers and segmentation."""

import json
from itertools import pairwise

import pytest
import torch

from core.analysis.cost import count_macs, count_parameters
from core.comb.record import load_weights, save_weights
from core.errors import Cancelled, PlanError
from core.methods import METHODS, prune
from core.methods.cpd import CPDSettings
from core.models.opening import open_model
from core.progress import Progress
from core.pruning.groups import GROUP_CRITERIA
from core.pruning.plan import Plan
from core.training.checkpoints import Checkpoints

from ..pruning.data import random_splits

pytestmark = pytest.mark.filterwarnings("ignore")

TRAINING = {"batch_size": 16, "precision": "fp32"}
QUICK = {
    "training": TRAINING,
    "interval": 2,
    "round_to": 1,
    "prune": {"epochs": 2, "learning_rate": 0.01, "schedule": "constant"},
    "tune": {"epochs": 1, "learning_rate": 0.01},
}


@pytest.fixture(scope="module")
def model():
    return open_model("digits_resnet")


@pytest.fixture(scope="module")
def splits(model):
    return random_splits(model)


def plan_of(sparsity=0.5, *, method="cpd", settings=None, **fields):
    base = QUICK if method == "cpd" else {key: QUICK[key] for key in ("training", "round_to", "tune")}
    return Plan(method=method, sparsity=sparsity, method_settings={**base, **(settings or {})}, **fields)


def saved(model, result, budget):
    count = count_macs if budget == "macs" else count_parameters
    return 1 - count(result.model) / count(model)


@pytest.mark.parametrize("budget", ["macs", "parameters"])
def test_the_budget_is_met_within_one_step(budget, model, splits) -> None:
    result = prune(model, splits, plan_of(settings={"budget": budget}))
    assert abs(saved(model, result, budget) - 0.5) < 0.02
    epochs = result.history["epochs"]
    shares = [row["sparsity"] for row in epochs]
    assert shares == sorted(shares)
    assert 0 < shares[0] < shares[1]
    assert shares[-1] == pytest.approx(saved(model, result, budget))
    assert epochs[-1][budget] == (count_macs if budget == "macs" else count_parameters)(result.model)
    assert json.loads(json.dumps(result.history)) == result.history


def test_channels_are_counted_over_all_groups(model, splits) -> None:
    result = prune(model, splits, plan_of(0.3, settings={"budget": "channels"}))
    groups = [row["groups"] for row in result.history["epochs"]]
    sizes = {name: len(units) + groups[-1][name] for name, units in result.history["removal"]["groups"].items()}
    whole = sum(sizes.get(name, left) for name, left in groups[-1].items())
    assert abs(1 - sum(groups[-1].values()) / whole - 0.3) < 2 / whole
    for before, after in pairwise(groups):
        assert all(after[name] <= before[name] for name in before)


def test_what_is_trained_is_the_small_network_and_it_reloads_from_the_dense_one(model, splits, tmp_path) -> None:
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    result = prune(model, splits, plan_of())
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert len(result.model.origin["removals"]) == 1
    save_weights(result.model, tmp_path / "small.safetensors")
    again = load_weights(model, tmp_path / "small.safetensors")
    x = torch.randn(3, *model.input_shape)
    with torch.no_grad():
        assert torch.equal(again.eval().predict(x), result.model.eval().predict(x))
    for row in result.layers:
        weight = result.model.graph_module.get_submodule(row["name"]).weight
        assert list(weight.shape) == row["kept_shape"]
    cuts = [cut for row in result.history["epochs"] for cut in row["cuts"]]
    assert {cut["group"] for cut in cuts} == set(result.history["removal"]["groups"])
    told = [cut["cost"] / cut["spared"] for cut in cuts if cut["spared"]]
    assert told
    assert sorted(told)[len(told) // 2] <= 1.0, "what went was, as a rule, cheaper than what stayed"


def test_limits_overrides_and_protection_are_honoured(model, splits) -> None:
    groups = prune(model, splits, plan_of(0.01)).history["epochs"][-1]["groups"]
    wide = [name for name, left in groups.items() if left >= 16]
    plan = plan_of(
        0.4, settings={"round_to": 8, "min_keep": 0.3}, overrides={f"group:{wide[0]}": 0.5}, protected=(wide[1],)
    )
    result = prune(model, splits, plan)
    left = result.history["epochs"][-1]["groups"]
    removed = {name: len(units) for name, units in result.history["removal"]["groups"].items()}
    assert wide[1] not in removed
    assert removed[wide[0]] == pytest.approx(0.5 * (left[wide[0]] + removed[wide[0]]), abs=8)
    for name, units in removed.items():
        assert left[name] % 8 == 0
        assert left[name] >= 0.3 * (left[name] + units) - 1e-9 or name == wide[0]


@pytest.mark.parametrize("criterion", list(GROUP_CRITERIA))
def test_every_criterion_is_on_the_same_switch(criterion, model, splits) -> None:
    settings = {"criterion": criterion, "prune": {**QUICK["prune"], "epochs": 1}, "distillation": {"form": "off"}}
    result = prune(model, splits, plan_of(0.2, settings=settings))
    assert abs(saved(model, result, "macs") - 0.2) < 0.03


class StopAfter(Progress):
    """Cancels once so many epochs are published."""

    def __init__(self, epochs):
        self.epochs, self.seen = epochs, 0

    def publish(self, partial):
        self.seen = len(partial["epochs"])

    def check(self):
        if self.seen >= self.epochs:
            raise Cancelled


@pytest.mark.parametrize("epochs", [1, 2])
def test_a_run_that_was_stopped_ends_bit_for_bit_the_same(epochs, model, splits, tmp_path) -> None:
    plan = plan_of()
    whole = prune(model, splits, plan)
    with pytest.raises(Cancelled):
        prune(model, splits, plan, checkpoints=Checkpoints(tmp_path), progress=StopAfter(epochs))
    assert Checkpoints(tmp_path).epoch == epochs
    resumed = prune(model, splits, plan, checkpoints=Checkpoints(tmp_path))
    assert resumed.history["removal"] == whole.history["removal"]
    left, right = whole.model.state_dict(), resumed.model.state_dict()
    assert all(torch.equal(left[name], right[name]) for name in left)


def test_heads_neurons_and_embedding_of_a_transformer_shrink() -> None:
    vit = open_model("digits_vit")
    settings = {**QUICK, "prune": {**QUICK["prune"], "epochs": 1}}
    result = prune(vit, random_splits(vit), plan_of(0.5, settings=settings))
    assert abs(saved(vit, result, "macs") - 0.5) < 0.05
    assert any(":head" in name for name in result.history["removal"]["groups"])


def test_segmentation_with_channel_wise_distillation() -> None:
    fcn = open_model("scenes_fcn")
    splits = random_splits(fcn, train=16, select=8, test=8)
    settings = {"training": {"batch_size": 8, "precision": "fp32"}, "interval": 1}
    settings |= {"prune": {**QUICK["prune"], "epochs": 1}}
    result = prune(fcn, splits, plan_of(0.5, settings=settings))
    assert abs(saved(fcn, result, "macs") - 0.5) < 0.05
    assert result.history["metric"] == "mIoU"
    assert all("kd" in row["parts"] for row in result.history["epochs"])


def test_the_control_removes_at_once_and_trains(model, splits) -> None:
    for criterion in ("magnitude", "random"):
        result = prune(
            model, splits, plan_of(method="one_shot_structured_fine_tune", criterion=criterion, allocation="global")
        )
        (row,) = result.history["epochs"]
        assert abs(saved(model, result, "macs") - 0.5) < 0.05
        assert row["sparsity"] == pytest.approx(saved(model, result, "macs"))
        assert result.history["restored_epoch"] == 1


def test_a_stage_shorter_than_the_interval_removes_once_at_its_end(model, splits) -> None:
    result = prune(model, splits, plan_of(settings={"interval": 500}))
    assert [bool(row["cuts"]) for row in result.history["epochs"]] == [False, True, False]
    assert abs(saved(model, result, "macs") - 0.5) < 0.02


def test_a_budget_between_two_steps_is_spoken_of(model, splits) -> None:
    exact = prune(model, splits, plan_of(0.5))
    coarse = prune(model, splits, plan_of(0.3, settings={"round_to": 24, "budget": "parameters"}))
    missed = abs(saved(model, coarse, "parameters") - 0.3) > 0.02
    assert not any("further past it" in note for note in exact.notes)
    assert any("further past it" in note for note in coarse.notes) == missed


def test_a_latency_budget(model, splits, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("ESPALIER_CACHE", str(tmp_path))
    result = prune(model, splits, plan_of(0.2, settings={"budget": "latency", "round_to": 8}))
    row = result.history["epochs"][-1]
    assert row["milliseconds"] > 0
    assert abs(row["sparsity"] - 0.2) < 0.12  # one step of 8 channels of the stem is worth so much
    assert result.history["unit"] == "ms"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"sparsity": 0.99}, "is the most"),
        ({"settings": {"criterion": "plan"}, "criterion": "wanda"}, "groups know"),
        ({"settings": {"round_to": 512}}, "no group can shrink"),
        ({"protected": ("nothing",)}, "no group or layer named"),
        ({"settings": {"training": {"batch_size": 4096}}}, "batch"),
    ],
)
def test_bad_input_is_refused_before_training(fields, message, model, splits) -> None:
    with pytest.raises(PlanError, match=message):
        prune(model, splits, plan_of(**{"sparsity": 0.5, **fields}))


def test_no_data_is_refused(model) -> None:
    with pytest.raises(PlanError, match="data"):
        prune(model, None, plan_of())


def test_course_and_presets() -> None:
    course = METHODS["cpd"].course(plan_of(0.6))
    assert course.stages == (("Pruning while training", 2), ("Fine-tuning", 1))
    assert course.sparsity == pytest.approx((0.3, 0.6, 0.6))
    assert CPDSettings.parse({"preset": "quick"}).tune.epochs == 3
