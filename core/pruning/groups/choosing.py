"""From a plan and the groups of a model to the units that go. Knows no torch: pages choose as methods do."""

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

import numpy as np

from ...comb.counting import Counts
from ...comb.sheet import GroupSheet, SheetGroup
from ...errors import PlanError
from .allocation import GROUP_ALLOCATIONS, GroupScores
from .base import GROUP_CRITERIA, Scores
from .budget import Candidate, Limits, Removal, allowed, choose

if TYPE_CHECKING:
    from ...comb.groups import Comb

__all__ = [
    "Budget",
    "Milliseconds",
    "checked_allocation",
    "checked_criterion",
    "choose_units",
    "groups_of_layers",
    "refuse_without_groups",
    "resolved",
    "savings",
]

Budget = Literal["parameters", "macs", "channels", "latency"]
Milliseconds = Callable[[Counts], float]
"""Predicted latency of what a removal leaves."""


def resolved(
    sheet: GroupSheet, overrides: Mapping[str, float], protected: Sequence[str]
) -> tuple[dict[str, float], set[str]]:
    """Overrides and protections by group, whether the plan names groups or layers.

    A layer stands for the groups that its own outputs belong to; others that shrink with it follow.

    Raises:
        PlanError: for an unknown name, a sparsity for a layer that cannot shrink (with the reason), or two different
            sparsities for one group.
    """
    ratios: dict[str, float] = {}
    for name, ratio in overrides.items():
        groups = groups_of_layers(sheet, name)
        if not groups and ratio > 0:
            frozen = next((group.reason for group in sheet.frozen if group.name == name), None)
            raise PlanError(f"“{name}” cannot be given a sparsity of {ratio:g}: {frozen or 'it belongs to no group'}.")
        for group in groups:
            if ratios.setdefault(group.name, ratio) != ratio:
                raise PlanError(
                    f"“{name}” shrinks together with “{group.name}”, but the plan gives them sparsities {ratio:g} and "
                    f"{ratios[group.name]:g}: give both the same."
                )
    held = {group.name for name in protected for group in groups_of_layers(sheet, name)}
    return {name: ratio for name, ratio in ratios.items() if name not in held}, held


def checked_criterion(name: str) -> str:
    """The name, when groups know this criterion.

    Raises:
        PlanError: when they do not.
    """
    if name not in GROUP_CRITERIA:
        raise PlanError(
            f"The criterion “{name}” ranks single weights; groups know {', '.join(GROUP_CRITERIA)}. Choose one of "
            "them in the method's settings."
        )
    return name


def checked_allocation(name: str) -> str:
    """The name, when groups know this allocation.

    Raises:
        PlanError: when they do not.
    """
    if name not in GROUP_ALLOCATIONS:
        raise PlanError(
            f"The allocation “{name}” shares single weights; groups know {', '.join(GROUP_ALLOCATIONS)}. Choose "
            "one of them in the method's settings."
        )
    return name


def refuse_without_groups(found: "Comb") -> None:
    """Refuse a model that has nothing to remove.

    Raises:
        PlanError: names the first dimension that cannot shrink, and why.
    """
    if not found.groups:
        reason = f" (“{found.frozen[0].name}”: {found.frozen[0].frozen_reason})" if found.frozen else ""
        raise PlanError(f"There is nothing to prune in this model: it has no group that can shrink{reason}.")


def groups_of_layers(sheet: GroupSheet, name: str) -> tuple[SheetGroup, ...]:
    """The groups over the outputs of the layer of this name, none for a frozen layer; or the group of this name.

    Many groups have the name of a layer: ``group:NAME`` means the one group.

    Raises:
        PlanError: when the model has neither.
    """
    layers = {*sheet.prunable, *(layer for group in sheet.groups for layer in group.layers)}
    own = tuple(group for group in sheet.groups if group.name == name.removeprefix("group:") and name not in layers)
    if own:
        return own
    if name not in layers:
        known = ", ".join(group.name for group in sheet.groups[:5]) or "none"
        raise PlanError(f"The model has no group or layer named “{name}”; its groups are {known}, ….")
    return sheet.groups_of(name)


def savings(
    sheet: GroupSheet,
    unit: Literal["parameters", "macs", "latency"],
    *,
    round_to: int = 1,
    milliseconds: Milliseconds | None = None,
) -> dict[str, float]:
    """What removing one unit of each group saves in the dense model: parameters, MACs or milliseconds.

    Milliseconds are not proportional to channels, so they are what removing half of the group saves, per unit; where
    that saves nothing, a thousandth of the network's time stands for it.
    """
    if unit == "latency":
        assert milliseconds is not None
        return {group.name: _saved_ms(sheet, group, round_to, milliseconds) for group in sheet.groups}
    return {g.name: float(max(1, g.unit_macs if unit == "macs" else g.unit_parameters)) for g in sheet.groups}


