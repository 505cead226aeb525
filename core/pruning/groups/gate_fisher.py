"""Fisher information of one gate per unit, image by image: what removing a unit does to the loss, to second order.

A gate multiplies everything that reads a unit: all inputs of convolutions and linear layers, on every branch. Its
gradient on one image is Σ x·∂L/∂x over these inputs; the score is the sum of its squares over images, the diagonal of
the empirical Fisher information (as in Theis et al. 2018, arXiv 1801.05787, for one layer). CPD squares the gradient of
a whole batch, in which images cancel, for every parameter by itself, and divides by the layer's activations (criterion
``fisher``). Ours [D] scores what a person removes, and leaves the cost to "per saved …".
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import PlanError
from ..criteria.base import CalibrationContext
from .base import GROUP_CRITERIA, GroupCriterion, Scores, Watch
from .gradients import loss_batches

if TYPE_CHECKING:
    from torch import Tensor

    from ...comb.groups import Comb

__all__ = ["GateFisher"]


@GROUP_CRITERIA.register("gate_fisher")
class GateFisher(GroupCriterion):
    """Fisher of gates: squared gradient of one gate per unit and image, over everything that reads the unit."""

    title = "Fisher of gates"
    reduction = "one gate per unit over all layers that read it; squares are summed over images"
    needs_data = True
    comparable = True
    accumulates = True

    @classmethod
    def score(cls, found: "Comb", context: CalibrationContext) -> Scores:
        """Sum over the calibration images of the squared gradient of each unit's gate."""
        scores: Scores = {group.name: np.zeros(group.units) for group in found.groups}
        with _watching(found) as watch:
            for loss in loss_batches(found, context):
                loss.backward()
                for name, values in watch.take().items():
                    scores[name] += values
        return scores

    @classmethod
    def watch(cls, found: "Comb") -> "Watch":
        """Collects while the combed model itself trains."""
        return _Gates(found)


@contextmanager
def _watching(found: "Comb") -> "Iterator[Watch]":
    """Gradients of inputs need a graph, not gradients of weights: these stay as they were."""
    parameters = list(found.model.graph_module.parameters())
    kept = [(parameter, parameter.grad) for parameter in parameters]
    watch = _Gates(found)
    try:
        yield watch
    finally:
        watch.close()
        for parameter, grad in kept:
            parameter.grad = grad


_Entries = dict[str, list[tuple[str, Any, Any]]]
"""Layer → (group, indices of a dimension, their units) for each group that it reads (or makes)."""


class _Gates(Watch):
    def __init__(self, found: "Comb") -> None:
        self._units = {group.name: group.units for group in found.groups}
        self._gates: dict[str, Tensor] = {}
        self._handles = []
        layers = dict(found.model.graph_module.named_modules())
        reading = _entries(found, makers=False)
        read = {group for entries in reading.values() for group, _, _ in entries}
        for name, entries in reading.items():
            self._handles.append(layers[name].register_forward_pre_hook(self._before(entries)))
        # What only functions read is seen where it is made.
        for name, entries in _entries(found, makers=True).items():
            if mine := [entry for entry in entries if entry[0] not in read]:
                self._handles.append(layers[name].register_forward_hook(self._after(mine)))

    def _before(self, entries: list[tuple[str, Any, Any]]) -> Any:
        return lambda layer, args: self._collect(layer, args[0], entries)

    def _after(self, entries: list[tuple[str, Any, Any]]) -> Any:
        return lambda layer, _args, y: self._collect(layer, y, entries)

    def _collect(self, layer: Any, x: "Tensor", entries: list[tuple[str, Any, Any]]) -> None:
        """Once its gradient is there, add Σ x·∂L/∂x of each image to the gates of the units in ``x``."""
        if not x.requires_grad:
            return
        channel = x.ndim - 1 if hasattr(layer, "in_features") else 1
        others = [dim for dim in range(1, x.ndim) if dim != channel]
        value = x.detach()

        def collect(grad: "Tensor") -> None:
            change = value.float() * grad.float()
            change = change.sum(others) if others else change
            for name, places, units in entries:
                gate = self._gates.get(name)
                if gate is None or len(gate) != len(change):
                    gate = self._gates[name] = change.new_zeros((len(change), self._units[name]))
                gate.index_add_(1, units.to(change.device), change[:, places.to(change.device)])

        x.register_hook(collect)

    def take(self) -> Scores:
        """Squares of this batch's gates, summed over its images; groups that no gradient reaches get the mean."""
        scores = {name: (len(gate) * gate).double().square().sum(0).cpu().numpy() for name, gate in self._gates.items()}
        self._gates.clear()
        if not scores:
            raise PlanError("No gradient reaches this model's groups: choose the criterion “magnitude”.")
        mean = float(np.mean([values.mean() for values in scores.values()]))
        return scores | {name: np.full(self._units[name], mean) for name in self._units if name not in scores}

    def close(self) -> None:
        """Remove the hooks."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()


def _entries(found: "Comb", *, makers: bool) -> _Entries:
    import torch
    from torch import nn

    layers = dict(found.model.graph_module.named_modules())
    result: _Entries = {}
    for group in found.groups:
        for member in group.members:
            layer = layers.get(member.layer)
            if not isinstance(layer, nn.Linear | nn.modules.conv._ConvNd) or not member.tensor.endswith(".weight"):
                continue
            if member.creates != makers or (not makers and getattr(layer, "groups", 1) > 1):
                continue
            places = np.flatnonzero(member.unit_of_index >= 0)
            units = torch.from_numpy(member.unit_of_index[places])
            result.setdefault(member.layer, []).append((group.name, torch.from_numpy(places), units))
    return result
