"""How many units each group loses, so that a budget is met within one rounding step. Numpy only.

All steps that a group can take (from one allowed number of units to the next) of all groups are put in one order; the
shortest run of them that meets the budget is found by bisection, each trial counted exactly.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...errors import PlanError
from ...wording import percent

__all__ = ["Candidate", "Limits", "Removal", "allowed", "choose"]

Removal = dict[str, list[int]]

NEAR = 0.005
"""A removal this near to its target is near enough: half a percent of the budget."""

_TRIALS = 40


@dataclass(frozen=True)
class Limits:
    """What must stay: ``min_keep`` (a fraction) of every group, and multiples of ``round_to`` channels."""

    round_to: int = 1
    min_keep: float = 0.1


@dataclass(frozen=True, eq=False)
class Candidate:
    """A group that may shrink. ``values`` are the rank values of its units, ``width`` the channels of one unit.

    ``least``: units that must stay, beside the limits' (of a group that has shrunk before).
    """

    name: str
    values: np.ndarray
    width: int = 1
    rounded: bool = True
    least: int = 1


def allowed(candidate: Candidate, limits: Limits) -> list[int]:
    """Numbers of units that may be removed, ascending from 0.

    The channels that stay are multiples of ``round_to``; a group that has none of them stays whole.
    """
    units = len(candidate.values)
    step = limits.round_to // math.gcd(limits.round_to, candidate.width) if candidate.rounded else 1
    least = max(candidate.least, 1, math.ceil(limits.min_keep * units - 1e-9))
    keeps = range((units - 1) // step * step, 0, -step)
    return [0, *(units - keep for keep in keeps if keep >= least)]


def choose(
    candidates: Sequence[Candidate],
    saved: Callable[[Removal], float],
    target: float,
    *,
    limits: Limits,
    fixed: Mapping[str, int],
    repair: Callable[[Removal], Removal] = lambda removal: removal,
    fill: bool = False,
) -> Removal:
    """The units to remove so that ``saved`` is as near to ``target`` as one step allows.

    One step of a group that many layers share may be a tenth of the network. With ``fill`` a step that overshoots is
    left out and the next ones that fit are taken instead, where that comes nearer to the target.

    Args:
        candidates: the groups that may shrink.
        saved: fraction of the budget's unit that a removal saves.
        target: the fraction to save.
        limits: what must stay.
        fixed: candidates that lose exactly so many units, whatever the budget.
        repair: puts back units without which a layer would be empty.
        fill: see above; without it the order is kept strictly.

    Raises:
        PlanError: when the limits do not let the target be reached; says what the most is.
    """
    order = {c.name: np.argsort(c.values, kind="stable") for c in candidates}
    free = [candidate for candidate in candidates if candidate.name not in fixed]
    steps: list[tuple[float, int, int]] = []  # rank value, candidate, units removed after it
    for number, candidate in enumerate(free):
        counts = allowed(candidate, limits)
        ranked = candidate.values[order[candidate.name]]
        keys = [float(ranked[a:b].mean()) for a, b in itertools.pairwise(counts)]
        for key, units in zip(np.maximum.accumulate(keys).tolist() if keys else [], counts[1:], strict=True):
            steps.append((key, number, units))
    steps.sort()

    def taking(chosen: Iterable[tuple[float, int, int]]) -> Removal:
        taken = dict(fixed)
        for _, number, units in chosen:
            taken[free[number].name] = units
        return repair({name: np.sort(order[name][:units]).tolist() for name, units in taken.items() if units})

    def removal(count: int) -> Removal:
        return taking(steps[:count])

    base, most = saved(removal(0)), saved(removal(len(steps)))
    if target > most + 1e-9:
        if not steps:
            raise PlanError(_nothing(free, limits))
        raise PlanError(
            f"The plan asks to remove {percent(target)}, but {percent(most)} is the most: "
            f"{percent(limits.min_keep, 0)} of every group must stay{_rounding(limits)}. Lower the target or the "
            "limits."
        )
    if target <= base:
        return removal(0)
    low, high = 0, len(steps)  # saved(low) < target ≤ saved(high)
    while high - low > 1:
        middle = (low + high) // 2
        if saved(removal(middle)) < target:
            low = middle
        else:
            high = middle
    below, above = removal(low), removal(high)
    nearest = below if target - saved(below) < saved(above) - target else above
    if not fill or abs(saved(nearest) - target) <= NEAR:
        return nearest
    filled = _filled(steps[:low], steps[high:], taking, saved, target, left_out={steps[low][1]})
    return filled if abs(saved(filled) - target) < abs(saved(nearest) - target) else nearest


def _filled(
    chosen: Sequence[tuple[float, int, int]],
    others: Sequence[tuple[float, int, int]],
    taking: Callable[[Iterable[tuple[float, int, int]]], Removal],
    saved: Callable[[Removal], float],
    target: float,
    *,
    left_out: set[int],
) -> Removal:
    """``chosen``, and of the ``others`` in their order those that do not overshoot; a group that was left out stays."""
    taken, misses = list(chosen), 0
    for step in others:
        if step[1] in left_out:
            continue
        share = saved(taking([*taken, step]))
        if share > target + NEAR:
            left_out.add(step[1])
            misses += 1
        else:
            taken.append(step)
        if misses > _TRIALS or abs(share - target) <= NEAR:
            break
    return taking(taken)


def _rounding(limits: Limits) -> str:
    return f", in multiples of {limits.round_to} channels" if limits.round_to > 1 else ""


def _nothing(free: Sequence[Candidate], limits: Limits) -> str:
    if not free:
        return "Every group is protected or fixed, so that nothing is left to reach the target: free a group."
    largest = max(len(candidate.values) * candidate.width for candidate in free)
    return (
        f"Channels must stay in multiples of {limits.round_to} and {percent(limits.min_keep, 0)} of every group, but "
        f"the largest group has {largest}: no group can shrink. Choose a smaller “round to” or “keep at least”."
    )
