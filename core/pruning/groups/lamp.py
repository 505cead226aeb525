"""LAMP on groups: the share of a unit in what would be left (Lee et al., "Layer-adaptive sparsity", ICLR 2021)."""

from typing import TYPE_CHECKING

import numpy as np

from ..criteria.base import CalibrationContext
from .base import GROUP_CRITERIA, GroupCriterion, Scores
from .magnitude import root_mean_square

if TYPE_CHECKING:
    from ...comb.groups import Comb

__all__ = ["Lamp", "lamp"]


def lamp(scores: np.ndarray) -> np.ndarray:
    """``s_u² / Σ_{v: s_v ≥ s_u} s_v²`` for scores ``[units]``; equal scores fall in the order of their index."""
    order = np.argsort(scores, kind="stable")
    squares = np.square(scores[order])
    left = np.cumsum(squares[::-1])[::-1]
    result = np.zeros_like(squares)
    result[order] = np.divide(squares, left, out=np.zeros_like(squares), where=left > 0)
    return result


@GROUP_CRITERIA.register("lamp")
class Lamp(GroupCriterion):
    """LAMP: magnitude as a share of what would be left of its group."""

    title = "LAMP"
    reduction = "that of magnitude (L2); the LAMP quotient is taken over the units of a group"
    comparable = True

    @classmethod
    def score(cls, found: "Comb", context: CalibrationContext) -> Scores:
        """LAMP of the root mean squares."""
        return {name: lamp(values) for name, values in root_mean_square(found).items()}
