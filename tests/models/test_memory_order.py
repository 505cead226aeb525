"""Channels last where there are channels; constants of other ranks stay as they are."""

import torch
from torch import nn

from core.models.memory_order import to_channels_last


def test_only_tensors_of_four_dimensions_change_their_order() -> None:
    module = nn.Sequential(nn.Conv2d(4, 8, 3), nn.Flatten(), nn.Linear(8, 2))
    module.register_buffer("windows", torch.randn(1, 2, 3, 4, 5))
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    to_channels_last(module)
    assert module[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert module.windows.is_contiguous()
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())
    assert next(iter(module.parameters())) is module[0].weight  # optimizers keep what they hold
