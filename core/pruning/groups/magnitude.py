"""Magnitude of groups: units with small weights matter least (Li et al., "Pruning Filters", ICLR 2017)."""

from typing import TYPE_CHECKING

import numpy as np

from ..criteria.base import CalibrationContext
from .base import GROUP_CRITERIA, GroupCriterion, Scores, along, elements, member_mean, per_unit

if TYPE_CHECKING:
    from ...comb.groups import Comb

__all__ = ["MagnitudeL1", "MagnitudeL2", "root_mean_square"]


def root_mean_square(found: "Comb") -> Scores:
    """Root mean square of a unit's weights in each member, averaged over members."""
    return member_mean(
        found,
        lambda tensor, member, group: np.sqrt(
            per_unit(along(tensor, member.dim).square().sum(1), member, group.units)
            / elements(tensor, member, group.units)
        ),
    )


@GROUP_CRITERIA.register("magnitude")
class MagnitudeL2(GroupCriterion):
    """Magnitude (L2) of all weights of a unit: needs no data."""

    title = "Magnitude (L2)"
    reduction = "mean over the group's weights, inputs and outputs alike, of the root mean square of a unit"

    @classmethod
    def score(cls, found: "Comb", context: CalibrationContext) -> Scores:
        """Root mean squares, averaged."""
        return root_mean_square(found)


@GROUP_CRITERIA.register("magnitude_l1")
class MagnitudeL1(GroupCriterion):
    """Magnitude (L1) of all weights of a unit: needs no data."""

    title = "Magnitude (L1)"
    reduction = "mean over the group's weights, inputs and outputs alike, of the mean |w| of a unit"

    @classmethod
    def score(cls, found: "Comb", context: CalibrationContext) -> Scores:
        """Mean absolute values, averaged."""
        return member_mean(
            found,
            lambda tensor, member, group: (
                per_unit(along(tensor, member.dim).abs().sum(1), member, group.units)
                / elements(tensor, member, group.units)
            ),
        )
