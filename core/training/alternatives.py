"""What a removal left standing: the reason why some units went is that nothing cheaper could."""

import math
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from ..comb.sheet import GroupSheet
from ..pruning.groups.base import Scores

__all__ = ["cheapest_left"]


def cheapest_left(
    sheet: GroupSheet,
    scores: Scores,
    removal: Mapping[str, Sequence[int]],
    saving: Mapping[str, float],
    *,
    round_to: int,
    least: Mapping[str, int],
    closed: Collection[str] = (),
) -> float | None:
    """Mean score per saved cost of the cheapest units that stayed though they could have gone; None without any.

    Of every group that is not ``closed`` these are as many of the lowest scores as one step of ``round_to`` has, if
    ``least`` units stay even then.

    Args:
        scores: per unit of every group before the removal; they must mean the same in every group.
        saving: what one unit saves, by group; 1 where it is not said.
    """
    costs = []
    for group in sheet.groups:
        if group.name in closed:
            continue
        stays = np.sort(np.delete(scores[group.name], list(removal.get(group.name, ()))))
        step = max(1, round_to // math.gcd(round_to, group.width))
        if len(stays) - step >= max(1, least.get(group.name, 1)):
            costs.append(float(stays[:step].mean()) / saving.get(group.name, 1.0))
    return min(costs, default=None)
