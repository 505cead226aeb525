"""Random scores: the control that every comparison can include, and hard to beat on CNNs (arXiv 2406.12315)."""

import zlib
from typing import TYPE_CHECKING

import numpy as np

from ..criteria.base import CalibrationContext
from .base import GROUP_CRITERIA, GroupCriterion, Scores

if TYPE_CHECKING:
    from ...comb.groups import Comb

__all__ = ["Random"]


@GROUP_CRITERIA.register("random")
class Random(GroupCriterion):
    """Random: a control for every comparison."""

    title = "Random"
    reduction = "one number per unit, the same whatever other groups there are"
    comparable = True

    @classmethod
    def score(cls, found: "Comb", context: CalibrationContext) -> Scores:
        """Uniform in [0, 1), from the seed and the group's name."""
        return {
            group.name: np.random.default_rng([context.seed, zlib.crc32(group.name.encode())]).random(group.units)
            for group in found.groups
        }
