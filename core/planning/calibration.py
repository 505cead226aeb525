"""From damage to an expected score with a band, learnt from plans that were estimated and then measured. Numpy only.

What is left of the score above chance, y in [0, 1], follows σ(−slope · (log damage − middle)): near 1 while little is
damaged, a cliff, then chance. Damage is curves^mix · energy^(1 − mix). Middle, slope and mix are those with the
smallest absolute error over the model's own measured plans, held near values that were measured on the sample networks
(``START``): with none measured the start decides alone, with ten it hardly counts.

The band is the curve shifted by ±q in log odds, widened by the sampling error of the images (90 %). It is conformal:
for each measured plan, fitted without itself, the smallest q whose band contains the score; a new plan gets the 80 %
quantile of these q. From fewer than four plans no such quantile exists: then q is the default, or the worst q seen
where that is larger. (At 90 % nine plans are needed, and up to 19 one odd plan decides alone.) A decision of ours
(METHODS: [D]).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .damage import Damage

__all__ = ["COVERAGE", "DEFAULT_Q", "LEAST_PAIRS", "START", "Band", "Calibration", "Kind", "Measured", "Scale"]

Array = NDArray[np.float64]
Kind = Literal["weights", "units"]

COVERAGE = 0.8
"""Share of plans whose measured score the band is meant to contain."""

LEAST_PAIRS = math.ceil(COVERAGE / (1.0 - COVERAGE) - 1e-9)
"""Below this many measured plans the quantile of the errors does not exist: four for 80 %."""

DEFAULT_Q = 2.5
"""Half-width of the band in log odds before there are enough measured plans."""

START: dict[tuple[Kind, bool, bool], tuple[float, float]] = {
    ("weights", True, True): (1.7, 2.8),
    ("weights", True, False): (2.3, 3.0),
    ("weights", False, True): (0.0, 3.0),
    ("weights", False, False): (0.8, 3.5),
    ("units", True, True): (1.4, 2.8),
    ("units", True, False): (1.2, 2.5),
    ("units", False, True): (0.4, 2.0),
    ("units", False, False): (0.4, 2.0),
}
"""Kind, whether BatchNorm is recalibrated, whether curves are known → (middle, slope) to start from."""

_MIXES = (0.0, 0.5, 1.0)
_MIDDLES = np.arange(-4.0, 6.0 + 1e-9, 0.1)
_SLOPES = np.geomspace(0.5, 8.0, 25)
_PULL = 0.05
"""How much one unit away from the start counts: as this much error in y of one measured plan."""
_PULL_MIX = 0.2
"""The same for mix: one layer cut to the bone shows in the curves alone, and is rare among the plans that teach."""
_LEAST = 1e-9
_Z = 1.645
_Q = np.arange(0.0, 12.0 + 1e-9, 0.05)
_MURMUR = 0.02
"""Part of the images whose answer changes with any removal worth the name, for better as often as for worse."""
_MURMUR_FROM = 0.2


@dataclass(frozen=True)
class Scale:
    """What y = 1 and y = 0 stand for: the dense score (on the images the curves were measured on), and chance."""

    dense: float
    floor: float

    @property
    def usable(self) -> bool:
        """Whether the dense model is better than chance, so that there is something to lose."""
        return self.dense > self.floor + 1e-6

    def rest(self, score: float, dense: float | None = None) -> float:
        """y of a score, against the dense score of the same images where that is given; not clipped."""
        top = self.dense if dense is None else dense
        return (score - self.floor) / max(top - self.floor, 1e-6)

    def score(self, rest: float) -> float:
        """The score of y, at most 1."""
        return float(min(1.0, max(0.0, self.floor + rest * (self.dense - self.floor))))


@dataclass(frozen=True)
class Measured:
    """A plan that was measured: its damage, what was left (y, on ``n`` images)."""

    damage: Damage
    rest: float
    n: int


@dataclass(frozen=True)
class Band:
    """An estimated score with its band, as fractions."""

    score: float
    low: float
    high: float

    def contains(self, score: float) -> bool:
        """Whether a measured score lies in the band."""
        return self.low - 1e-9 <= score <= self.high + 1e-9


class Calibration:
    """The curve and the band of one model, for plans of one kind.

    Args:
        scale: dense score and floor.
        measured: plans measured so far.
        kind: single weights or units of groups.
        recalibrated: whether the plans recalibrate BatchNorm (always False for models without).
        curves: whether damage has measured curves; measured plans without are left out then.
    """

    def __init__(
        self, scale: Scale, measured: Sequence[Measured] = (), *, kind: Kind, recalibrated: bool, curves: bool
    ) -> None:
        self.scale = scale
        self.curves = curves
        self._measured = [
            item
            for item in measured
            if item.damage.energy > 0 and math.isfinite(item.rest) and (item.damage.curves is not None or not curves)
        ]
        self._start = START[kind, recalibrated, curves]
        mixes = _MIXES if curves else (0.0,)
        self._grid = np.array([(mix, middle, slope) for mix in mixes for middle in _MIDDLES for slope in _SLOPES])
        self._fit()

    @property
    def pairs(self) -> int:
        """Measured plans that this rests on."""
        return len(self._measured)

    @property
    def q(self) -> float:
        """Half-width of the band in log odds."""
        return self._q

    @property
    def learnt(self) -> bool:
        """Whether the band comes from this model's own errors rather than from the default."""
        return self.pairs >= LEAST_PAIRS

    def band(self, damage: Damage, *, n: int) -> Band:
        """The expected score of a plan as it would be measured on ``n`` images. Nothing removed: exactly dense."""
        if damage.energy <= 0:
            return Band(self.scale.dense, self.scale.dense, self.scale.dense)
        odds = self._odds(self._grid[self._best][None], damage)[0]
        middle = _sigma(odds)
        error = _error(middle, damage.share, n)
        low, high = _sigma(odds - self._q) - _Z * error, _sigma(odds + self._q) + _Z * error
        return Band(self.scale.score(middle), self.scale.score(max(0.0, low)), self.scale.score(max(0.0, high)))

    def _fit(self) -> None:
        middle, slope = self._start
        pull = _PULL * (np.abs(self._grid[:, 1] - middle) + np.abs(np.log(self._grid[:, 2] / slope)))
        if self.curves:
            pull = pull + _PULL_MIX * np.abs(self._grid[:, 0] - 0.5)
        rest = np.clip([item.rest for item in self._measured], 0.0, 1.0)
        columns = [
            np.abs(_sigma(self._odds(self._grid, item.damage)) - y)
            for item, y in zip(self._measured, rest, strict=True)
        ]
        errors = np.stack(columns, axis=1) if columns else np.zeros((len(self._grid), 0))
        total = pull + errors.sum(axis=1)
        self._best = int(total.argmin())
        needed = [
            self._needed(self._grid[int((total - errors[:, index]).argmin())], item)
            for index, item in enumerate(self._measured)
        ]
        rank = math.ceil((len(needed) + 1) * COVERAGE)
        self._q = sorted(needed)[rank - 1] if rank <= len(needed) else max([DEFAULT_Q, *needed])

    def _needed(self, parameters: Array, item: Measured) -> float:
        """The smallest q whose band contains what was measured."""
        odds = float(self._odds(parameters[None], item.damage)[0])
        error = _error(float(_sigma(odds)), item.damage.share, item.n)
        rest = max(item.rest, 0.0)
        inside = (_sigma(odds - _Q) - _Z * error <= rest) & (rest <= _sigma(odds + _Q) + _Z * error)
        return float(_Q[int(inside.argmax())]) if inside.any() else float(_Q[-1])

    @staticmethod
    def _odds(grid: Array, damage: Damage) -> Array:
        curves = math.log(max(damage.curves or 0.0, _LEAST))
        energy = math.log(max(damage.energy, _LEAST))
        mix, middle, slope = grid[:, 0], grid[:, 1], grid[:, 2]
        return slope * (middle - (mix * curves + (1.0 - mix) * energy))


def _error(rest: float, share: float, n: int) -> float:
    """Standard error of y on n images, measured beside the dense model: only changed answers count."""
    changed = (1.0 - rest) + _MURMUR * min(1.0, share / _MURMUR_FROM)
    return math.sqrt(min(1.0, changed) / max(1, n))


def _sigma(odds: Any) -> Any:
    return 1.0 / (1.0 + np.exp(-np.clip(odds, -60.0, 60.0)))
