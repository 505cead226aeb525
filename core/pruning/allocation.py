"""How the removed weights are shared among the layers. Numpy only: pages preview with the same code that runs use.

``allocate`` turns a plan into one exact count per layer. Overridden and protected layers are settled first; the
chosen allocation shares the rest: exactly ``round(sparsity × free weights)``, at least one weight staying per layer.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..errors import PlanError
from ..registry import Registry
from .curves import convex_curve, share_by_price
from .patterns import pattern_of, pattern_problem
from .plan import Plan
from .scores import LayerScores, lamp_scores, threshold_counts

__all__ = ["ALLOCATIONS", "Allocation", "LayerScores", "allocate", "layers_without_curves"]

Array = NDArray[np.float64]


class Allocation(ABC):
    """A rule that shares ``remove`` weights among layers; a class that is never instantiated."""

    title: ClassVar[str]
    needs_scores: ClassVar[bool] = False
    needs_sensitivity: ClassVar[bool] = False

    @classmethod
    @abstractmethod
    def share(
        cls, layers: Sequence[LayerScores], remove: int, *, sensitivity: Mapping[str, Any] | None = None
    ) -> dict[str, int]:
        """Number of weights to remove from each layer; the sum is ``remove``, one weight stays in each layer."""


ALLOCATIONS: Registry[type[Allocation]] = Registry("allocation")


def _round_to_total(wanted: Array, ceilings: Array, total: int) -> NDArray[np.int64]:
    """Integers near ``wanted`` that sum to ``total`` (largest remainder first, then by index), within 0…ceilings."""
    counts = np.minimum(np.floor(wanted + 1e-9), ceilings).astype(np.int64)
    left = total - int(counts.sum())
    for sign in (1, -1):
        while left * sign > 0:
            room = counts < ceilings if sign > 0 else counts > 0
            order = np.argsort(-sign * (wanted - counts) + np.where(room, 0.0, np.inf), kind="stable")
            chosen = order[: min(abs(left), int(room.sum()))]
            if not len(chosen):
                raise PlanError(f"Cannot share {total} weights among layers that hold {int(ceilings.sum())}.")
            counts[chosen] += sign
            left -= sign * len(chosen)
    return counts


def _scaled_to_total(amounts: Callable[[float], Array], total: float) -> Array:
    """``amounts(factor)``, non-decreasing in the factor, at the factor where it sums to ``total`` (bisection)."""
    low, high = 0.0, 1.0
    while amounts(high).sum() < total and high < 1e300:
        low, high = high, high * 4.0
    for _ in range(200):
        middle = (low + high) / 2.0
        if middle in (low, high):
            break
        if amounts(middle).sum() < total:
            low = middle
        else:
            high = middle
    return amounts(high)


def _named(layers: Sequence[LayerScores], counts: NDArray[np.int64]) -> dict[str, int]:
    return {layer.name: int(count) for layer, count in zip(layers, counts, strict=True)}


def _limits(layers: Sequence[LayerScores]) -> Array:
    return np.array([layer.limit for layer in layers], dtype=np.float64)


@ALLOCATIONS.register("uniform")
class Uniform(Allocation):
    """The same sparsity in every layer."""

    title = "Uniform"

    @classmethod
    def share(
        cls, layers: Sequence[LayerScores], remove: int, *, sensitivity: Mapping[str, Any] | None = None
    ) -> dict[str, int]:
        sizes, limits = np.array([float(layer.size) for layer in layers]), _limits(layers)
        wanted = _scaled_to_total(lambda sparsity: np.minimum(sparsity * sizes, limits), remove)
        return _named(layers, _round_to_total(wanted, limits, remove))


@ALLOCATIONS.register("global")
class Global(Allocation):
    """One threshold over all layers: the least important weights go, wherever they are."""

    title = "Global"
    needs_scores = True

    @classmethod
    def share(
        cls, layers: Sequence[LayerScores], remove: int, *, sensitivity: Mapping[str, Any] | None = None
    ) -> dict[str, int]:
        return threshold_counts(layers, remove)


@ALLOCATIONS.register("erk")
class ErdosRenyiKernel(Allocation):
    """Erdős–Rényi kernel: large layers are pruned harder, by their shape alone (Evci et al., ICML 2020).

    density_l = ε·(n_in + n_out + k_h + k_w)/(n_in·n_out·k_h·k_w), clipped at 1; ε is solved again until the total fits.
    """

    title = "ERK"

    @classmethod
    def share(
        cls, layers: Sequence[LayerScores], remove: int, *, sensitivity: Mapping[str, Any] | None = None
    ) -> dict[str, int]:
        sizes, limits = np.array([float(layer.size) for layer in layers]), _limits(layers)
        raw = np.array([float(sum(layer.shape)) for layer in layers])  # density × size, up to ε
        keep = sizes.sum() - remove
        kept = _scaled_to_total(lambda epsilon: np.clip(epsilon * raw, sizes - limits, sizes), keep)
        return _named(layers, _round_to_total(sizes - kept, limits, remove))


@ALLOCATIONS.register("lamp")
class Lamp(Allocation):
    """LAMP: one threshold over scores normalised within each layer (Lee et al., ICLR 2021)."""

    title = "LAMP"
    needs_scores = True

    @classmethod
    def share(
        cls, layers: Sequence[LayerScores], remove: int, *, sensitivity: Mapping[str, Any] | None = None
    ) -> dict[str, int]:
        return threshold_counts([lamp_scores(layer) for layer in layers], remove)


@ALLOCATIONS.register("sensitivity")
class MeasuredSensitivity(Allocation):
    """Sensitivity-driven: every layer gives weights until one more would cost the same measured loss everywhere.

    Minimises the sum of the layers' measured loss curves (made monotone and convex, plus the doubt that single-layer
    measurements leave, see ``curves.with_doubt``) under the budget: segments of the curves are taken in the order of
    loss per removed weight; λ, the price at which the budget is met, is bisected.
    """

    title = "Sensitivity"
    needs_sensitivity = True

    @classmethod
    def share(
        cls, layers: Sequence[LayerScores], remove: int, *, sensitivity: Mapping[str, Any] | None = None
    ) -> dict[str, int]:
        lacking = layers_without_curves([layer.name for layer in layers], sensitivity)
        if sensitivity is None or lacking:
            raise PlanError(
                "The sensitivity allocation needs the measured sensitivity of every free layer; "
                f"{_listed(lacking)} {'has' if len(lacking) == 1 else 'have'} none. Measure sensitivity first, or "
                "choose another allocation."
            )
        limits = _limits(layers)
        curves = [convex_curve(sensitivity["layers"][layer.name]) for layer in layers]
        wanted = share_by_price(curves, [float(layer.size) for layer in layers], limits, remove)
        return _named(layers, _round_to_total(wanted, limits, remove))


def layers_without_curves(names: Sequence[str], sensitivity: Mapping[str, Any] | None) -> list[str]:
    """The layers that have no measured sensitivity; a weights-only estimate counts as not measured."""
    if sensitivity is None or sensitivity.get("estimated"):
        return list(names)
    curves = sensitivity["layers"]
    return [name for name in names if not any(point["sparsity"] > 0 for point in curves.get(name) or ())]


def _listed(names: Sequence[str], most: int = 3) -> str:
    shown = ", ".join(f"“{name}”" for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def _at_most(limit: int, size: int) -> str:
    """The largest sparsity, cut after six decimals, that removes no more than ``limit`` of ``size`` weights."""
    return f"{math.floor(1e6 * limit / max(size, 1)) / 1e6:g}" if size < 10**6 else f"{limit / size:.9f}"


def allocate(
    layers: Sequence[LayerScores], plan: Plan, *, sensitivity: Mapping[str, Any] | None = None
) -> dict[str, int]:
    """How many weights every layer loses under a plan.

    Args:
        layers: all prunable layers, each shared weight once, in execution order.
        plan: ``sparsity`` holds over the free layers, those that are neither protected, overridden nor patterned.
        sensitivity: result of ``measure_sensitivity``, needed by the allocation ``sensitivity``.

    Returns:
        Layer name → removed weights, for every layer. The free layers sum exactly to
        ``round(sparsity × free weights)``; an overridden layer loses ``round(override × size)``; one with a pattern
        what the pattern says; a protected one 0.

    Raises:
        PlanError: unknown layers or allocation, a layer with two of protection, a sparsity of its own and a pattern, a
            pattern that a layer's input dimension does not allow, a target that would empty a layer (names the limit
            and the nearest possible value), or missing sensitivity curves.
    """
    if plan.allocation not in ALLOCATIONS:
        raise PlanError(f"Unknown allocation “{plan.allocation}”; known: {', '.join(ALLOCATIONS)}.")
    known = {layer.name: layer for layer in layers}
    unknown = [name for name in (*plan.overrides, *plan.patterns, *plan.protected) if name not in known]
    if unknown:
        raise PlanError(
            f"The plan names {_listed(unknown)}, which this model does not have as a prunable layer. "
            f"Remove it from the plan; prunable are {_listed(list(known), 5) or 'none'}."
        )
    both = [name for name in plan.overrides if name in plan.protected]
    if both:
        raise PlanError(f"{_listed(both)} cannot be both protected and given a sparsity of its own: choose one.")

    twice = [name for name in plan.patterns if name in plan.protected or name in plan.overrides]
    if twice:
        raise PlanError(
            f"{_listed(twice)} cannot have a pattern and also be protected or have a sparsity of its own: choose one."
        )

    counts = {layer.name: 0 for layer in layers}
    for name, text in plan.patterns.items():
        pattern, layer = pattern_of(text), known[name]
        problem = pattern_problem(pattern, layer.shape)
        if problem is not None:
            raise PlanError(
                f"“{name}” cannot be pruned {text}: {problem}. Give it a sparsity instead, or leave it free."
            )
        counts[name] = pattern.removed(layer.size)
    for name, sparsity in plan.overrides.items():
        layer = known[name]
        counts[name] = round(sparsity * layer.size)
        if counts[name] > layer.limit:
            raise PlanError(
                f"At least one of the {layer.size} weights of “{name}” must stay, but sparsity {sparsity:g} removes "
                f"all of them; the most that is possible is {_at_most(layer.limit, layer.size)}."
            )
    free = [layer for layer in layers if layer.name not in plan.settled]
    total = sum(layer.size for layer in free)
    remove = round(plan.sparsity * total)
    if remove == 0:
        return counts
    most = sum(layer.limit for layer in free)
    if remove > most:
        raise PlanError(
            f"Sparsity {plan.sparsity:g} removes {remove} of {total} free weights, but at least one weight must stay "
            f"in each of the {len(free)} free layers; the most that is possible is {_at_most(most, total)}."
        )
    counts.update(ALLOCATIONS[plan.allocation].share(free, remove, sensitivity=sensitivity))
    return counts
