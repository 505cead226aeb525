"""Masks for one moment of a gradual run: chosen anew from the stored weights, exact counts, exact at the end."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from .criteria import CalibrationContext
from .patterns import pattern_of
from .plan import Plan
from .ranking import choose_masks, counts_for, rank, resolve_shared
from .schedules import SCHEDULES

__all__ = ["Exchange", "masks_at", "pattern_shares", "plan_at"]


def plan_at(plan: Plan, schedule: str, progress: float) -> Plan:
    """The plan as it stands at ``progress`` (0 to 1) of a schedule; every override follows the same schedule."""
    curve = SCHEDULES[schedule]
    return plan.changed(
        sparsity=curve(progress, plan.sparsity),
        overrides={name: curve(progress, sparsity) for name, sparsity in plan.overrides.items()},
    )


def pattern_shares(plan: Plan, schedule: str, progress: float) -> dict[str, float]:
    """How much of every patterned layer is gone at ``progress``: its pattern follows the schedule, too."""
    curve = SCHEDULES[schedule]
    return {name: curve(progress, pattern_of(text).sparsity) for name, text in plan.patterns.items()}


def masks_at(
    model: Any,
    plan: Plan,
    context: CalibrationContext,
    *,
    sensitivity: Mapping[str, Any] | None = None,
    gone: Mapping[str, Tensor] | None = None,
    shares: Mapping[str, float] | None = None,
) -> dict[str, Tensor]:
    """One mask per prunable layer that fulfils ``plan`` on the weights as they are stored now.

    Args:
        model: without parametrizations, so that the criterion sees θ, not θ·M.
        gone: masks of a run without recovery: what they remove stays removed, even where the plan now asks for less.
        shares: see ``pattern_shares``; patterned layers that are not named get their whole pattern.

    Raises:
        PlanError: as ``rank`` and ``counts_for``.
    """
    ranking = rank(model, plan, context)
    resolved = resolve_shared(plan, ranking.aliases)
    partial = {ranking.aliases.get(name, name): share for name, share in (shares or {}).items()}
    if gone is not None:
        # Below every score where a pattern chooses: of a block, what is gone goes first.
        scores = {
            name: score.masked_fill(~gone[name].to(score.device), -1.0 if name in resolved.patterns else 0.0)
            for name, score in ranking.scores.items()
        }
        ranking = replace(ranking, scores=scores)
    wanted = counts_for(ranking, plan, sensitivity=sensitivity)
    wanted |= {name: round(share * ranking.scores[name].numel()) for name, share in partial.items()}
    if gone is None:
        return choose_masks(ranking, plan, wanted)
    least = {name: int((~gone[name]).sum()) for name in wanted}
    counts = _at_least(wanted, least, held={*resolved.settled})
    chosen = choose_masks(ranking, plan, counts)
    return {
        name: _without_return(mask, gone[name], scores[name], mask.numel() - counts[name]) if name in counts else mask
        for name, mask in chosen.items()
    }


def _at_least(wanted: Mapping[str, int], least: Mapping[str, int], *, held: set[str]) -> dict[str, int]:
    """Counts that never fall below ``least``; what that adds is taken back where most was going to be removed anew.

    Overridden and patterned layers (``held``) settle on their own and give nothing to others.
    """
    counts = {name: max(count, least[name]) for name, count in wanted.items()}
    free = [name for name in counts if name not in held]
    excess = sum(counts[name] - wanted[name] for name in free)
    for name in sorted(free, key=lambda name: least[name] - counts[name]):
        back = min(excess, counts[name] - least[name])
        counts[name] -= back
        excess -= back
    return counts


def _without_return(mask: Tensor, gone: Tensor, scores: Tensor, keep: int) -> Tensor:
    """``mask`` without the weights that are gone, filled up to ``keep`` with the best of those that are still there."""
    mask = mask & gone
    missing = keep - int(mask.sum())
    if missing > 0:
        candidates = scores.masked_fill(mask | ~gone, -1.0).reshape(-1)
        mask = mask.reshape(-1).clone()
        mask[torch.argsort(candidates, descending=True, stable=True)[:missing]] = True
        mask = mask.reshape(gone.shape)
    return mask


class Exchange:
    """What changed between two choices of masks: weights that came back, weights newly hidden, and the overlap."""

    def __init__(self, before: Mapping[str, Tensor] | None, after: Mapping[str, Tensor]) -> None:
        self.revived = self.hidden = both = either = 0
        for name, new in after.items():
            old = torch.ones_like(new) if before is None else before[name]
            self.revived += int((new & ~old).sum())
            self.hidden += int((old & ~new).sum())
            both += int((old & new).sum())
            either += int((old | new).sum())
        self.jaccard = both / either if either else 1.0

    def to_json(self) -> dict[str, Any]:
        """``revived``, ``hidden`` (counts) and ``jaccard`` (kept in both / kept in either)."""
        return {"revived": self.revived, "hidden": self.hidden, "jaccard": self.jaccard}