def _saved_ms(sheet: GroupSheet, group: SheetGroup, round_to: int, milliseconds: Milliseconds) -> float:
    """On the way to half of the group: one step alone may save nothing, and the next one much."""
    step = max(1, round_to // math.gcd(round_to, group.width))
    units = min(group.units - 1, max(1, round(group.units / 2 / step)) * step)
    dense = milliseconds(sheet.dense)
    saving = dense - milliseconds(sheet.counts({group.name: range(units)}))
    return max(saving, 1e-3 * dense) / max(1, units)


def choose_units(
    sheet: GroupSheet,
    scores: Scores,
    target: float,
    *,
    criterion: str,
    allocation: str,
    budget: Budget,
    limits: Limits,
    overrides: Mapping[str, float],
    protected: Sequence[str],
    kinds: Sequence[str],
    milliseconds: Milliseconds | None = None,
    least: Mapping[str, int] = MappingProxyType({}),
    saving: Mapping[str, float] = MappingProxyType({}),
    fill: bool = False,
) -> Removal:
    """The units that go: least important first, until ``target`` of the budget's unit is saved.

    ``milliseconds`` is what a budget of latency is counted with; ``least``, how many units of a
    group must stay, beside ``limits``; ``saving`` (see ``savings``), what scores are divided by where the allocation
    compares groups; ``fill``, whether the target matters more than the strict order (see ``choose``).

    Raises:
        PlanError: for an unknown allocation, names that do not fit the model, or a target out of reach.
    """
    if allocation not in GROUP_ALLOCATIONS:
        raise PlanError(f"Unknown allocation for groups “{allocation}”; known: {', '.join(GROUP_ALLOCATIONS)}.")
    ratios, held = resolved(sheet, overrides, protected)
    open_groups = [
        group for group in sheet.groups if group.name in ratios or (group.name not in held and group.kind in kinds)
    ]
    order = GROUP_ALLOCATIONS[allocation].order(
        [
            GroupScores(
                group.name,
                (group.kind, group.members),
                scores[group.name],
                comparable=GROUP_CRITERIA[criterion].comparable,
                saving=saving.get(group.name, 1.0),
            )
            for group in open_groups
        ]
    )
    candidates = [
        Candidate(
            group.name,
            order[group.name],
            group.width,
            rounded=group.kind != "heads",
            least=least.get(group.name, 1),
        )
        for group in open_groups
    ]
    fixed = {c.name: _nearest(c, ratios[c.name], limits) for c in candidates if c.name in ratios}
    total = sum(group.units for group in sheet.groups)
    dense = sheet.dense
    dense_ms = milliseconds(dense) if budget == "latency" and milliseconds is not None else 1.0

    def saved(removal: Removal) -> float:
        if budget == "channels":
            return sum(map(len, removal.values())) / max(1, total)
        left = sheet.counts(removal)
        if budget == "latency" and milliseconds is not None:
            return 1 - milliseconds(left) / dense_ms
        return 1 - left.macs / max(1, dense.macs) if budget == "macs" else 1 - left.parameters / dense.parameters

    return choose(
        candidates,
        saved,
        target,
        limits=limits,
        fixed=fixed,
        repair=lambda removal: _repaired(sheet, removal, order),
        fill=fill,
    )


def _nearest(candidate: Candidate, ratio: float, limits: Limits) -> int:
    """Units to remove for a sparsity that a person fixed: it may go below “keep at least”, not between multiples."""
    wanted = ratio * len(candidate.values)
    return min(allowed(candidate, Limits(limits.round_to, 0.0)), key=lambda units: abs(units - wanted))


def _repaired(sheet: GroupSheet, removal: Removal, order: Mapping[str, np.ndarray]) -> Removal:
    """Put units back where units of several groups meet in one dimension and would leave nothing of it."""
    while empty := sheet.emptied(removal):
        values = np.full(sheet.counter.units + 1, np.inf)
        for name, units in removal.items():
            values[sheet.gone({name: units})] = order[name][np.sort(units)]
        columns = empty[0][1]
        best = columns[:, int(np.argmax(values[columns].min(axis=0)))]  # the index with the most important units
        back = {sheet.owner(unit) for unit in best.tolist() if np.isfinite(values[unit])}
        removal = {name: [unit for unit in units if (name, unit) not in back] for name, units in removal.items()}
    return removal
