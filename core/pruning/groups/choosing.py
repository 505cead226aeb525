"""From a plan and the groups of a model to the units that go."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from ...errors import PlanError
from .allocation import GROUP_ALLOCATIONS, GroupScores
from .base import GROUP_CRITERIA, Scores
from .budget import Candidate, Limits, Removal, allowed, choose

if TYPE_CHECKING:
    from ...comb.groups import Comb, Group
    from ...comb.preview import Preview

__all__ = ["Budget", "choose_units", "groups_of_layers", "per_cost", "resolved"]

Budget = Literal["parameters", "macs", "channels"]


def resolved(
    found: "Comb", overrides: Mapping[str, float], protected: Sequence[str]
) -> tuple[dict[str, float], set[str]]:
    """Overrides and protections by group, whether the plan names groups or layers.

    A layer stands for the groups that its own outputs belong to; others that shrink with it follow.

    Raises:
        PlanError: for an unknown name, a sparsity for a layer that cannot shrink (with the reason), or two different
            sparsities for one group.
    """
    ratios: dict[str, float] = {}
    for name, ratio in overrides.items():
        groups = groups_of_layers(found, name)
        if not groups and ratio > 0:
            frozen = next((group.frozen_reason for group in found.frozen if group.name == name), None)
            raise PlanError(f"“{name}” cannot be given a sparsity of {ratio:g}: {frozen or 'it belongs to no group'}.")
        for group in groups:
            if ratios.setdefault(group.name, ratio) != ratio:
                raise PlanError(
                    f"“{name}” shrinks together with “{group.name}”, but the plan gives them sparsities {ratio:g} and "
                    f"{ratios[group.name]:g}: give both the same."
                )
    held = {group.name for name in protected for group in groups_of_layers(found, name)}
    return {name: ratio for name, ratio in ratios.items() if name not in held}, held


def groups_of_layers(found: "Comb", name: str) -> "tuple[Group, ...]":
    """The groups over the outputs of the layer of this name, none for a frozen layer; or the group of this name.

    Many groups have the name of a layer: ``group:NAME`` means the one group.

    Raises:
        PlanError: when the model has neither.
    """
    layers = _layers(found)
    own = tuple(group for group in found.groups if group.name == name.removeprefix("group:") and name not in layers)
    if own:
        return own
    if name not in layers:
        known = ", ".join(group.name for group in found.groups[:5]) or "none"
        raise PlanError(f"The model has no group or layer named “{name}”; its groups are {known}, ….")
    return found.group_of(name)


def _layers(found: "Comb") -> set[str]:
    return set(found.model.prunable()) | {layer for group in found.groups for layer in group.layers}


def per_cost(found: "Comb", scores: Scores, count: "Callable[[Removal], Preview]", unit: Budget) -> Scores:
    """Scores divided by what removing one unit of the group saves, in parameters or MACs of the dense model."""
    dense = count({})
    result = {}
    for group in found.groups:
        less = count({group.name: [0]})
        saving = dense.macs - less.macs if unit == "macs" else dense.parameters - less.parameters
        result[group.name] = scores[group.name] / max(1, saving)
    return result


def choose_units(
    found: "Comb",
    scores: Scores,
    target: float,
    *,
    criterion: str,
    allocation: str,
    budget: Budget,
    limits: Limits,
    count: "Callable[[Removal], Preview]",
    overrides: Mapping[str, float],
    protected: Sequence[str],
    kinds: Sequence[str],
) -> Removal:
    """The units that go: least important first, until ``target`` of the budget's unit is saved.

    Raises:
        PlanError: for an unknown allocation, names that do not fit the model, or a target out of reach.
    """
    if allocation not in GROUP_ALLOCATIONS:
        raise PlanError(f"Unknown allocation for groups “{allocation}”; known: {', '.join(GROUP_ALLOCATIONS)}.")
    ratios, held = resolved(found, overrides, protected)
    open_groups = [
        group for group in found.groups if group.name in ratios or (group.name not in held and group.kind in kinds)
    ]
    order = GROUP_ALLOCATIONS[allocation].order(
        [
            GroupScores(
                group.name, (group.kind, len(group.members)), scores[group.name], GROUP_CRITERIA[criterion].comparable
            )
            for group in open_groups
        ]
    )
    candidates = [
        Candidate(group.name, order[group.name], _width(group), rounded=group.kind != "heads") for group in open_groups
    ]
    fixed = {c.name: _nearest(c, ratios[c.name], limits) for c in candidates if c.name in ratios}
    total = sum(group.units for group in found.groups)
    dense = count({})

    def saved(removal: Removal) -> float:
        if budget == "channels":
            return sum(map(len, removal.values())) / max(1, total)
        left = count(removal)
        return 1 - left.macs / max(1, dense.macs) if budget == "macs" else 1 - left.parameters / dense.parameters

    return choose(
        candidates, saved, target, limits=limits, fixed=fixed, repair=lambda removal: _repaired(found, removal, order)
    )


def _nearest(candidate: Candidate, ratio: float, limits: Limits) -> int:
    """Units to remove for a sparsity that a person fixed: it may go below “keep at least”, not between multiples."""
    wanted = ratio * len(candidate.values)
    return min(allowed(candidate, Limits(limits.round_to, 0.0)), key=lambda units: abs(units - wanted))


def _width(group: "Group") -> int:
    """Output channels of the layers that make it which one unit stands for."""
    members = [member for member in group.members if member.creates] or list(group.members)
    return max(1, *(int((member.unit_of_index >= 0).sum()) // group.units for member in members))


def _repaired(found: "Comb", removal: Removal, order: Mapping[str, np.ndarray]) -> Removal:
    """Put units back where units of several groups meet in one dimension and would leave nothing of it."""
    from ...comb.survivors import Survivors

    while True:
        empty = Survivors(found, removal, check=False).emptied()
        if not empty:
            return removal
        values = np.full(len(found.reader.variables), np.inf)
        owner: dict[int, tuple[str, int]] = {}
        for name, units in removal.items():
            for unit in units:
                leaf = int(found.leaves[name][unit])
                values[leaf], owner[leaf] = order[name][unit], (name, unit)
        columns = empty[0][1]
        best = columns[:, int(np.argmax(values[columns].min(axis=0)))]  # the index with the most important units
        back = {owner[leaf] for leaf in best.tolist() if leaf in owner}
        removal = {name: [unit for unit in units if (name, unit) not in back] for name, units in removal.items()}
