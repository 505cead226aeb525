"""Energies of the inputs that each weight multiplies, measured on calibration images.

Legend: N images, I input channels, G groups, K kernel positions per dimension, O output channels.
"""

from collections.abc import Sequence
from itertools import product
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..models.eval_mode import eval_mode
from .criteria.base import CalibrationContext

__all__ = ["conv_input_energy", "input_energy", "linear_input_energy"]


def linear_input_energy(x: Tensor) -> Tensor:
    """Σ x_j² over all leading dimensions of ``x`` [..., I] → float64 [1, I]."""
    return x.detach().reshape(-1, x.shape[-1]).double().square().sum(0, keepdim=True)


def conv_input_energy(x: Tensor, module: nn.Module) -> Tensor:
    """Σ over images and output positions of the squared input under each kernel position → float64 [G, I/G, *K].

    Squares and sums over the images first, then sums strided windows of that one image: no unfolded copy of the
    batch is made, whatever the kernel. Strides, dilation, groups and padding modes are the module's.
    """
    conv: Any = module
    dims = len(conv.kernel_size)
    squared = x.detach().double().square()
    if squared.dim() > dims + 1:
        squared = squared.sum(0)  # [I, *spatial]
    pads: list[tuple[int, int]] = []
    for axis in range(dims):
        if isinstance(conv.padding, str):
            total = conv.dilation[axis] * (conv.kernel_size[axis] - 1) if conv.padding == "same" else 0
            pads.append((total // 2, total - total // 2))
        else:
            pads.append((conv.padding[axis], conv.padding[axis]))
    mode = "constant" if conv.padding_mode == "zeros" else conv.padding_mode
    flat = [side for pair in reversed(pads) for side in pair]
    squared = F.pad(squared[None], flat, mode=mode)[0] if any(flat) else squared
    spans = [conv.dilation[a] * (conv.kernel_size[a] - 1) + 1 for a in range(dims)]
    steps = [(squared.shape[1 + a] - spans[a]) // conv.stride[a] for a in range(dims)]  # output positions − 1
    energy = squared.new_empty((squared.shape[0], *conv.kernel_size))
    for offset in product(*(range(k) for k in conv.kernel_size)):
        starts = [o * d for o, d in zip(offset, conv.dilation, strict=True)]
        window: list[Any] = [
            slice(start, start + step * stride + 1, stride)
            for start, step, stride in zip(starts, steps, conv.stride, strict=True)
        ]
        place: list[Any] = [slice(None), *offset]
        energy[tuple(place)] = squared[(slice(None), *window)].flatten(1).sum(1)
    return energy.reshape(conv.groups, squared.shape[0] // conv.groups, *conv.kernel_size)


def input_energy(model: Any, layer_names: Sequence[str], context: CalibrationContext) -> dict[str, Tensor]:
    """Run the calibration images through the model and add up each layer's input energy.

    Returns:
        Layer name → float64 [1, I] for linear layers, [G, I/G, *K] for convolutions (zeros where no image came by).
    """
    modules = model.prunable()
    energy: dict[str, Tensor] = {}
    handles = []
    for name in layer_names:
        module = modules[name]
        weight = module.weight
        groups = getattr(module, "groups", 1)
        energy[name] = torch.zeros((groups, *weight.shape[1:]), dtype=torch.float64, device=weight.device)

        def add(module: nn.Module, inputs: tuple[Tensor, ...], *, name: str = name) -> None:
            x = inputs[0]
            one = linear_input_energy(x) if isinstance(module, nn.Linear) else conv_input_energy(x, module)
            energy[name] += one

        # a weight that two modules share hears both of them
        owners = [m for m in modules.values() if m.weight is weight and getattr(m, "groups", 1) == groups]
        handles += [owner.register_forward_pre_hook(add) for owner in owners]
    try:
        with torch.inference_mode(), eval_mode(model.graph_module):
            for x in context.batches():
                model.predict(x.to(model.device))
    finally:
        for handle in handles:
            handle.remove()
    return energy
