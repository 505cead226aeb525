"""How sparsity grows over the steps of a run: pure functions, drawn before the run (METHODS §D). Knows no torch.

A schedule maps progress ``t`` in [0, 1] and the final sparsity to the sparsity at that moment. Every schedule starts
at 0, ends exactly at ``final`` and stays within [0, final]; all but ``cyclical`` never fall.
"""

import math
from collections.abc import Callable

from ..errors import PlanError
from ..registry import Registry

__all__ = ["SCHEDULES", "Schedule", "levels"]

Schedule = Callable[[float, float], float]
SCHEDULES: Registry[Schedule] = Registry("schedule")


@SCHEDULES.register("one_shot")
def one_shot(t: float, final: float) -> float:
    """Everything at once, at the first step."""
    return final if t > 0.0 else 0.0


@SCHEDULES.register("linear")
def linear(t: float, final: float) -> float:
    """The same amount at every step (the schedule of DG2PF)."""
    return final * t


@SCHEDULES.register("cubic")
def cubic(t: float, final: float) -> float:
    """Fast at first, gentle at the end: s·(1 − (1 − t)³) (Zhu & Gupta 2017)."""
    return final * (1.0 - (1.0 - t) ** 3)


@SCHEDULES.register("exponential")
def exponential(t: float, final: float) -> float:
    """The same share of the surviving weights at every step: 1 − (1 − s)^t."""
    return final if t >= 1.0 else min(final, -math.expm1(t * math.log1p(-final)))


@SCHEDULES.register("cosine")
def cosine(t: float, final: float) -> float:
    """Gentle at both ends, fastest in the middle: half a cosine."""
    return final * (1.0 - math.cos(math.pi * t)) / 2.0


_CYCLES = 4
_DEPTH = 0.5


@SCHEDULES.register("cyclical")
def cyclical(t: float, final: float) -> float:
    """Cubic growth that lets weights return in four waves, each shallower than the one before."""
    return cubic(t, final) * (1.0 - _DEPTH * (1.0 - t) * math.sin(math.pi * _CYCLES * t) ** 2)


def levels(name: str, final: float, steps: int) -> tuple[float, ...]:
    """The sparsity after each of ``steps`` steps, evenly spaced in time; the last one is exactly ``final``.

    Raises:
        PlanError: when ``final`` is outside [0, 1) or ``steps`` is below 1.
        RegistryError: on an unknown schedule.
    """
    if not 0.0 <= final < 1.0:
        raise PlanError(f"The final sparsity must be at least 0 and below 1, but {final} came.")
    if steps < 1:
        raise PlanError(f"A schedule needs at least one step, but {steps} came.")
    schedule = SCHEDULES[name]
    return tuple(schedule((step + 1) / steps, final) for step in range(steps))
