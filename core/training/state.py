"""A module's tensors under their plain names, whether or not a parametrization hides some of them right now."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

__all__ = ["load_plain_state", "plain_parameters", "plain_state"]

_INSIDE = ".parametrizations."
_ORIGINAL = ".original"


def _plain_name(name: str) -> str | None:
    """``conv.parametrizations.weight.original`` → ``conv.weight``; None for the parametrization's own tensors."""
    if name.startswith(_INSIDE[1:]):
        name = f".{name}"
    if _INSIDE not in name:
        return name
    return name.replace(_INSIDE, ".").removesuffix(_ORIGINAL).lstrip(".") if name.endswith(_ORIGINAL) else None


def _plain(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    for name, tensor in module.state_dict().items():
        plain = _plain_name(name)
        if plain is not None:
            yield plain, tensor


def plain_state(module: nn.Module) -> dict[str, Tensor]:
    """A copy of all parameters and persistent buffers; of a masked weight the stored θ, not θ·M."""
    return {name: tensor.detach().clone() for name, tensor in _plain(module)}


def load_plain_state(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Copy what ``plain_state`` gave back into the module, in place: optimizers and parametrizations stay valid."""
    with torch.no_grad():
        for name, tensor in _plain(module):
            tensor.copy_(state[name])


def plain_parameters(module: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters to train, shared ones once, under their plain names."""
    named = ((_plain_name(name), parameter) for name, parameter in module.named_parameters())
    return {name: parameter for name, parameter in named if name is not None and parameter.requires_grad}
