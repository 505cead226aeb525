"""Contract of ``prune`` and of every registered method."""

import json
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from core.analysis.sensitivity import SensitivitySettings, measure_sensitivity
from core.errors import Cancelled, PlanError
from core.methods import METHODS, prune
from core.progress import Progress
from core.pruning.allocation import ALLOCATIONS
from core.pruning.criteria import CRITERIA
from core.pruning.plan import Plan
from core.settings import Settings
from core.training.settings import StageSettings

from ..pruning.data import random_splits
from ..pruning.networks import mixed, only_norm, tied


def _weights(model):
    return {name: module.weight.detach().clone() for name, module in model.prunable().items()}


@pytest.fixture(scope="module")
def model():
    return mixed()


@pytest.fixture(scope="module")
def splits(model):
    return random_splits(model)


@pytest.fixture(scope="module")
def sensitivity(model, splits):
    return measure_sensitivity(model, splits, SensitivitySettings(levels=(0.3, 0.6, 0.9), images=20, batch_size=20))


def quick(name):
    """Settings with which a method that trains takes seconds on 48 images; none for the others."""
    method = METHODS[name]
    if not method.trains:
        return {}
    fields = method.Settings.model_fields
    stages = {key: {"epochs": 1} for key, field in fields.items() if field.annotation is StageSettings}
    return {"training": {"batch_size": 24, "precision": "fp32"}, **stages}


BY_WEIGHTS = [name for name in METHODS if METHODS[name].removes == "weights"]


@pytest.mark.parametrize("name", list(METHODS))
class TestEveryMethod:
    def test_describes_itself(self, name):
        method = METHODS[name]
        assert METHODS.summary(name).endswith(".")
        assert method.title
        assert method.provenance
        assert issubclass(method.Settings, Settings)
        assert method.Settings.parse(json.loads(json.dumps(method.Settings().to_json()))) == method.Settings()

    def test_removes_exactly_what_the_plan_says_and_leaves_the_dense_model(self, name, model, splits):
        if name not in BY_WEIGHTS:
            pytest.skip("removes units or nothing: see its own tests")
        before = {k: v.clone() for k, v in model.state_dict().items()}
        result = prune(model, splits, Plan(method=name, sparsity=0.7, method_settings=quick(name)))
        assert result.removed == round(0.7 * result.size)
        assert {row["name"] for row in result.layers} == set(model.prunable()) == set(result.masks)
        for row in result.layers:
            weight, mask = result.model.prunable()[row["name"]].weight, result.masks[row["name"]]
            assert row["removed"] == int((~mask).sum())
            assert torch.all(weight[~mask] == 0)
            assert row["sparsity"] == row["removed"] / row["size"]
        json.dumps(result.layers, allow_nan=False)
        assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())

    def test_a_course_exists_exactly_where_a_method_trains(self, name):
        course = METHODS[name].course(Plan(method=name, sparsity=0.7))
        assert (course is not None) == METHODS[name].trains
        if course is not None:
            assert len(course.sparsity) == course.epochs == sum(epochs for _, epochs in course.stages)
            assert course.sparsity[-1] == (0.0 if METHODS[name].removes == "nothing" else 0.7)

    @pytest.mark.row("B32")
    def test_sparsity_zero_is_bit_identical_and_says_so(self, name, model, splits):
        if METHODS[name].trains:
            pytest.skip("trains")
        result = prune(model, splits, Plan(method=name, sparsity=0.0, method_settings={}))
        dense = model.state_dict()
        assert all(torch.equal(v, dense[k]) for k, v in result.model.state_dict().items())
        assert any("bit for bit" in note for note in result.notes)

    def test_refuses_unknown_settings(self, name, model, splits):
        with pytest.raises(PlanError, match="nonsense"):
            prune(model, splits, Plan(method=name, method_settings={"nonsense": 1}))

    def test_can_be_cancelled(self, name, model, splits):
        class Stop(Progress):
            def check(self):
                raise Cancelled

        with pytest.raises(Cancelled):
            prune(model, splits, Plan(method=name, method_settings=quick(name)), progress=Stop())


