"""From a model and a plan to scores and exact counts per layer: the steps that all mask-based methods share."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import PlanError
from .allocation import ALLOCATIONS, LayerScores, allocate
from .criteria import CRITERIA, CalibrationContext, score_layers
from .masks import keep_pattern, masks_for
from .patterns import pattern_of
from .plan import Plan

__all__ = ["Ranking", "check_plan", "choose_masks", "counts_for", "rank", "resolve_shared", "unique_layers"]


def unique_layers(model: Any) -> tuple[dict[str, nn.Module], dict[str, str]]:
    """The prunable layers with each shared weight once, and the other names of shared weights.

    Returns:
        ``(layers, aliases)``: name → module of the first layer that owns a weight, in execution order; later name →
        first name.

    Raises:
        PlanError: when there is no prunable layer.
    """
    layers: dict[str, nn.Module] = {}
    aliases: dict[str, str] = {}
    first: dict[int, str] = {}
    for name, module in model.prunable().items():
        owner = first.setdefault(id(module.weight), name)
        if owner == name:
            layers[name] = module
        else:
            aliases[name] = owner
    if not layers:
        raise PlanError(
            "There is nothing to prune in this model: it has no convolution and no linear layer with a weight of its "
            "own."
        )
    return layers, aliases


def resolve_shared(plan: Plan, aliases: Mapping[str, str]) -> Plan:
    """The plan with every shared weight under its first name.

    Raises:
        PlanError: when two names of one weight are given different sparsities or patterns.
    """
    overrides: dict[str, float] = {}
    for name, sparsity in plan.overrides.items():
        owner = aliases.get(name, name)
        if overrides.setdefault(owner, sparsity) != sparsity:
            raise PlanError(
                f"“{name}” and “{owner}” share one weight, but the plan gives them sparsities {sparsity:g} and "
                f"{overrides[owner]:g}: give both the same."
            )
    patterns: dict[str, str] = {}
    for name, pattern in plan.patterns.items():
        owner = aliases.get(name, name)
        if patterns.setdefault(owner, pattern) != pattern:
            raise PlanError(
                f"“{name}” and “{owner}” share one weight, but the plan gives them the patterns {pattern} and "
                f"{patterns[owner]}: give both the same."
            )
    protected = tuple(dict.fromkeys(aliases.get(name, name) for name in plan.protected))
    return plan.changed(overrides=overrides, patterns=patterns, protected=protected)


def check_plan(model: Any, splits: Any, plan: Plan) -> None:
    """Refuse what cannot work before anything is computed.

    Raises:
        PlanError: nothing to prune in the model or left by the plan, unknown criterion, allocation or layer, a target
            that would empty a layer, or a criterion that needs data when there are none.
    """
    layers, aliases = unique_layers(model)
    if plan.criterion not in CRITERIA:
        raise PlanError(f"Unknown criterion “{plan.criterion}”; known: {', '.join(CRITERIA)}.")
    if plan.allocation not in ALLOCATIONS:
        raise PlanError(f"Unknown allocation “{plan.allocation}”; known: {', '.join(ALLOCATIONS)}.")
    if CRITERIA[plan.criterion].needs_data and splits is None:
        raise PlanError(f"The criterion “{plan.criterion}” looks at activations: choose a data set first.")
    resolved = resolve_shared(plan, aliases)
    shapes = [LayerScores(n, tuple(m.weight.shape), m.weight.numel()) for n, m in layers.items()]  # type: ignore[operator, arg-type]
    allocate(shapes, resolved.changed(allocation="uniform"))  # names and limits do not depend on the allocation
    if plan.sparsity > 0 and resolved.settled >= set(layers):
        raise PlanError(
            f"Every layer is protected or has a sparsity or pattern of its own, so that sparsity {plan.sparsity:g} has "
            "no layer to act on: free a layer, or set the sparsity to 0."
        )


@dataclass(frozen=True)
class Ranking:
    """Scores of every prunable weight that may change, and what a person should know about them."""

    layers: dict[str, nn.Module]
    aliases: dict[str, str]
    scores: dict[str, Tensor]
    notes: tuple[str, ...]


def rank(model: Any, plan: Plan, context: CalibrationContext) -> Ranking:
    """Score all prunable layers with the plan's criterion; protected layers are left out (their weights all stay).

    Raises:
        PlanError: as ``score_layers``.
    """
    layers, aliases = unique_layers(model)
    resolved = resolve_shared(plan, aliases)
    wanted = [name for name in layers if name not in resolved.protected]
    criterion = CRITERIA[plan.criterion]
    scores = dict(score_layers(plan.criterion, model, wanted, context)) if wanted else {}
    notes = []
    if aliases:
        pairs = ", ".join(f"“{name}” with “{owner}”" for name, owner in aliases.items())
        notes.append(f"Shared weights are pruned once: {pairs}.")
    silent = [name for name, score in scores.items() if criterion.needs_data and not bool(score.any())]
    if silent:
        notes.append(f"No calibration image reached {', '.join(silent)}: its weights fall in the order of their index.")
    if criterion.scope == "row" and ALLOCATIONS[plan.allocation].needs_scores:
        notes.append(
            f"“{plan.criterion}” compares weights inside each output row; the allocation “{plan.allocation}” compared "
            "them across layers to set the layers' totals."
        )
    return Ranking(layers, aliases, scores, tuple(notes))


def counts_for(ranking: Ranking, plan: Plan, *, sensitivity: Mapping[str, Any] | None = None) -> dict[str, int]:
    """Exact number of weights to remove from each scored layer, from ``allocate`` on the exact scores.

    Raises:
        PlanError: as ``allocate``.
    """
    resolved = resolve_shared(plan, ranking.aliases)
    sort = ALLOCATIONS[plan.allocation].needs_scores and resolved.sparsity > 0
    layers = []
    for name, module in ranking.layers.items():
        weight: Any = module.weight
        scores = None
        if sort and name in ranking.scores and name not in resolved.settled:
            scores = np.sort(ranking.scores[name].detach().reshape(-1).cpu().numpy())
        layers.append(LayerScores(name, tuple(weight.shape), weight.numel(), scores))
    counts = allocate(layers, resolved, sensitivity=sensitivity)
    return {name: counts[name] for name in ranking.scores}


def choose_masks(ranking: Ranking, plan: Plan, counts: Mapping[str, int]) -> dict[str, Tensor]:
    """A mask for every prunable layer in execution order, compared as the criterion wants; protected ones keep all.

    A layer with a pattern keeps its best of every block; where ``counts`` ask for less than the pattern, as on the way
    of a gradual run, the best of what the pattern would take stays, too.
    """
    patterns = resolve_shared(plan, ranking.aliases).patterns
    free = {name: score for name, score in ranking.scores.items() if name not in patterns}
    chosen = masks_for(free, counts, scope=CRITERIA[plan.criterion].scope)
    chosen |= {
        name: keep_pattern(ranking.scores[name], pattern_of(text), remove=counts[name])
        for name, text in patterns.items()
    }
    return {
        name: chosen[name] if name in chosen else torch.ones_like(module.weight, dtype=torch.bool)  # type: ignore[arg-type]
        for name, module in ranking.layers.items()
    }
