"""Gates in the running network compute what a removal leaves."""

import numpy as np
import pytest
import torch
from torch import nn

from core.comb.combing import comb
from core.comb.gating import GatedNetwork, without_gates
from core.comb.surgery import remove
from core.comb.verify import without
from core.models.capture import relative_difference, trace
from core.models.opening import open_model

from ..pruning.networks import mixed


def closed(found, names, *, part=0.4, seed=0):
    """A removal of a part of every group."""
    draw = np.random.default_rng(seed)
    return {
        name: draw.permutation(found.group(name).units)[: int(part * found.group(name).units)].tolist()
        for name in names
    }


def gates_of(network, removal):
    values = torch.ones_like(network.values)
    for name, units in removal.items():
        values[[network.starts[name] + unit for unit in units]] = 0.0
    return values.requires_grad_()


class Norms(nn.Module):
    """RMSNorm without a scale, LayerNorm over two dimensions at once, and a GroupNorm."""

    def __init__(self):
        super().__init__()
        self.first, self.rms = nn.Linear(12, 10), nn.RMSNorm(10, elementwise_affine=False)
        self.second, self.third = nn.Linear(10, 8), nn.Linear(8, 4)
        self.conv, self.group = nn.Conv2d(1, 6, 1), nn.GroupNorm(2, 6)
        self.last = nn.Conv2d(6, 3, 1)

    def forward(self, x):
        x = self.rms(self.first(x.flatten(1)))
        x = self.third(torch.sigmoid(self.second(x)))
        return self.last(torch.sigmoid(self.group(self.conv(x[:, None, None])))).mean((2, 3))


MODELS = {
    "mixed": mixed,
    "norms": lambda: trace(Norms().eval(), (3, 2, 2)),
    "digits_vit": lambda: open_model("digits_vit"),
    "digits_resnet": lambda: open_model("digits_resnet"),
    "scenes_fcn": lambda: open_model("scenes_fcn"),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_closed_gate_is_a_removed_unit(name):
    torch.manual_seed(0)
    model = MODELS[name]().eval()
    found = comb(model)
    names = [group.name for group in found.groups if group.name not in without_gates(found)]
    removal = closed(found, names)
    x = torch.randn(2, *model.input_shape)
    with torch.no_grad():
        dense, small, expected = model.predict(x), remove(found, removal).eval()(x), without(found, removal, x)
    parameters, code = dict(model.graph_module.named_parameters()), model.graph_module.code
    tensors = list(model.graph_module.state_dict())

    network = GatedNetwork(found, names)
    assert list(model.graph_module.state_dict()) == tensors
    with torch.no_grad():
        assert relative_difference(model.predict(x), dense) <= 1e-6
    values = network.values = gates_of(network, removal)
    assert relative_difference(model(x), expected) <= 1e-5
    assert relative_difference(model(x), small) <= 1e-5
    model.predict(x).square().sum().backward()
    assert torch.isfinite(values.grad).all()

    network.remove()
    assert model.graph_module.code == code
    assert torch.equal(model.predict(x), dense)
    assert all(parameters[name] is parameter for name, parameter in model.graph_module.named_parameters())


def test_closed_gates_learn_and_closed_weights_do_not():
    torch.manual_seed(0)
    model = open_model("digits_vit").train()
    found = comb(model)
    names = [group.name for group in found.groups]
    network = GatedNetwork(found, names)
    neurons = "blocks.0.expand"
    removal = closed(found, names, part=0.5)
    values = network.values = gates_of(network, removal)
    model.predict(torch.randn(4, *model.input_shape)).square().sum().backward()
    assert all(values.grad[network.starts[name] + unit] != 0 for name, units in removal.items() for unit in units)
    layers = dict(model.graph_module.named_modules())
    assert not layers[neurons].weight.grad[removal[neurons]].any()
    assert not layers["blocks.0.contract"].weight.grad[:, removal[neurons]].any()
    assert layers[neurons].weight.grad.any()


def test_groups_whose_statistics_cannot_be_weighed_are_named():
    found = comb(MODELS["norms"]())
    blocked = without_gates(found)
    normed = {group.name for group in found.groups if group.normed}
    assert blocked
    assert set(blocked) < normed
    assert "first" in normed - set(blocked)
    assert all("GroupNorm" in reason for reason in blocked.values())
