"""First-order Taylor: how much the loss would change (Molchanov et al., ICLR 2017 and CVPR 2019)."""

from typing import TYPE_CHECKING

import numpy as np

from ..criteria.base import CalibrationContext
from .base import GROUP_CRITERIA, GroupCriterion, Scores, along, parameters_of, per_unit, weight_members
from .gradients import products

if TYPE_CHECKING:
    from ...comb.groups import Comb

__all__ = ["Taylor"]


@GROUP_CRITERIA.register("taylor")
class Taylor(GroupCriterion):
    """Taylor |Σ w·g|: units whose removal changes the loss least, to first order."""

    title = "Taylor"
    reduction = "mean over the group's weights, inputs and outputs alike, of |Σ w·g| of a unit; mean over batches"
    needs_data = True
    comparable = True

    @classmethod
    def score(cls, found: "Comb", context: CalibrationContext) -> Scores:
        """|Σ w·g| per unit and weight."""
        parameters = parameters_of(found)
        canonical = found.reader.canonical
        scores: Scores = {group.name: np.zeros(group.units) for group in found.groups}
        batches = 0
        for _, changes in products(found, context):
            batches += 1
            for group in found.groups:
                members = list(weight_members(group, parameters))
                for member in members:
                    change = changes.get(canonical(member.tensor))
                    if change is not None:
                        summed = per_unit(along(change, member.dim).sum(1), member, group.units)
                        scores[group.name] += np.abs(summed) / len(members)
        return {name: values / max(1, batches) for name, values in scores.items()}
