"""BatchNorm recalibration: the definition, what stays untouched, and models without BatchNorm."""

import pytest
import torch
from torch import nn

from core.analysis.recalibration import recalibrate_batchnorm
from core.errors import PlanError

from ..pruning.data import random_splits
from ..pruning.networks import mixed, tied


def test_one_batch_gives_the_statistics_of_that_batch():
    model = mixed()
    splits = random_splits(model, train=30)
    assert recalibrate_batchnorm(model, splits, images=30, batch_size=30) == 2
    x = next(splits.train.batches(30))[0]
    inside = model.prunable()["stem"](x)
    norm = next(m for m in model.graph_module.modules() if isinstance(m, nn.BatchNorm2d))
    torch.testing.assert_close(norm.running_mean, inside.mean((0, 2, 3)), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(norm.running_var, inside.var((0, 2, 3)), atol=1e-5, rtol=1e-4)


def test_batches_count_equally_and_the_incomplete_one_is_left_out():
    model, once = mixed(), mixed()
    splits = random_splits(model, train=48)
    recalibrate_batchnorm(model, splits, images=47, batch_size=20)
    recalibrate_batchnorm(once, splits, images=40, batch_size=20)
    for (name, a), (_, b) in zip(model.state_dict().items(), once.state_dict().items(), strict=True):
        torch.testing.assert_close(a, b, msg=name)


def test_changes_running_statistics_only_and_repeats():
    model, again = mixed(), mixed()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    splits = random_splits(model)
    momenta = [m.momentum for m in model.graph_module.modules() if isinstance(m, nn.BatchNorm2d)]
    for one in (model, again):
        recalibrate_batchnorm(one, splits, images=40, batch_size=10, seed=3)
    changed = {k for k, v in model.state_dict().items() if not torch.equal(v, before[k])}
    assert changed
    assert all("running_" in k or "num_batches" in k for k in changed)
    assert not any(module.training for module in model.graph_module.modules())
    assert momenta == [m.momentum for m in model.graph_module.modules() if isinstance(m, nn.BatchNorm2d)]
    assert all(torch.equal(v, again.state_dict()[k]) for k, v in model.state_dict().items())


def test_a_model_without_batchnorm_is_left_alone():
    model = tied()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    assert recalibrate_batchnorm(model, random_splits(model)) == 0
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_needs_two_images():
    model = mixed()
    with pytest.raises(PlanError, match="at least two training images"):
        recalibrate_batchnorm(model, random_splits(model, train=1))
