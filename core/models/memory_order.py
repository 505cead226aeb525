"""The memory order in which convolutions are usually faster."""

from itertools import chain

import torch
from torch import nn

__all__ = ["to_channels_last"]


def to_channels_last(module: nn.Module) -> None:
    """Store every tensor of four dimensions channels last, in place. ``Module.to`` refuses networks with others.

    Window attention, for one, holds constants of five dimensions.
    """
    for tensor in chain(module.parameters(), module.buffers()):
        if tensor.ndim == 4:
            tensor.data = tensor.data.contiguous(memory_format=torch.channels_last)
