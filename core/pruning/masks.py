"""Masks: which weights stay. True keeps, False removes; a mask has the shape, and the name, of its weight.

Counts are exact: the k-th smallest score is found and ties at it fall in the order of their flat index.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ..errors import PlanError
from .criteria.base import Scope
from .patterns import INPUT_DIM, Pattern, pattern_problem

__all__ = [
    "apply_masks",
    "extract_masks",
    "keep_largest",
    "keep_largest_per_row",
    "keep_pattern",
    "mask_statistics",
    "masks_for",
    "parametrise",
    "remove_parametrisation",
    "stored_weights",
]


def keep_largest(scores: Tensor, remove: int) -> Tensor:
    """Mask that removes exactly the ``remove`` smallest scores; among equal scores the lower flat index goes first.

    Args:
        scores: any shape, no NaN.
        remove: between 0 and the number of scores.

    Returns:
        Bool tensor of the same shape.
    """
    flat = scores.detach().reshape(-1)
    if not 0 <= remove <= flat.numel():
        raise PlanError(f"Between 0 and {flat.numel()} weights can be removed here, but {remove} were asked for.")
    if remove == 0:
        return torch.ones_like(scores, dtype=torch.bool)
    kth = torch.kthvalue(flat, remove).values
    keep = flat > kth
    ties = torch.nonzero(flat == kth).reshape(-1)
    surviving_ties = flat.numel() - remove - int(keep.sum())
    keep[ties[len(ties) - surviving_ties :]] = True
    return keep.reshape(scores.shape)


def keep_largest_per_row(scores: Tensor, remove: int) -> Tensor:
    """As ``keep_largest``, but each output row (first dimension) loses its own smallest scores.

    The rows' counts differ by at most one, spread evenly (row r loses ⌊(r+1)k/R⌋ − ⌊rk/R⌋), and sum to ``remove``.
    """
    rows = scores.shape[0]
    table = scores.detach().reshape(rows, -1)
    if not 0 <= remove <= table.numel():
        raise PlanError(f"Between 0 and {table.numel()} weights can be removed here, but {remove} were asked for.")
    edges = torch.arange(rows + 1, device=scores.device) * remove // rows
    ranks = torch.argsort(torch.argsort(table, dim=1, stable=True), dim=1)
    return (ranks >= edges.diff()[:, None]).reshape(scores.shape)


def keep_pattern(scores: Tensor, pattern: Pattern, *, remove: int | None = None) -> Tensor:
    """Mask that keeps the ``pattern.keep`` largest scores of every ``pattern.of`` neighbours along the input dimension.

    Among equal scores of a block the lower index goes first. ``remove`` below the pattern's own number removes only the
    smallest scores of those that the pattern takes, so that masks on the way to a pattern lie inside it.

    Raises:
        PlanError: when the input dimension is no multiple of the block.
    """
    problem = pattern_problem(pattern, scores.shape)
    if problem is not None:
        raise PlanError(f"A weight of shape {tuple(scores.shape)} cannot be pruned {pattern}: {problem}.")
    inner = scores.detach().movedim(INPUT_DIM, -1)
    blocks = inner.reshape(*inner.shape[:-1], -1, pattern.of)
    ranks = torch.argsort(torch.argsort(blocks, dim=-1, stable=True), dim=-1)
    mask = (ranks >= pattern.of - pattern.keep).reshape(inner.shape).movedim(-1, INPUT_DIM).contiguous()
    if remove is None or remove >= pattern.removed(scores.numel()):
        return mask
    return keep_largest(scores.detach().masked_fill(mask, torch.inf), remove)


def masks_for(scores: Mapping[str, Tensor], counts: Mapping[str, int], *, scope: Scope = "layer") -> dict[str, Tensor]:
    """One mask per scored layer that removes exactly ``counts[name]`` weights, compared within ``scope``."""
    choose = keep_largest_per_row if scope == "row" else keep_largest
    return {name: choose(score, counts[name]) for name, score in scores.items()}


def apply_masks(model: Any, masks: Mapping[str, Tensor]) -> None:
    """Write zeros where the masks are False, for good. A mask without False leaves its weight bit for bit alone."""
    modules = model.prunable()
    with torch.no_grad():
        for name, mask in masks.items():
            modules[name].weight.masked_fill_(~mask.to(modules[name].weight.device), 0.0)


class _StraightThrough(torch.autograd.Function):
    """θ·M forward; backward the gradient passes as if there were no mask (Lin et al., DPF, ICLR 2020)."""

    @staticmethod
    def forward(context: Any, weight: Tensor, mask: Tensor) -> Tensor:
        return weight * mask

    @staticmethod
    def backward(context: Any, *gradients: Any) -> Any:
        return gradients[0], None


class _Masked(nn.Module):
    """Parametrization θ·M. The mask is a buffer, so that it moves with the model."""

    mask: Tensor

    def __init__(self, mask: Tensor, *, straight_through: bool = False) -> None:
        super().__init__()
        self.register_buffer("mask", mask)
        self.straight_through = straight_through

    def forward(self, weight: Tensor) -> Tensor:
        if self.straight_through:
            return _StraightThrough.apply(weight, self.mask)
        return weight * self.mask


def parametrise(model: Any, masks: Mapping[str, Tensor], *, straight_through: bool = False) -> None:
    """Let the model compute with θ·M while θ stays stored and trainable (METHODS §A3). Gradients of hidden weights
    are 0, or with ``straight_through`` those of θ·M. Modules that share a weight all see the mask.
    ``remove_parametrisation`` ends it.
    """
    modules = model.prunable()
    for name, mask in masks.items():
        weight = modules[name].weight
        for module in [m for m in modules.values() if m.weight is weight]:
            # in the weight's own memory order, which may be channels_last
            aligned = torch.empty_like(weight, dtype=torch.bool, requires_grad=False).copy_(mask)
            masked = _Masked(aligned, straight_through=straight_through)
            parametrize.register_parametrization(module, "weight", masked)


def remove_parametrisation(model: Any, *, apply: bool = True) -> None:
    """End ``parametrise``: with ``apply`` the hidden weights become zeros for good, else they come back."""
    for module in model.graph_module.modules():
        if not parametrize.is_parametrized(module, "weight"):
            continue
        masked = module.weight.detach() if apply else None
        parametrize.remove_parametrizations(module, "weight", leave_parametrized=False)
        if masked is not None:
            with torch.no_grad():
                module.weight.copy_(masked)


def stored_weights(model: Any, masks: Mapping[str, Tensor]) -> dict[nn.Parameter, Tensor]:
    """The masks by the parameter that they act on: θ itself, also while the model computes with θ·M."""
    modules = model.prunable()
    return {
        module.parametrizations.weight.original
        if parametrize.is_parametrized(module, "weight")
        else module.weight: mask
        for module, mask in ((modules[name], mask) for name, mask in masks.items())
    }


def extract_masks(model: Any) -> dict[str, Tensor]:
    """Masks that describe the zeros which the model's prunable weights already hold."""
    return {name: module.weight.detach() != 0 for name, module in model.prunable().items()}


def mask_statistics(dense: Any, masks: Mapping[str, Tensor]) -> list[dict[str, Any]]:
    """What went where, one JSON row per masked layer.

    Args:
        dense: the model before pruning.
        masks: layer name → mask.

    Returns:
        ``name``, ``kind``, ``size``, ``removed``, ``nonzero`` (weights that stay and are not 0), ``sparsity``,
        ``channels`` and ``empty_channels`` (output channels, and those without any weight left), ``energy_removed``
        (share of Σw² that went).
    """
    modules, rows = dense.prunable(), []
    for name, mask in masks.items():
        module = modules[name]
        weight = module.weight.detach()
        energy = weight.double().square()
        total, size = float(energy.sum()), weight.numel()
        removed = size - int(mask.sum())
        rows.append(
            {
                "name": name,
                "kind": type(module).__name__,
                "size": size,
                "removed": removed,
                "nonzero": int(((weight != 0) & mask).sum()),
                "sparsity": removed / size if size else 0.0,
                "channels": weight.shape[0],
                "empty_channels": int((~mask.flatten(1).any(1)).sum()),
                "energy_removed": float(energy[~mask].sum()) / total if total > 0 else 0.0,
            }
        )
    return rows
