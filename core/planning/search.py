"""The search itself: turn the amount of each family until the measured score is just kept, or the limits are met.

Every judgement rests on a plan that was really pruned and measured on the selection split. Estimates only say where to
look next: they make a bisection take four to seven measurements instead of ten, and are never trusted alone.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from ..errors import PlanError
from ..progress import SILENT, Progress
from ..wording import percent
from .calibration import Scale
from .families import Family
from .outlook import Costs, Outlook
from .points import Point, Points, cost_of
from .settings import SearchSettings
from .trying import Trial
from .whatif import Basis

__all__ = ["Search"]

_STEPS = 14
"""Halvings when an amount is looked for on estimates or counts: to a ten-thousandth."""
_AWAY = 0.1
"""A proposed amount keeps this part of the bracket away from its ends, so that the bracket shrinks either way."""
_LEAST_REST = 0.25
"""A front reaches down to this part of the score above chance: what is worse nobody takes."""


class Search:
    """One search over the plans of some families.

    Args:
        trial: where plans are pruned and measured.
        basis: what is known before; every measurement adds to it.
        outlook: counts and effects of plans without running them.
        families: one plan per amount each, the most promising first.
        settings: the goal and its limits.
        progress: ``publish`` gets ``to_json`` after every measurement.
        head: JSON that stands beside the points in everything that is published.
    """

    def __init__(
        self,
        trial: Trial,
        basis: Basis,
        outlook: Outlook,
        families: Sequence[Family],
        settings: SearchSettings,
        *,
        progress: Progress = SILENT,
        head: dict[str, Any] | None = None,
    ) -> None:
        self.trial, self.basis, self.outlook = trial, basis, outlook
        self.families, self.settings, self.progress = list(families), settings, progress
        self.points = Points(settings, trial.dense.score)
        self.blocked_by: str | None = None
        self.notes: list[str] = []
        self._head = head or {}

    @property
    def left(self) -> int:
        """Measurements that may still be taken."""
        return self.settings.evaluations - len(self.points.items)

    def run(self) -> None:
        """Search until the amount is known to the tolerance, or the measurements are used up."""
        {"smallest": self._smallest, "fastest": self._fastest, "front": self._front}[self.settings.goal]()

    def to_json(self) -> dict[str, Any]:
        """All that was tried, in the form of a search's result."""
        points = self.points
        return {
            **self._head,
            "plans": [point.to_json() for point in points.items],
            "best": points.best,
            "nearest": points.nearest,
            "front": points.front,
            "blocked_by": self.blocked_by,
            "target": {
                "goal": self.settings.goal,
                "cost": self.settings.cost,
                "score": points.target,
                "sure": self.settings.sure,
                "within_ms": self.settings.within_ms,
                "within_bytes": self.settings.within_bytes,
            },
            "notes": list(self.notes),
        }

    def attempt(self, family: str, title: str, plan: Any, t: float | None) -> Point:
        """Try one plan, take it in, and say so."""
        done, total = len(self.points.items), self.settings.evaluations
        amount = "" if t is None else f", {percent(t)}"
        self.progress.update(done, total, f"Trying {title}{amount}")
        tried = self.trial.run(plan, self.basis)
        self.basis = replace(self.basis, outcomes=(tried.outcome, *self.basis.outcomes))
        point = self.points.add(tried, family, t)
        self.progress.update(done + 1, total, f"Trying {title}{amount}")
        self.progress.publish(self.to_json())
        return point

    def _try(self, family: Family, t: float) -> Point:
        return self.attempt(family.name, family.title, family.plan(t), t)

    def _smallest(self) -> None:
        target = self.points.target
        assert target is not None
        if target > self.points.dense_score + 1e-9:
            self.blocked_by = (
                f"the dense model itself scores {percent(self.points.dense_score)} on these images, which is the most "
                "that removing can keep"
            )
            return
        for family in self.families:
            if self.left > 0:
                self._squeeze(family, target)
        if self.points.best is None and self.points.items:
            self.blocked_by = (
                "every plan that was tried loses more than allowed: even the smallest removal that was tried does"
            )

    def _squeeze(self, family: Family, target: float) -> None:
        """Find the largest amount of one family that keeps the target."""
        low, high = 0.0, family.top
        if (best := self.points.best) is not None:
            # A family is worth a search only where it still keeps the target at the cost of the best so far.
            least = self._least_amount(family, self._cheaper_than(self.points.cost(self.points.items[best])))
            if least is None:
                return
            if not self._try(family, least).kept:
                return
            low = least
        while high - low > self.settings.tolerance and self.left > 0:
            t = self._next(family, low, high, target)
            if self._try(family, t).kept:
                low = t
            else:
                high = t
            if low >= family.top - self.settings.tolerance:
                self.blocked_by = family.limit
                return

    def _next(self, family: Family, low: float, high: float, target: float) -> float:
        """Where to look: where the estimate crosses the target, or the middle where there is no estimate."""
        guess = self._crossing(family, low, high, target)
        width = high - low
        if guess is None:
            return (low + high) / 2.0
        if high >= family.top and guess >= high:
            return high
        return min(max(guess, low + _AWAY * width), high - _AWAY * width)

    def _crossing(self, family: Family, low: float, high: float, score: float) -> float | None:
        """The largest amount whose estimated score is still at least ``score``."""

        def keeps(t: float) -> bool | None:
            try:
                effect = self.outlook.effect(family.plan(t))
            except PlanError:
                return False
            found = self.basis.estimate(effect, n=self.trial.dense.n, dense_score=self.points.dense_score)
            return None if found is None else found.band.score >= score

        if keeps(high) is None:
            return None
        return _largest(lambda t: bool(keeps(t)), low, high)

    def _cheaper_than(self, cost: float) -> Callable[[Costs], bool]:
        return lambda costs: _known(costs, self.settings) < cost * (1.0 - 1e-9)

    def _least_amount(self, family: Family, fits: Callable[[Costs], bool]) -> float | None:
        """The smallest amount whose predicted costs fit; None where not even the largest does."""

        def too_much(t: float) -> bool:
            try:
                return not fits(self.outlook.costs(family.plan(t)))
            except PlanError:
                return False

        if too_much(family.top):
            return None
        if not too_much(0.0):
            return 0.0
        # just beyond the last amount that is too much
        return min(family.top, _largest(too_much, 0.0, family.top) + family.top / 2**_STEPS)

    def _fastest(self) -> None:
        for family in self.families:
            if self.left <= 0:
                return
            t = self._least_amount(family, self._within)
            if t is None:
                self.blocked_by = family.limit
                self._try(family, family.top)
                continue
            # Bytes are counted roughly, and channels come in steps: a little more until it really fits.
            while self.left > 0 and (over := self._over(self._try(family, t))) > 1.0 and t < family.top:
                more = self._least_amount(family, partial(self._within, over=over)) or family.top
                t = min(family.top, max(more, t + self.settings.tolerance / 4.0))
        if self.points.best is not None:
            self.blocked_by = None

    def _within(self, costs: Costs, over: float = 1.0) -> bool:
        """Whether predicted costs fit, where the last plan missed the limits by the factor ``over``."""
        ms, size = self.settings.within_ms, self.settings.within_bytes
        fast = ms is None or (costs.latency_ms is not None and costs.latency_ms * over <= ms)
        return fast and (size is None or (costs.bytes is not None and costs.bytes * over <= size))

    def _over(self, point: Point) -> float:
        """By which factor a measured plan misses the limits; at most 1 where it meets them."""
        body, ms, size = point.tried.body, self.settings.within_ms, self.settings.within_bytes
        missed = [] if ms is None else [(body["latency_ms"] or 0.0) / ms]
        return max([*missed, *([] if size is None else [body["bytes"] / size])])

    def _front(self) -> None:
        share = self.left if self.settings.sampler == "curves" else max(len(self.families), self.left // 2)
        each = max(1, share // len(self.families))
        for number in range(each):
            for family in self.families:
                if self.left > 0:
                    self._try(family, self._spread(family, each)[number])

    def _spread(self, family: Family, count: int) -> list[float]:
        """Amounts whose estimated scores lie evenly between little loss and much; evenly themselves without one."""
        scale = Scale(self.points.dense_score, self.basis.floor)
        rests = np.linspace(0.98, _LEAST_REST, count)
        found = [self._crossing(family, 0.0, family.top, scale.score(float(rest))) for rest in rests]
        even = np.linspace(0.0, family.top, count + 2)[1:-1]
        return [float(even[k]) if t is None else max(t, 1e-3) for k, t in enumerate(found)]


def _largest(holds: Callable[[float], bool], low: float, high: float) -> float:
    """The largest number at which a condition still holds that holds from ``low`` up to somewhere."""
    if holds(high):
        return high
    for _ in range(_STEPS):
        middle = (low + high) / 2.0
        if holds(middle):
            low = middle
        else:
            high = middle
    return low


def _known(costs: Costs, settings: SearchSettings) -> float:
    """A predicted cost in the unit of the search; infinite where it cannot be told."""
    body = {
        "bytes": costs.bytes,
        "nonzero": costs.nonzero,
        "macs": costs.macs,
        "latency_ms": costs.latency_ms,
    }
    known = {name: float("inf") if value is None else value for name, value in body.items()}
    return cost_of(known, settings.cost)
