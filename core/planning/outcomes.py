"""Plans that were estimated and then measured: what calibration learns from, and how good the estimates were."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .calibration import Band, Kind, Measured, Scale
from .damage import Curves, Damage, damage_of

__all__ = ["Outcome", "TrackRecord", "track_record"]


@dataclass(frozen=True)
class Outcome:
    """One measured plan. Scores are of the same ``n`` images; ``estimated`` was said before looking, if anything was.

    ``sparsities`` and ``energies``: layer or group → fraction removed, and removed part of its Σw².
    """

    kind: Kind
    recalibrated: bool
    sparsities: Mapping[str, float]
    energies: Mapping[str, float]
    share: float
    score: float
    dense_score: float
    n: int
    estimated: Band | None = None

    def to_json(self) -> dict[str, Any]:
        """A JSON-serialisable dict."""
        said = self.estimated
        return {
            "kind": self.kind,
            "recalibrated": self.recalibrated,
            "sparsities": dict(self.sparsities),
            "energies": dict(self.energies),
            "share": self.share,
            "score": self.score,
            "dense_score": self.dense_score,
            "n": self.n,
            "estimated": None if said is None else {"score": said.score, "low": said.low, "high": said.high},
        }

    @classmethod
    def from_json(cls, body: Any) -> "Outcome | None":
        """What ``to_json`` wrote; None for anything else, such as the result of an older version."""
        try:
            said = body.get("estimated")
            return cls(
                kind=body["kind"],
                recalibrated=bool(body["recalibrated"]),
                sparsities={str(name): float(value) for name, value in body["sparsities"].items()},
                energies={str(name): float(value) for name, value in body["energies"].items()},
                share=float(body["share"]),
                score=float(body["score"]),
                dense_score=float(body["dense_score"]),
                n=int(body["n"]),
                estimated=None if said is None else Band(*(float(said[key]) for key in ("score", "low", "high"))),
            )
        except (AttributeError, KeyError, TypeError, ValueError):
            return None

    def damage(self, curves: Curves | None) -> Damage:
        """The damage of this plan on the curves that are known now."""
        return damage_of(self.sparsities, self.energies, share=self.share, curves=curves)

    def measured(self, scale: Scale, curves: Curves | None) -> Measured:
        """As calibration takes it."""
        return Measured(self.damage(curves), scale.rest(self.score, self.dense_score), self.n)


@dataclass(frozen=True)
class TrackRecord:
    """How the last estimates fared: absolute errors of the score (fractions), and how many lay inside their band."""

    errors: tuple[float, ...] = field(default=())
    inside: int = 0

    @property
    def count(self) -> int:
        """Estimates that were followed by a measurement."""
        return len(self.errors)

    @property
    def median(self) -> float | None:
        """Median absolute error, a fraction."""
        return statistics.median(self.errors) if self.errors else None

    @property
    def sentence(self) -> str | None:
        """The record in words; None without any."""
        if self.median is None:
            return None
        if self.count == 1:
            where = "inside" if self.inside else "outside"
            return f"The last estimate was off by {100 * self.median:.1f} points, {where} its band."
        return (
            f"The last {self.count} estimates were off by {100 * self.median:.1f} points in the median; "
            f"{self.inside} of {self.count} inside the band."
        )


def track_record(outcomes: Sequence[Outcome], *, last: int = 12) -> TrackRecord:
    """The record of the newest estimates; ``outcomes`` are newest first. Plans of nothing say nothing."""
    judged = [item for item in outcomes if item.estimated is not None and item.share > 0][:last]
    errors, inside = [], 0
    for item in judged:
        assert item.estimated is not None
        # The estimate is about the dense score it knew; the slice that was measured may have another one.
        errors.append(abs(item.score - item.estimated.score))
        inside += item.estimated.contains(item.score)
    return TrackRecord(tuple(errors), inside)
