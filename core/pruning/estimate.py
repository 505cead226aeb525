"""What a plan is expected to do, at once and without running the model. Knows no torch.

``preview`` is what the Plan page counts while a slider moves. What a plan does to the score is estimated in
``core.planning.whatif``; here only the weights speak, and say so.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .allocation import ALLOCATIONS, LayerScores, allocate
from .plan import Plan

__all__ = ["LEVELS", "energy_removed", "estimate_weights_only", "preview", "weights_only_sensitivity"]

LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""The nine sparsity levels of every sensitivity curve unless the settings say otherwise."""


def energy_removed(quantiles: NDArray[Any], sparsity: float) -> float:
    """Share of Σw² that falls when the smallest weights go, in [0, 1].

    Args:
        quantiles: |w| ascending at evenly spaced probabilities 0…1 (or every |w|), as in ``LayerWeights.quantiles``.
        sparsity: fraction removed.
    """
    magnitudes = np.asarray(quantiles, dtype=np.float64)
    if len(magnitudes) == 0 or magnitudes[-1] <= 0 or sparsity <= 0:
        return 0.0
    if len(magnitudes) == 1:
        return float(sparsity >= 1.0)
    low, high = magnitudes[:-1], magnitudes[1:]
    running = np.append(0.0, np.cumsum((low * low + low * high + high * high) / 3.0))
    positions = np.linspace(0.0, 1.0, len(magnitudes))
    return float(min(1.0, np.interp(sparsity, positions, running) / running[-1]))


def weights_only_sensitivity(weight_stats: Mapping[str, Any], *, levels: Sequence[float] = LEVELS) -> dict[str, Any]:
    """An instant stand-in for measured sensitivity: the relative energy Σw² that each level removes from a layer.

    The shape is that of ``measure_sensitivity``, marked ``{"estimated": True, "basis": "weights only"}``: ``dloss``
    holds the removed energy (0…1, without unit) and the measured fields are ``None``. It is good for a first look at
    which layers have small weights to spare; it is not a loss.
    """
    layers = {}
    for name, stats in weight_stats.items():
        layers[name] = [
            {"sparsity": level, "loss": None, "score": None, "low": None, "high": None, "n": 0}
            | {"dloss": energy_removed(stats.quantiles, level), "dloss_se": 0.0}
            for level in levels
        ]
    return {
        "estimated": True,
        "basis": "weights only",
        "complete": True,
        "metric": "relative energy removed",
        "n": 0,
        "dense": {"loss": None, "score": None, "low": None, "high": None, "n": 0},
        "settings": {"levels": list(levels), "criterion": "magnitude"},
        "layers": layers,
    }


def estimate_weights_only(weight_stats: Mapping[str, Any], sparsities: Mapping[str, float]) -> dict[str, Any]:
    """Removed energy per layer and over all layers of a plan, from the weights alone (magnitude pruning).

    Returns:
        ``{"estimated": True, "basis": "weights only", "energy_removed": share over all layers, "layers": {name: …}}``.
    """
    layers, removed, total = {}, 0.0, 0.0
    for name, stats in weight_stats.items():
        share = energy_removed(stats.quantiles, sparsities.get(name, 0.0))
        energy = float(stats.size) * float(np.mean(np.square(_table(stats.quantiles), dtype=np.float64)))
        layers[name] = share
        removed, total = removed + share * energy, total + energy
    share = removed / total if total > 0 else 0.0
    return {"estimated": True, "basis": "weights only", "energy_removed": share, "layers": layers}


def _table(quantiles: NDArray[Any]) -> NDArray[Any]:
    """At least two points: a layer of one weight, or without any finite weight, has fewer."""
    return np.resize(quantiles, 2) if len(quantiles) == 1 else quantiles if len(quantiles) else np.zeros(2)


def preview(
    plan: Plan,
    weight_statistics: Mapping[str, Any],
    description: Mapping[str, Any],
    sensitivity: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What a plan does to each layer, in milliseconds, from stored statistics.

    Args:
        plan: the draft.
        weight_statistics: layer name → ``LayerWeights`` (needs ``shape``, ``size``, ``quantiles`` of |w|).
        description: result of ``describe_model`` (``layers`` with ``name``, ``macs``, ``parameters``; ``parameters``
            and ``macs`` of the model).
        sensitivity: measured curves, for the allocation of that name.

    Returns:
        JSON: ``layers`` (name, kind, size, removed, nonzero, sparsity, macs, macs_if_zeros_skipped, energy_removed),
        ``totals`` (the same summed, plus ``parameters``, ``nonzero_parameters`` and ``sparsity`` over prunable
        weights), ``estimate`` (see ``estimate_weights_only``), ``counts_exact`` (uniform, ERK
        and sensitivity counts are those of the run; global and LAMP counts are read off quantile tables) and
        ``notes``. MACs "if zeros were skipped" are nominal: dense kernels do not skip zeros.

    Raises:
        PlanError: as ``allocate``.
    """
    information = {layer["name"]: layer for layer in description["layers"]}
    notes: list[str] = []
    ranked = plan.allocation in ALLOCATIONS and ALLOCATIONS[plan.allocation].needs_scores
    if ranked and plan.criterion not in ("magnitude", "random"):
        notes.append(
            f"Layer shares of “{plan.criterion}” need data: this preview uses weight magnitudes instead, so the run "
            "will share the weights differently."
        )
    if plan.patterns:
        notes.append("Layers with a pattern are estimated as if they had as many zeros anywhere: blocks cost more.")
    # Random scores have the same distribution in every layer.
    even = np.linspace(0.0, 1.0, 1025) if plan.criterion == "random" else None
    layers = [
        LayerScores(name, tuple(stats.shape), int(stats.size), _table(stats.quantiles if even is None else even))
        for name, stats in weight_statistics.items()
    ]
    counts = allocate(layers, plan, sensitivity=sensitivity)
    sparsities = {layer.name: counts[layer.name] / layer.size if layer.size else 0.0 for layer in layers}
    energy = estimate_weights_only(weight_statistics, sparsities)
    rows: list[dict[str, Any]] = []
    for layer in layers:
        macs = int(information.get(layer.name, {}).get("macs", 0))
        sparsity = sparsities[layer.name]
        rows.append(
            {
                "name": layer.name,
                "kind": information.get(layer.name, {}).get("kind", ""),
                "size": layer.size,
                "removed": counts[layer.name],
                "nonzero": layer.size - counts[layer.name],
                "sparsity": sparsity,
                "macs": macs,
                "macs_if_zeros_skipped": round(macs * (1.0 - sparsity)),
                "energy_removed": energy["layers"][layer.name] if plan.criterion == "magnitude" else sparsity,
            }
        )
    removed, size = sum(row["removed"] for row in rows), sum(row["size"] for row in rows)
    totals = {
        "size": size,
        "removed": removed,
        "sparsity": removed / size if size else 0.0,
        "parameters": int(description["parameters"]),
        "nonzero_parameters": int(description["parameters"]) - removed,
        "macs": int(description["macs"]),
        "macs_if_zeros_skipped": int(description["macs"]) - sum(r["macs"] - r["macs_if_zeros_skipped"] for r in rows),
    }
    return {
        "layers": rows,
        "totals": totals,
        "estimate": energy,
        "counts_exact": not ranked or (plan.criterion == "magnitude" and all(layer.exact for layer in layers)),
        "notes": notes,
    }
