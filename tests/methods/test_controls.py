"""The controls: what each of them must and must not do."""

import pytest
import torch

from core.errors import PlanError
from core.methods import METHODS, prune
from core.pruning.plan import Plan

from ..pruning.data import random_splits
from ..pruning.networks import mixed

QUICK = {"training": {"batch_size": 16, "precision": "fp32"}, "tune": {"epochs": 2, "learning_rate": 0.02}}
CONTROLS = ["one_shot_fine_tune", "random_fine_tune", "gradual", "dense_trained"]


@pytest.fixture(scope="module")
def model():
    return mixed()


@pytest.fixture(scope="module")
def splits(model):
    return random_splits(model)


def plan_of(method, *, sparsity=0.8, settings=None, **fields):
    body = {**QUICK, **({"prune": {"epochs": 2}} if method == "gradual" else {}), **(settings or {})}
    return Plan(method=method, sparsity=sparsity, method_settings=body, **fields)


def test_one_shot_fine_tune_trains_what_one_shot_leaves(model, splits):
    masks = prune(model, None, Plan(sparsity=0.8)).masks
    result = prune(model, splits, plan_of("one_shot_fine_tune"))
    assert all(torch.equal(mask, result.masks[name]) for name, mask in masks.items())
    for name, mask in masks.items():
        weight = result.model.prunable()[name].weight
        assert not torch.any(weight[~mask])
    assert result.history["epochs"][0]["sparsity"] == pytest.approx(0.8, abs=1e-3)


def test_random_takes_weights_by_lot_with_the_seed(model, splits):
    once, again, other = (prune(model, splits, plan_of("random_fine_tune", seed=seed)) for seed in (0, 0, 1))
    assert all(torch.equal(mask, again.masks[name]) for name, mask in once.masks.items())
    assert not all(torch.equal(mask, other.masks[name]) for name, mask in once.masks.items())
    magnitude = prune(model, None, Plan(sparsity=0.8)).masks
    assert not all(torch.equal(mask, magnitude[name]) for name, mask in once.masks.items())
    assert once.removed == round(0.8 * once.size)


def test_gradual_follows_the_cubic_schedule_and_nothing_returns(model, splits):
    plan = plan_of("gradual", settings={"prune": {"epochs": 4}})
    result = prune(model, splits, plan)
    rows = result.history["epochs"][:4]
    assert [row["sparsity"] for row in rows] == pytest.approx(METHODS["gradual"].course(plan).sparsity[:4], abs=1e-3)
    assert all(row["revived"] == 0 for row in rows)
    assert result.history["restored_epoch"] >= 4


def test_dense_removes_nothing_and_trains(model, splits):
    result = prune(model, splits, plan_of("dense_trained", settings={"tune": {"epochs": 2, "learning_rate": 0.2}}))
    assert result.removed == 0
    assert [row["sparsity"] for row in result.history["epochs"]] == [0.0, 0.0]
    assert result.history["target"] == 0.0


@pytest.mark.parametrize("name", CONTROLS)
class TestEveryControl:
    def test_can_be_distilled(self, name, model, splits):
        result = prune(model, splits, plan_of(name, settings={"distillation": {"form": "canonical"}}))
        assert set(result.history["epochs"][0]["parts"]) == {"ce", "kd"}
        plain = prune(model, splits, plan_of(name))
        assert set(plain.history["epochs"][0]["parts"]) == {"ce"}

    def test_repeats_bit_for_bit(self, name, model, splits):
        once, again = (prune(model, splits, plan_of(name)) for _ in range(2))
        assert once.model.fingerprint() == again.model.fingerprint()

    def test_needs_data(self, name, model):
        with pytest.raises(PlanError, match="choose a data set first"):
            prune(model, None, plan_of(name))
