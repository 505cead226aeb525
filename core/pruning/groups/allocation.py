"""In which order the units of all groups go: each allocation gives every unit a rank value that can be compared.

Numpy only. How far down the order a removal goes is decided by the budget (``budget.py``).
"""

from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...registry import Registry
from .lamp import lamp

__all__ = ["GROUP_ALLOCATIONS", "GroupAllocation", "GroupScores"]


@dataclass(frozen=True, eq=False)
class GroupScores:
    """A group as an allocation sees it.

    ``signature`` is equal for groups of the same make; ``saving`` is what removing one unit saves, where importance is
    to be seen per saved cost.
    """

    name: str
    signature: Hashable
    scores: np.ndarray
    comparable: bool = False
    saving: float = 1.0

    @property
    def levelled(self) -> np.ndarray:
        """Scores that can be compared with those of other groups, per saved cost."""
        scores = self.scores if self.comparable else self.scores / (self.scores.mean() or 1.0)
        return scores / self.saving


class GroupAllocation(ABC):
    """An allocation over groups; a class that is never instantiated."""

    title: ClassVar[str]

    @classmethod
    @abstractmethod
    def order(cls, groups: Sequence[GroupScores]) -> dict[str, np.ndarray]:
        """Rank value of every unit, ``float64 [units]``; units go in ascending order of it, over all groups."""


GROUP_ALLOCATIONS: Registry[type[GroupAllocation]] = Registry("group allocation")


def _ranks(values: np.ndarray) -> np.ndarray:
    """(1 … n) / n in ascending order of the values, equal ones by index."""
    result = np.empty(len(values))
    result[np.argsort(values, kind="stable")] = np.arange(1, len(values) + 1) / len(values)
    return result


@GROUP_ALLOCATIONS.register("uniform")
class Uniform(GroupAllocation):
    """The same share of every group."""

    title = "Uniform"

    @classmethod
    def order(cls, groups: Sequence[GroupScores]) -> dict[str, np.ndarray]:
        return {group.name: _ranks(group.scores) for group in groups}


@GROUP_ALLOCATIONS.register("global")
class Global(GroupAllocation):
    """One threshold over all groups: the least important units go, wherever they are."""

    title = "Global"

    @classmethod
    def order(cls, groups: Sequence[GroupScores]) -> dict[str, np.ndarray]:
        return {group.name: group.levelled for group in groups}


@GROUP_ALLOCATIONS.register("isomorphic")
class Isomorphic(GroupAllocation):
    """The same share of every kind of group; inside a kind, one threshold (Fang et al., ECCV 2024)."""

    title = "Isomorphic"

    @classmethod
    def order(cls, groups: Sequence[GroupScores]) -> dict[str, np.ndarray]:
        result: dict[str, np.ndarray] = {}
        for signature in dict.fromkeys(group.signature for group in groups):
            alike = [group for group in groups if group.signature == signature]
            ranks = _ranks(np.concatenate([group.levelled for group in alike]))
            edges = np.cumsum([len(group.scores) for group in alike])[:-1]
            result.update(zip((group.name for group in alike), np.split(ranks, edges), strict=True))
        return result


@GROUP_ALLOCATIONS.register("lamp")
class LampOrder(GroupAllocation):
    """Scores as a share of what would be left of their group (LAMP), then one threshold."""

    title = "LAMP"

    @classmethod
    def order(cls, groups: Sequence[GroupScores]) -> dict[str, np.ndarray]:
        return {group.name: lamp(group.scores) / group.saving for group in groups}
