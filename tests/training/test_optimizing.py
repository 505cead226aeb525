"""The masked optimizer against torch's own, and what must not move."""

import pytest
import torch
from torch import nn

from core.errors import PlanError
from core.training.optimizing import MaskedOptimizer
from core.training.settings import StageSettings

SETTINGS = [
    StageSettings(optimizer="sgd", learning_rate=0.1, weight_decay=0.3),
    StageSettings(optimizer="adamw", learning_rate=0.1, weight_decay=0.3),
]


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Linear(5, 2))


def descend(module, stepping, steps, *, zero):
    draw = torch.Generator().manual_seed(1)
    for _ in range(steps):
        zero()
        module(torch.randn(8, 6, generator=draw)).square().mean().backward()
        stepping()


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda s: s.optimizer)
def test_without_masks_it_is_torchs_optimizer_bit_for_bit(settings):
    ours, theirs = network(), network()
    masked = MaskedOptimizer(ours, settings)
    groups = [
        {"params": [p for p in theirs.parameters() if p.ndim >= 2], "weight_decay": 0.3},
        {"params": [p for p in theirs.parameters() if p.ndim < 2], "weight_decay": 0.0},
    ]
    if settings.optimizer == "sgd":
        plain = torch.optim.SGD(groups, lr=0.1, momentum=0.9, nesterov=True)
    else:
        plain = torch.optim.AdamW(groups, lr=0.1)
    descend(ours, lambda: masked.step(0.1), 5, zero=masked.zero_grad)
    descend(theirs, plain.step, 5, zero=plain.zero_grad)
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda s: s.optimizer)
def test_hidden_weights_and_their_state_do_not_move_whatever_momentum_they_have(settings):
    module = network()
    optimizer = MaskedOptimizer(module, settings)
    descend(module, lambda: optimizer.step(0.1), 3, zero=optimizer.zero_grad)  # momentum builds up everywhere
    weight = module[0].weight
    mask = torch.rand(5, 6, generator=torch.Generator().manual_seed(2)) < 0.5
    optimizer.hold({weight: mask})
    before = {k: v.clone() for k, v in optimizer._tensors(weight).items()}
    assert len(before) == (2 if settings.optimizer == "sgd" else 3)
    descend(module, lambda: optimizer.step(0.1), 4, zero=optimizer.zero_grad)
    for key, tensor in optimizer._tensors(weight).items():
        assert torch.equal(tensor[~mask], before[key][~mask]), key
        assert not torch.any(tensor[mask] == before[key][mask]), key


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda s: s.optimizer)
def test_a_state_that_begins_while_weights_are_hidden_begins_at_zero_for_them(settings):
    module = network()
    optimizer = MaskedOptimizer(module, settings)
    mask = torch.eye(5, 6, dtype=torch.bool)
    optimizer.hold({module[0].weight: mask})
    descend(module, lambda: optimizer.step(0.1), 1, zero=optimizer.zero_grad)
    for key, tensor in optimizer._tensors(module[0].weight).items():
        assert key == "" or not torch.any(tensor[~mask])


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda s: s.optimizer)
def test_weight_decay_spares_hidden_weights_even_where_gradients_reach_them(settings):
    module = network()
    optimizer = MaskedOptimizer(module, settings)
    weight = module[0].weight
    mask = torch.eye(5, 6, dtype=torch.bool)
    optimizer.hold({weight: mask}, freeze=False)
    before = weight.detach().clone()
    for parameter in module.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step(0.1)
    assert torch.equal(weight[~mask], before[~mask])
    assert torch.all(weight[mask].abs() < before[mask].abs())


def test_biases_and_norms_do_not_decay():
    module = network()
    optimizer = MaskedOptimizer(module, SETTINGS[0])
    for parameter in module.parameters():
        parameter.grad = torch.zeros_like(parameter)
    before = [p.detach().clone() for p in module.parameters()]
    optimizer.step(0.1)
    assert [torch.equal(p, b) for p, b in zip(module.parameters(), before, strict=True)] == [
        False, True, True, True, False, True,
    ]  # fmt: skip


def test_a_frozen_model_is_refused():
    module = network().requires_grad_(False)
    with pytest.raises(PlanError, match="nothing to train"):
        MaskedOptimizer(module, SETTINGS[0])
