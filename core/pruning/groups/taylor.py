"""First-order Taylor: how much the loss would change (Molchanov et al., ICLR 2017 and CVPR 2019)."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from ..criteria.base import CalibrationContext
from .base import GROUP_CRITERIA, GroupCriterion, Scores, along, parameters_of, per_unit, summed, weight_members
from .gradients import products

if TYPE_CHECKING:
    from torch import Tensor

    from ...comb.groups import Comb

__all__ = ["Taylor"]


@GROUP_CRITERIA.register("taylor")
class Taylor(GroupCriterion):
    """Taylor |Σ w·g|: units whose removal changes the loss least, to first order."""

    title = "Taylor"
    reduction = "mean over the group's weights, inputs and outputs alike, of |Σ w·g| of a unit; mean over batches"
    needs_data = True
    accumulates = True
    comparable = True

    @classmethod
    def score(cls, found: "Comb", context: CalibrationContext) -> Scores:
        """|Σ w·g| per unit and weight."""
        total = summed(found, (cls.increment(found, images, changes) for images, changes in products(found, context)))
        batches = -(-min(context.images, len(context.splits.train)) // context.batch_size)
        return {name: values / max(1, batches) for name, values in total.items()}

    @classmethod
    def increment(cls, found: "Comb", images: int, changes: "Mapping[str, Tensor]") -> Scores:
        """|Σ w·g| of one batch."""
        parameters = parameters_of(found)
        scores: Scores = {group.name: np.zeros(group.units) for group in found.groups}
        for group in found.groups:
            members = list(weight_members(group, parameters))
            for member in members:
                change = changes.get(found.reader.canonical(member.tensor))
                if change is not None:
                    gate = per_unit(along(change, member.dim).sum(1), member, group.units)
                    scores[group.name] += np.abs(gate) / len(members)
        return scores
