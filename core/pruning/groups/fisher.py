"""Empirical Fisher information of a virtual gate per channel, as CPD uses it (METHODS §B2, arXiv 2408.03046)."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from ..criteria.base import CalibrationContext
from .base import GROUP_CRITERIA, GroupCriterion, Scores, along, parameters_of, per_unit, summed
from .gradients import products

if TYPE_CHECKING:
    from torch import Tensor

    from ...comb.groups import Comb, Member

__all__ = ["Fisher"]


@GROUP_CRITERIA.register("fisher")
class Fisher(GroupCriterion):
    """Fisher (CPD): squared gradient of a gate on each unit, per activation that the unit costs."""

    title = "Fisher (CPD)"
    reduction = "mean over the parameters that make or scale the units, divided by the number of parameters touched"
    needs_data = True
    accumulates = True
    comparable = True

    @classmethod
    def score(cls, found: "Comb", context: CalibrationContext) -> Scores:
        """Σ over batches of ``(Σ_{w in p, unit} w·g)² / A``, A = output activations of the layer of p in the batch."""
        return summed(found, (cls.increment(found, images, changes) for images, changes in products(found, context)))

    @classmethod
    def increment(cls, found: "Comb", images: int, changes: "Mapping[str, Tensor]") -> Scores:
        """What one batch adds."""
        parameters = parameters_of(found)
        outputs = _output_sizes(found)
        scores: Scores = {group.name: np.zeros(group.units) for group in found.groups}
        for group in found.groups:
            members = [member for member in group.members if member.tensor in parameters]
            makers = [member for member in members if _makes(found, member)] or members
            for member in makers:
                change = changes.get(found.reader.canonical(member.tensor))
                if change is not None:
                    gate = per_unit(along(change, member.dim).sum(1), member, group.units)
                    area = images * outputs.get(member.layer, 1)
                    scores[group.name] += np.square(gate) / area / len(makers) / len(members)
        return scores


def _makes(found: "Comb", member: "Member") -> bool:
    """Weights that create the units, and biases, scales and norms of them; not the weights that read them."""
    from torch import nn

    from ...models.layers import PRUNABLE

    layer = found.model.graph_module.get_submodule(member.layer) if "." in member.tensor else None
    reads = (*PRUNABLE, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
    return member.creates or not (isinstance(layer, reads) and member.tensor.endswith("weight"))


def _output_sizes(found: "Comb") -> dict[str, int]:
    """Activations that each layer gives for one image, all its calls together."""
    from ...models.tracer import BATCH

    sizes: dict[str, int] = {}
    for node in found.model.graph_module.graph.nodes:
        shape = found.reader.shapes.get(node)
        if node.op == "call_module" and shape and all(isinstance(size, int) for size in shape):
            sizes[str(node.target)] = sizes.get(str(node.target), 0) + math.prod(shape) // BATCH
    return {name: max(1, size) for name, size in sizes.items()}
