"""Families of plans: one plan for every amount t that is to be removed, so that a search has one number to turn.

Every family keeps what the draft fixes, protects and sets; they differ in how the rest is shared. Knows no torch.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ..comb.counting import Counts
from ..comb.sheet import GroupSheet
from ..errors import PlanError
from ..methods.one_shot_structured import OneShotStructuredSettings, planned_removal
from ..pruning.allocation import ALLOCATIONS, layers_without_curves
from ..pruning.curves import convex_curve, share_by_price
from ..pruning.groups import GROUP_ALLOCATIONS
from ..pruning.groups.choosing import resolved, savings
from ..pruning.plan import Plan
from ..wording import percent

__all__ = ["CURVES", "Cost", "Family", "layer_families", "unit_families"]

Cost = Literal["bytes", "parameters", "macs", "ms"]

CURVES = "curves"
"""Name of the family that shares by measured curves: marginal loss per saved cost."""

_DIGITS = 4
_BUDGETS: dict[Cost, Literal["parameters", "macs"]] = {
    "bytes": "parameters",
    "parameters": "parameters",
    "macs": "macs",
    "ms": "macs",
}
"""What the amount of a family over groups is a fraction of. Milliseconds jump between channel numbers: MACs lead."""


@dataclass(frozen=True)
class Family:
    """``plan(t)`` for t from 0 (nothing but what the draft fixes) to ``top`` (the most that is possible).

    ``limit`` says in words what keeps t from going beyond ``top``.
    """

    name: str
    title: str
    plan: Callable[[float], Plan]
    top: float
    limit: str


def layer_families(
    base: Plan, sizes: Mapping[str, int], *, sensitivity: Mapping[str, Any] | None, allocations: Sequence[str]
) -> list[Family]:
    """Families over single weights: one per allocation; the one that needs curves only where there are any.

    Args:
        base: the draft.
        sizes: weights of every prunable layer.
        sensitivity: measured curves, or None.
        allocations: names of allocations, the preferred one first.

    Raises:
        PlanError: when the draft leaves no layer free.
    """
    free = {name: size for name, size in sizes.items() if name not in base.settled}
    if not free:
        raise PlanError("Every layer is protected or fixed: free a layer, so that a search has something to share.")
    total = sum(free.values())
    top = (total - len(free)) / total
    limit = f"one weight of each of the {len(free)} free layers must stay"
    if len(free) < len(sizes):
        limit += f", and {len(sizes) - len(free)} layers are protected or fixed"
    families = []
    for name in dict.fromkeys(allocations):
        if ALLOCATIONS[name].needs_sensitivity and layers_without_curves(list(free), sensitivity):
            continue

        def plan(t: float, allocation: str = name) -> Plan:
            return base.changed(allocation=allocation, sparsity=_rounded(t, top))

        families.append(Family(name, ALLOCATIONS[name].title, plan, top, limit))
    return families


def unit_families(
    base: Plan,
    sheet: GroupSheet,
    *,
    curves: Mapping[str, Sequence[Mapping[str, Any]]] | None,
    cost: Cost,
    allocations: Sequence[str],
    milliseconds: Callable[[Counts], float] | None = None,
) -> list[Family]:
    """Families over units of groups: measured curves first (where all free groups have one), then allocations.

    Args:
        base: the draft, of the method ``one_shot_structured``.
        sheet: the groups with scores that stand for those of the run.
        curves: group → measured points, or None.
        cost: what is to be saved.
        allocations: names of group allocations, the preferred one first.
        milliseconds: latency of what is left, for ``cost="ms"``.

    Raises:
        PlanError: when the draft leaves no group free, or names what the model does not have.
    """
    settings = OneShotStructuredSettings.parse(base.method_settings)
    ratios, held = resolved(sheet, base.overrides, base.protected)
    free = [
        group
        for group in sheet.groups
        if group.name not in ratios and group.name not in held and group.kind in settings.kinds
    ]
    if not free:
        raise PlanError("Every group is protected, fixed or left out: free a group, so that a search has a choice.")
    limit = f"{percent(settings.min_keep, 0)} of every group must stay"
    if settings.round_to > 1:
        limit += f", in multiples of {settings.round_to} channels"
    if held:
        limit += f", and {len(held)} groups are protected"
    families = []
    if curves is not None and all(curves.get(group.name) for group in free):
        unit = "latency" if cost == "ms" and milliseconds is not None else _BUDGETS[cost]
        saved = savings(sheet, unit, round_to=settings.round_to, milliseconds=milliseconds)
        whole = np.array([group.units * saved[group.name] for group in free])
        most = whole * np.array([max(0.0, 1.0 - max(settings.min_keep, 1.0 / group.units)) for group in free])
        convex = [convex_curve(curves[group.name]) for group in free]
        top = float(most.sum() / whole.sum()) - 1e-3

        def priced(t: float) -> Plan:
            given = (
                share_by_price(convex, whole.tolist(), most, max(t, 1e-6) * float(whole.sum())) if t > 0 else 0 * most
            )
            shares = {f"group:{g.name}": round(float(x), _DIGITS) for g, x in zip(free, given / whole, strict=True)}
            return base.changed(
                sparsity=0.0, overrides={**base.overrides, **{k: v for k, v in shares.items() if v > 0}}
            )

        if top > 0:
            families.append(Family(CURVES, "Measured curves, per saved cost", priced, top, limit))
    for name in dict.fromkeys(allocations):
        budget = _BUDGETS[cost]
        own = {**base.method_settings, "budget": budget, "allocation": "plan"}

        def plan(t: float, allocation: str = name, own: dict[str, Any] = own) -> Plan:
            return base.changed(allocation=allocation, sparsity=_rounded(t, 0.999), method_settings=own)

        top = _most(sheet, plan)
        families.append(Family(name, GROUP_ALLOCATIONS[name].title, plan, top, limit))
    return families


def _rounded(t: float, top: float) -> float:
    return min(round(max(t, 0.0), _DIGITS), max(0.0, top))


def _most(sheet: GroupSheet, plan: Callable[[float], Plan]) -> float:
    """The largest t that does not ask for more than the limits allow, to a thousandth."""
    low, high = 0.0, 0.999
    while high - low > 1e-3:
        middle = (low + high) / 2.0
        try:
            planned_removal(sheet, plan(middle))
        except PlanError:
            high = middle
        else:
            low = middle
    return low
