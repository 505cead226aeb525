"""Gates that are learned: one number a per unit, a threshold over all of them, and who is open at a given rate.

The numerics of SEAP (METHODS §C2, a reconstruction [D]); where gates act in the network is ``core.comb.gating``.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..comb.sheet import GroupSheet, SheetGroup
from ..errors import PlanError
from .groups.base import Scores
from .groups.budget import Limits, Removal
from .groups.choosing import Budget, Milliseconds, choose_units, resolved
from .schedules import SCHEDULES

if TYPE_CHECKING:
    from torch import Tensor

    from ..comb.groups import Comb, Group

__all__ = ["GateRule", "Opening", "initial_gates", "ramp", "softness", "straight_through"]

SOFTNESS = (0.5, 0.05)
_COMPARED_AS_THEY_ARE = "taylor"  # like this criterion's scores, gates of different groups have one unit
_FLAT = 1e-6


def initial_gates(found: "Comb") -> Scores:
    """|γ| of the BatchNorms of a unit, else ‖W‖₂ of the weights that create it; each divided by its layer's mean.

    Where a group has several such layers, the mean over them. A BatchNorm whose scales are all alike (never trained)
    says nothing, and the weights speak.
    """
    import torch
    from torch.nn.modules.batchnorm import _BatchNorm

    parameters = dict(found.model.graph_module.named_parameters(remove_duplicate=False))
    layers = dict(found.model.graph_module.named_modules())
    result: Scores = {}
    with torch.no_grad():
        for group in found.groups:
            members = [member for member in group.members if member.tensor in parameters]
            norms = [m for m in members if isinstance(layers.get(m.layer), _BatchNorm) and m.tensor.endswith("weight")]
            scales = [_norms(parameters[m.tensor], m.unit_of_index, m.dim, group) for m in norms]
            scales = [values for values in scales if np.ptp(values) > _FLAT * values.max()]
            if not scales:
                weights = [m for m in members if parameters[m.tensor].ndim >= 2]
                weights = [m for m in weights if m.creates] or weights or members
                scales = [_norms(parameters[m.tensor], m.unit_of_index, m.dim, group) for m in weights]
            result[group.name] = np.mean([values / (values.mean() or 1.0) for values in scales], axis=0)
    return result


def _norms(tensor: "Tensor", unit_of_index: np.ndarray, dim: int, group: "Group") -> np.ndarray:
    """‖·‖₂ of what each unit owns of a tensor, ``[units]``."""
    squares = tensor.detach().double().square().movedim(dim, 0).flatten(1).sum(1) if tensor.ndim > 1 else None
    values = (tensor.detach().double().square() if squares is None else squares).cpu().numpy()
    owned = unit_of_index >= 0
    return np.sqrt(np.bincount(unit_of_index[owned], weights=values[owned], minlength=group.units))


def straight_through(a: "Tensor", threshold: "Tensor", opened: "Tensor", u: float) -> "Tensor":
    """Gates that are exactly 0 or 1 forward and σ((a − τ)/u) backward: closed ones learn, too (METHODS §C2).

    Args:
        a: gate values ``[K]``.
        threshold: τ of each, ``[K]``; no gradient flows into it.
        opened: bool ``[K]``.
        u: softness of the threshold, above 0.
    """
    import torch

    soft = torch.sigmoid((a - threshold.detach()) / u)
    return opened.to(soft.dtype) + (soft - soft.detach())


def ramp(place: float, phases: tuple[float, float, float]) -> float:
    """How much of the final rate is closed at a place (0 to 1) of a run: 1 − (1 − x)³ between the first two phases."""
    first, last, _ = phases
    return SCHEDULES["cubic"](min(1.0, max(0.0, (place - first) / (last - first))), 1.0)


def softness(done: float, a: np.ndarray) -> float:
    """u: from 0.5 to 0.05 standard deviations of the gates, geometrically, as ``done`` goes from 0 to 1."""
    first, last = SOFTNESS
    spread = float(a.std()) or abs(float(a.mean())) or 1.0
    return first * (last / first) ** min(1.0, max(0.0, done)) * spread


@dataclass(frozen=True, eq=False)
class Opening:
    """Which units are open at one moment. Arrays run over the units of all gated groups, ``[K]``.

    ``threshold``: τ of every unit; ``level``: the one that all groups share.
    """

    opened: np.ndarray
    threshold: np.ndarray
    level: float


class GateRule:
    """Decides which gates close, for a rate in channels, parameters, MACs or milliseconds over the whole network.

    Units are compared over all groups; those with the smallest a close, except that ``min_keep`` of every group stays.
    Groups that the plan gives a rate of their own close that part of themselves.

    Args:
        sheet: the groups of the dense model.
        blocked: groups that cannot be gated, and why.
        milliseconds: predicts latency; needed for that budget only.

    Raises:
        PlanError: names that do not fit the model, or nothing to gate.
    """

    def __init__(
        self,
        sheet: GroupSheet,
        *,
        target: float,
        budget: Budget,
        limits: Limits,
        kinds: Sequence[str],
        overrides: Mapping[str, float],
        protected: Sequence[str],
        blocked: Mapping[str, str],
        milliseconds: Milliseconds | None = None,
    ) -> None:
        self.sheet, self.target, self.budget, self.limits = sheet, target, budget, limits
        self.milliseconds = milliseconds
        self._kinds, self._overrides, self.blocked = kinds, dict(overrides), blocked
        self._ratios, held = resolved(sheet, overrides, protected)
        for name in self._ratios:
            if name in blocked:
                raise PlanError(
                    f"“{name}” cannot be given a rate of its own, because it has no gates: {blocked[name]}."
                )
        self._protected = [f"group:{name}" for name in held | (set(blocked) - set(self._ratios))]
        self.groups: tuple[SheetGroup, ...] = tuple(
            group
            for group in sheet.groups
            if group.name in self._ratios or (group.name not in held | set(blocked) and group.kind in kinds)
        )
        if not self.groups:
            raise PlanError(self._nothing(held))
        self.names = [group.name for group in self.groups]
        self.edges = np.cumsum([0, *(group.units for group in self.groups)])
        starts = np.cumsum([1, *(group.units for group in sheet.groups)])[:-1]
        first = dict(zip((group.name for group in sheet.groups), starts.tolist(), strict=True))
        self._numbers = np.concatenate([first[group.name] + np.arange(group.units) for group in self.groups])
        self._total = sum(group.units for group in sheet.groups)

    def _nothing(self, held: set[str]) -> str:
        if self.blocked and not held:
            name, why = next(iter(self.blocked.items()))
            return f"SEAP has nothing to prune in this model: “{name}”: {why}. Use the one-shot structured method."
        return (
            "SEAP has nothing to prune: every group of this model is protected, or of a kind that may not shrink. Free "
            "one."
        )

    @property
    def idle(self) -> bool:
        """Whether nothing is to close at all."""
        return self.target == 0 and not any(self._ratios.values())

    # -- arrays over all gated units --------------------------------------------------------------------------------

    def joined(self, values: Mapping[str, np.ndarray]) -> np.ndarray:
        """Values by group as one array ``[K]``."""
        return np.concatenate([values[name] for name in self.names])

    def by_group(self, values: np.ndarray) -> dict[str, np.ndarray]:
        """An array ``[K]`` by group."""
        return dict(zip(self.names, np.split(values, self.edges[1:-1]), strict=True))

    def removal(self, opened: np.ndarray) -> Removal:
        """The units whose gates are closed."""
        closed = {name: np.flatnonzero(~part).tolist() for name, part in self.by_group(opened).items()}
        return {name: units for name, units in closed.items() if units}

    # -- deciding ---------------------------------------------------------------------------------------------------

    def at(self, a: np.ndarray, done: float, *, share: float | None = None) -> Opening:
        """Who is open when ``done`` (0 to 1) of the way to the target is gone.

        ``share``: the target in MACs, which stands in for milliseconds while gates still change.
        """
        opened, threshold = np.ones(len(a), dtype=bool), np.empty(len(a))
        free = np.ones(len(a), dtype=bool)
        for group, start, end in zip(self.groups, self.edges[:-1], self.edges[1:], strict=True):
            own = start + np.argsort(a[start:end], kind="stable")
            if group.name in self._ratios:
                closed = min(group.units - 1, round(self._ratios[group.name] * done * group.units))
                opened[own[:closed]] = False
                free[start:end] = False
                threshold[start:end] = _between(a[own], closed)
            else:
                free[own[-max(1, math.ceil(self.limits.min_keep * group.units - 1e-9)) :]] = False
        order = np.flatnonzero(free)
        order = order[np.argsort(a[order], kind="stable")]
        count = self._count(opened, order, (self.target if share is None else share) * done)
        opened[order[:count]] = False
        level = _between(a[order], count) if len(order) else float(a.min())
        ratios = [group.name in self._ratios for group in self.groups]
        threshold[~np.repeat(ratios, np.diff(self.edges))] = level
        return Opening(opened, threshold, level)

    def _count(self, opened: np.ndarray, order: np.ndarray, target: float) -> int:
        """How many units of ``order`` to close, so that the saved share is nearest to ``target``."""

        def saved(count: int) -> float:
            trial = opened.copy()
            trial[order[:count]] = False
            return self.roughly_saved(trial)

        low, high = 0, len(order)
        if target <= saved(0) + 1e-12:
            return 0
        if target >= saved(high):
            return high
        while high - low > 1:  # saved(low) < target ≤ saved(high)
            middle = (low + high) // 2
            low, high = (middle, high) if saved(middle) < target else (low, middle)
        return low if target - saved(low) < saved(high) - target else high

    def roughly_saved(self, opened: np.ndarray) -> float:
        """The share of the budget that closed gates save; of MACs where the budget is latency."""
        if self.budget == "channels":
            return float((~opened).sum()) / self._total
        gone = np.zeros(self.sheet.counter.units + 1, dtype=bool)
        gone[self._numbers[~opened]] = True
        left, dense = self.sheet.counter.count(gone), self.sheet.dense
        if self.budget == "parameters":
            return 1.0 - left.parameters / dense.parameters
        return 1.0 - left.macs / max(1, dense.macs)

    def saved(self, removal: Removal) -> float:
        """The share of the budget that a removal saves, exactly."""
        if self.budget == "channels":
            return sum(map(len, removal.values())) / self._total
        left, dense = self.sheet.counts(removal), self.sheet.dense
        if self.budget == "latency":
            assert self.milliseconds is not None
            return 1.0 - self.milliseconds(left) / self.milliseconds(dense)
        if self.budget == "parameters":
            return 1.0 - left.parameters / dense.parameters
        return 1.0 - left.macs / max(1, dense.macs)

    def final(self, a: np.ndarray) -> Removal:
        """What goes for good: the target within one rounding step, in multiples of ``round_to`` channels.

        Raises:
            PlanError: when the limits do not let the target be reached.
        """
        scores: dict[str, Any] = {group.name: np.ones(group.units) for group in self.sheet.groups}
        removal = choose_units(
            self.sheet,
            scores | self.by_group(a),
            self.target,
            criterion=_COMPARED_AS_THEY_ARE,
            allocation="global",
            budget=self.budget,
            limits=self.limits,
            overrides=self._overrides,
            protected=self._protected,
            kinds=self._kinds,
            milliseconds=self.milliseconds,
        )
        return {name: units for name, units in removal.items() if units}

    def share_of_macs(self, a: np.ndarray) -> float:
        """The target in MACs: what the removal would save of them if it came now.

        Raises:
            PlanError: see ``final``.
        """
        return 1.0 - self.sheet.counts(self.final(a)).macs / max(1, self.sheet.dense.macs)


def _between(ascending: np.ndarray, closed: int) -> float:
    """A threshold that so many of the values are below."""
    if closed == 0:
        return float(ascending[0])
    if closed == len(ascending):
        return float(np.nextafter(ascending[-1], np.inf))
    return float(ascending[closed - 1] + ascending[closed]) / 2
