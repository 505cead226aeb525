"""How much a plan hurts, on scales that calibration turns into a score. Numpy only: pages ask while a slider moves.

Two measures, each 0 for a plan that removes nothing and growing with every removal:

- ``curves``: the measured loss that each layer or group adds alone, added up. It knows which layers matter, and nothing
  of what they do to each other or of BatchNorm that is recalibrated afterwards.
- ``energy``: the odds of the removed part of Σw² in each layer, as −Σ log(1 − e). It knows the weights only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..pruning.curves import curve, isotonic

__all__ = ["Curves", "Damage", "damage_of", "monotone", "removed_energy"]

Curves = Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64]]]
"""Layer or group → sparsities from 0 and the loss added there, never falling: see ``monotone``."""

_MOST = 1.0 - 1e-4
"""An emptied layer counts as one in which a ten-thousandth of the energy is left: finite, and worse than all others."""


@dataclass(frozen=True)
class Damage:
    """``curves`` is None without measured curves. ``share``: removed part of all weights or units, in [0, 1].

    ``missing``: what is pruned without a curve of its own (it counts as harmless in ``curves``). ``beyond``: what is
    pruned beyond its highest measured level.
    """

    curves: float | None
    energy: float
    share: float
    missing: tuple[str, ...] = ()
    beyond: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """``curves``, ``energy`` and ``share``: what a later calibration needs of a plan."""
        return {"curves": self.curves, "energy": self.energy, "share": self.share}

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> "Damage":
        """What ``to_json`` wrote."""
        curves = body.get("curves")
        return cls(None if curves is None else float(curves), float(body["energy"]), float(body["share"]))


def damage_of(
    sparsities: Mapping[str, float],
    energies: Mapping[str, float],
    *,
    share: float,
    curves: Curves | None,
) -> Damage:
    """The damage of a plan.

    Args:
        sparsities: layer or group → fraction removed.
        energies: layer or group → removed part of its Σw², in [0, 1].
        share: removed part of the whole.
        curves: measured curves made monotone, or None.
    """
    pruned = {name: value for name, value in sparsities.items() if value > 0}
    odds = float(sum(-np.log1p(-min(max(energies.get(name, 0.0), 0.0), _MOST)) for name in pruned))
    if curves is None:
        return Damage(None, odds, share)
    total, missing, beyond = 0.0, [], []
    for name, value in pruned.items():
        known = curves.get(name)
        if known is None:
            missing.append(name)
            continue
        if value > known[0][-1] + 1e-9:
            beyond.append(name)
        total += _added_loss(*known, value)
    return Damage(total, odds, share, tuple(missing), tuple(beyond))


def removed_energy(scores: NDArray[np.float64], removed: Sequence[int]) -> float:
    """Part of Σ score² that the removed units hold, in [0, 1]: scores are root mean squares of weights."""
    squares = np.square(np.asarray(scores, dtype=np.float64))
    total = float(squares.sum())
    return float(squares[list(removed)].sum()) / total if total > 0 and len(removed) else 0.0


def monotone(measured: Mapping[str, Sequence[Mapping[str, Any]]]) -> Curves:
    """Measured points as curves that never fall; layers without points are left out.

    Making them takes longer than reading them: do it once for many plans.
    """
    found = {}
    for name, points in measured.items():
        if not points:
            continue
        x, y = curve(points)
        y = isotonic(np.maximum(y, 0.0))
        found[name] = (x, y - y[0])
    return found


def _added_loss(x: NDArray[np.float64], y: NDArray[np.float64], sparsity: float) -> float:
    """The curve; beyond its last point its last slope goes on."""
    if sparsity <= x[-1] or len(x) < 2:
        return float(np.interp(sparsity, x, y))
    return float(y[-1] + (y[-1] - y[-2]) / (x[-1] - x[-2]) * (sparsity - x[-1]))