@pytest.mark.parametrize("criterion", list(CRITERIA))
@pytest.mark.parametrize("allocation", list(ALLOCATIONS))
def test_every_criterion_with_every_allocation(criterion, allocation, model, splits, sensitivity):
    plan = Plan(criterion=criterion, allocation=allocation, sparsity=0.6, overrides={"head": 0.25}, protected=("stem",))
    result = prune(model, splits, plan, sensitivity=sensitivity)
    rows = {row["name"]: row for row in result.layers}
    free = [row for name, row in rows.items() if name not in ("head", "stem")]
    assert rows["head"]["removed"] == round(0.25 * rows["head"]["size"])
    assert rows["stem"]["removed"] == 0
    assert torch.equal(result.model.prunable()["stem"].weight, model.prunable()["stem"].weight)
    assert sum(row["removed"] for row in free) == round(0.6 * sum(row["size"] for row in free))
    assert all(row["removed"] < row["size"] for row in free)
    again = prune(model, splits, plan, sensitivity=sensitivity)
    assert all(torch.equal(mask, again.masks[name]) for name, mask in result.masks.items())
    assert torch.isfinite(result.model.predict(torch.randn(2, *model.input_shape))).all()


def test_uniform_wanda_prunes_every_row_alike(model, splits):
    result = prune(model, splits, Plan(criterion="wanda", allocation="uniform", sparsity=0.5))
    for name, mask in result.masks.items():
        removed = (~mask).flatten(1).sum(1)
        assert int(removed.max() - removed.min()) <= 1, name


@settings(max_examples=25, deadline=None)
@given(sparsity=st.floats(0.0, 0.98), allocation=st.sampled_from(["uniform", "global", "erk", "lamp"]))
def test_counts_are_exact_at_any_sparsity(sparsity, allocation, model):
    result = prune(model, None, Plan(sparsity=sparsity, allocation=allocation))
    zeros = sum(int((module.weight == 0).sum()) for module in result.model.prunable().values())
    assert zeros == result.removed == round(sparsity * result.size)


def test_global_magnitude_keeps_the_largest_weights(model):
    result = prune(model, None, Plan(allocation="global", sparsity=0.5))
    weights = _weights(model)
    kept = min(float(weights[n][m].abs().min()) for n, m in result.masks.items())
    gone = max(float(weights[n][~m].abs().max()) for n, m in result.masks.items() if not m.all())
    assert gone <= kept


@pytest.mark.row("B24")
def test_shared_weights_are_pruned_once_and_stay_shared():
    model = tied()
    result = prune(model, None, Plan(allocation="uniform", sparsity=0.5))
    names = [row["name"] for row in result.layers]
    assert names == ["embed", "twice", "head"]
    assert result.size == 144 + 144 + 48
    modules = result.model.prunable()
    assert modules["embed"].weight is modules["again"].weight
    assert int((modules["again"].weight == 0).sum()) == 72
    assert any("“again” with “embed”" in note for note in result.notes)


@pytest.mark.row("B24")
def test_a_shared_weight_obeys_the_plan_under_either_name():
    by_alias = prune(tied(), None, Plan(sparsity=0.0, overrides={"again": 0.5}))
    assert {row["name"]: row["removed"] for row in by_alias.layers}["embed"] == 72
    protected = prune(tied(), None, Plan(sparsity=0.5, allocation="uniform", protected=("again",)))
    assert {row["name"]: row["removed"] for row in protected.layers}["embed"] == 0
    with pytest.raises(PlanError, match="share one weight"):
        prune(tied(), None, Plan(overrides={"again": 0.5, "embed": 0.6}))


