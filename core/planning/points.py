"""The plans that a search has tried: which keep what was asked, which is best, which are beaten by none. No torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .families import Cost
from .settings import SearchSettings
from .trying import Tried

__all__ = ["Point", "Points", "cost_of", "unbeaten"]

_COST_KEYS: dict[Cost, str] = {"bytes": "bytes", "parameters": "nonzero", "macs": "macs", "ms": "latency_ms"}


def cost_of(body: Mapping[str, Any], cost: Cost) -> float:
    """The cost of a tried plan (``Tried.to_json``) in its unit."""
    return float(body[_COST_KEYS[cost]])


@dataclass(frozen=True)
class Point:
    """A tried plan, where it came from, and whether it keeps what was asked."""

    tried: Tried
    family: str
    t: float | None
    kept: bool

    def to_json(self) -> dict[str, Any]:
        """``Tried.to_json`` with ``family``, ``t`` and ``kept``."""
        return {**self.tried.to_json(), "family": self.family, "t": self.t, "kept": self.kept}


@dataclass
class Points:
    """All tried plans of one search, in order."""

    settings: SearchSettings
    dense_score: float
    items: list[Point] = field(default_factory=list)

    @property
    def target(self) -> float | None:
        """The score to keep, as a fraction; None where no score was asked for."""
        if self.settings.keep is not None:
            return self.settings.keep
        return None if self.settings.lose is None else self.dense_score - self.settings.lose

    def keeps(self, tried: Tried) -> bool:
        """Whether a plan keeps what was asked: the score, and the limits of milliseconds and bytes."""
        body, settings = tried.body, self.settings
        score = float(body["score"])
        if settings.sure:
            score = min(score, self.dense_score + float(body["comparison"]["low"]))
        if self.target is not None and score < self.target - 1e-9:
            return False
        if settings.within_ms is not None and not (body["latency_ms"] or float("inf")) <= settings.within_ms:
            return False
        return settings.within_bytes is None or body["bytes"] <= settings.within_bytes

    def add(self, tried: Tried, family: str, t: float | None) -> Point:
        """Take in a tried plan."""
        point = Point(tried, family, t, self.keeps(tried))
        self.items.append(point)
        return point

    def cost(self, point: Point) -> float:
        """The cost that is to be small."""
        return cost_of(point.tried.body, self.settings.cost)

    @property
    def best(self) -> int | None:
        """The cheapest plan that keeps what was asked; for ``fastest`` the one with the highest score; else None."""
        kept = [number for number, point in enumerate(self.items) if point.kept]
        if not kept or self.settings.goal == "front":
            return None
        if self.settings.goal == "fastest":
            return max(kept, key=lambda number: (self._score(number), -self.cost(self.items[number])))
        return min(kept, key=lambda number: (self.cost(self.items[number]), -self._score(number)))

    @property
    def nearest(self) -> int | None:
        """Where nothing keeps what was asked: the plan that comes nearest."""
        if not self.items or self.best is not None or self.settings.goal == "front":
            return None
        if self.settings.goal == "smallest":
            return max(range(len(self.items)), key=self._score)
        return min(range(len(self.items)), key=lambda number: self._excess(self.items[number]))

    @property
    def front(self) -> list[int]:
        """Plans that no other beats in both score and cost, cheapest first."""
        return unbeaten([(self.cost(point), float(point.tried.body["score"])) for point in self.items])

    def _score(self, number: int) -> float:
        return float(self.items[number].tried.body["score"])

    def _excess(self, point: Point) -> float:
        """By how much the limits are missed, as a factor."""
        body, settings = point.tried.body, self.settings
        over = [1.0]
        if settings.within_ms is not None and body["latency_ms"] is not None:
            over.append(body["latency_ms"] / settings.within_ms)
        if settings.within_bytes is not None:
            over.append(body["bytes"] / settings.within_bytes)
        return max(over)


def unbeaten(values: Sequence[tuple[float, float]]) -> list[int]:
    """Numbers of the (cost, score) pairs that no other pair beats, cheapest first; of equal pairs the first."""
    order = sorted(range(len(values)), key=lambda number: (values[number][0], -values[number][1], number))
    found, highest = [], float("-inf")
    for number in order:
        if values[number][1] > highest:
            found.append(number)
            highest = values[number][1]
    return found
