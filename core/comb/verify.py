"""Proof of a removal: the smaller network computes what the dense one computes without the removed contributions.

Zeroing every parameter at the removed indices takes exactly the removed units out of the dense network, unless a norm
takes its statistics over them (layer norm over the embedding): for those only shapes and finiteness are checked.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..models.traced import TracedModel, main_output
from .axes import is_free
from .groups import Comb
from .surgery import Removal, Survivors

__all__ = ["Verification", "verify"]


@dataclass(frozen=True)
class Verification:
    """What was checked. ``max_relative_difference`` is None where a norm makes the comparison meaningless."""

    exact: bool | None
    max_relative_difference: float | None
    finite: bool
    same_shape: bool

    @property
    def passed(self) -> bool:
        """No check failed."""
        return self.finite and self.same_shape and self.exact is not False


@torch.no_grad()
def verify(found: Comb, removal: Removal, pruned: TracedModel, x: Tensor, *, tolerance: float = 1e-5) -> Verification:
    """Compare the pruned model with the dense one whose removed units are zeroed, on images ``x`` [N, C, H, W]."""
    dense = _without(found, removal)
    expected = main_output(dense.eval()(x))
    training = pruned.training
    got = main_output(pruned.eval()(x))
    pruned.train(training)
    finite = bool(torch.isfinite(got).all())
    same_shape = got.shape == expected.shape
    if any(group.normed for group in found.groups if removal.get(group.name)):
        return Verification(None, None, finite, same_shape)
    if not same_shape:
        return Verification(False, None, finite, same_shape)
    difference = float((got - expected).abs().max() / expected.abs().max().clamp_min(1e-12))
    return Verification(difference <= tolerance, difference, finite, same_shape)


def _without(found: Comb, removal: Removal) -> TracedModel:
    survivors = Survivors(found, removal)
    dense = found.model.clone()
    module = dense.graph_module
    tensors = dict([*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False)])
    for name, axes in found.reader.tensors.items():
        for dim, axis in enumerate(axes):
            if axis is None or not is_free(axis):
                continue
            gone = np.flatnonzero(~survivors.keep(axis))
            if len(gone) and tensors[name].is_floating_point() and not name.endswith("running_var"):
                tensors[name].index_fill_(dim, torch.from_numpy(gone), 0.0)
    return dense