@pytest.mark.row("B15", "B35")
def test_all_zero_and_constant_layers_work_and_fall_in_the_order_of_their_index():
    model = mixed()
    with torch.no_grad():
        model.prunable()["grouped"].weight.zero_()
        model.prunable()["pointwise"].weight.fill_(0.2)
    for allocation in ("uniform", "global", "erk", "lamp"):
        result = prune(model, None, Plan(allocation=allocation, sparsity=0.5))
        assert result.removed == round(0.5 * result.size)
        for name in ("grouped", "pointwise"):
            flat = result.masks[name].flatten()
            assert torch.equal(flat, flat.sort().values), (allocation, name)


@pytest.mark.row("B25")
def test_frozen_weights_are_pruned_and_stay_frozen():
    model = mixed()
    for parameter in model.graph_module.parameters():
        parameter.requires_grad_(False)
    result = prune(model, random_splits(model), Plan(sparsity=0.5, criterion="wanda"))
    assert result.removed == round(0.5 * result.size)
    assert not any(parameter.requires_grad for parameter in result.model.graph_module.parameters())


def test_recalibration_is_an_option(model, splits):
    plain = prune(model, splits, Plan(sparsity=0.8, method_settings={"recalibrate": False}))
    again = prune(model, splits, Plan(sparsity=0.8, method_settings={"recalibrate": True, "recalibration_images": 40}))
    assert all(torch.equal(mask, again.masks[name]) for name, mask in plain.masks.items())
    changed = [k for k, v in plain.model.state_dict().items() if not torch.equal(v, again.model.state_dict()[k])]
    assert changed
    assert all("running" in name or "num_batches" in name for name in changed)
    assert any("2 BatchNorm layers" in note for note in again.notes)
    assert any("no data were given" in note for note in prune(model, None, Plan(sparsity=0.8)).notes)


@pytest.mark.row("B34")
@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (Plan(method="nope"), "Unknown method"),
        (Plan(criterion="nope"), "Unknown criterion"),
        (Plan(allocation="nope"), "Unknown allocation"),
        (Plan(protected=("gone",)), "“gone”"),
        (Plan(overrides={"gone": 0.5}), "“gone”"),
        (Plan(allocation="sensitivity"), "easure sensitivity first"),
        (Plan(sparsity=0.9999), "most that is possible is"),
        (Plan(criterion="wanda"), "choose a data set first"),
        (Plan(protected=tuple(mixed().prunable())), "free a layer"),
        (Plan(overrides={"head": 0.999}), "most that is possible is 0.98"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_impossible_plans_say_what_to_do(plan, message, model):
    with pytest.raises(PlanError, match=message):
        prune(model, None, plan)


@pytest.mark.row("B23")
def test_a_model_without_prunable_layers_says_so():
    with pytest.raises(PlanError, match="nothing to prune in this model"):
        prune(only_norm(), None, Plan())


@pytest.mark.row("B14")
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite_are_refused_by_layer_unless_protected(value):
    model = mixed()
    with torch.no_grad():
        model.prunable()["head"].weight[0, 0] = value
    with pytest.raises(PlanError, match="“head”"):
        prune(model, None, Plan())
    assert prune(model, None, Plan(sparsity=0.5, protected=("head",))).removed > 0


@pytest.mark.row("B33")
@pytest.mark.parametrize("sparsity", [1.0, 1.5, -0.1, float("nan"), "0,5", "", None])
def test_sparsity_out_of_range_is_refused_at_the_field(sparsity):
    with pytest.raises(PlanError, match="“sparsity”"):
        Plan.parse({"sparsity": sparsity})


def test_listing_methods_criteria_allocations_and_schedules_needs_no_torch():
    lines = (
        "import sys; import core.methods, core.pruning.criteria, core.pruning.allocation, core.pruning.schedules, "
        "core.pruning.estimate, core.analysis.sensitivity; assert core.methods.METHODS['one_shot'].Settings(); "
        "sys.exit('torch' in sys.modules or 'scipy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", lines], check=False).returncode == 0
