"""What a plan would do, answered at once from what is stored: score with its band. Knows no torch.

A ``Basis`` is all that is known of one model on one data set (curves, dense score, plans measured so far); it is made
once and asked for every position of a slider. Counts, bytes and latency come from ``core.pruning.estimate.preview``,
``GroupSheet.counts``, ``bytes`` and ``latency`` beside this file.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from ..comb.sheet import GroupSheet
from ..methods import METHODS
from ..pruning.groups.budget import Removal
from ..pruning.plan import Plan
from ..wording import percent
from .calibration import COVERAGE, Band, Calibration, Kind, Scale
from .damage import Curves, Damage, damage_of, monotone, removed_energy
from .outcomes import Outcome, TrackRecord, track_record

__all__ = [
    "PAIRS_WITHOUT_CURVES",
    "Basis",
    "Effect",
    "WhatIf",
    "effect_of_removal",
    "effect_of_rows",
    "foreseen",
    "recalibrates",
]

PAIRS_WITHOUT_CURVES = 3
"""Without measured curves a score is estimated from this many measured plans on, and not before."""

_MAGNITUDE = "magnitude"
_REMEMBERED = 60


@dataclass(frozen=True)
class Effect:
    """What a plan does to each layer or group, before anything is measured: see ``Outcome`` for the fields."""

    kind: Kind
    recalibrated: bool
    sparsities: Mapping[str, float]
    energies: Mapping[str, float]
    share: float

    def outcome(self, *, score: float, dense_score: float, n: int, estimated: Band | None) -> Outcome:
        """This effect with what was measured of it."""
        return Outcome(
            self.kind,
            self.recalibrated,
            self.sparsities,
            self.energies,
            self.share,
            score,
            dense_score,
            n,
            estimated,
        )


@dataclass(frozen=True)
class WhatIf:
    """An estimated score, and what it rests on.

    ``pairs``: measured plans behind it. ``learnt``: whether the width of the band comes from this model's own errors
    (else from the default). ``curves``: whether measured sensitivity takes part.
    """

    band: Band
    damage: Damage
    metric: str
    n: int
    pairs: int
    learnt: bool
    curves: bool
    coverage: float = COVERAGE

    def to_json(self) -> dict[str, Any]:
        """A JSON-serialisable dict: ``score``, ``low``, ``high`` and the rest."""
        body = asdict(self)
        return {**body.pop("band"), **body}

    @property
    def basis(self) -> str:
        """What this rests on, in words."""
        start = "measured sensitivity and weights" if self.curves else "weights"
        if not self.pairs:
            return f"{start}; no plan of this model was measured yet, so the band is the usual one of other models"
        plans = "1 measured plan" if self.pairs == 1 else f"{self.pairs} measured plans"
        if self.learnt:
            return (
                f"{start}, set right by {plans}; {percent(self.coverage, 0)} of those would lie in a band of this width"
            )
        return f"{start}, set right by {plans}; the band is still the usual one, or the worst error if that is larger"


@dataclass(frozen=True)
class Basis:
    """All that estimates for one model and data set rest on.

    ``layers`` and ``groups``: measured curves, None where there are none. ``outcomes``: newest first.
    ``normalised``: whether the model has BatchNorm, so that recalibrating it makes a difference.
    """

    metric: str
    dense_score: float
    n: int
    floor: float
    layers: Curves | None = None
    groups: Curves | None = None
    outcomes: Sequence[Outcome] = field(default=())
    normalised: bool = True

    @classmethod
    def of(
        cls,
        description: Mapping[str, Any],
        dense: Mapping[str, Any],
        *,
        layers: Mapping[str, Any] | None = None,
        groups: Mapping[str, Any] | None = None,
        outcomes: Sequence[Outcome] = (),
    ) -> "Basis":
        """From what is stored.

        Args:
            description: result of ``describe_model``.
            dense: the dense model's ``Evaluation.summary`` on the selection split.
            layers: result of ``measure_sensitivity``, if there is one; a weights-only one counts as none.
            groups: the same, measured over groups.
            outcomes: measured plans, newest first.
        """
        own, over_groups = _curves(layers, "layers"), _curves(groups, "groups")
        kinds = {str(layer.get("kind", "")) for layer in description["layers"]}
        metric = str(dense["metric"])
        scores = [
            float(p["score"]) for known in (own, over_groups) for points in (known or {}).values() for p in points
        ]
        lowest = min([*scores, *(item.score for item in outcomes)], default=0.0)
        chance = 1.0 / max(1, int(description["num_classes"])) if metric == "accuracy" else lowest
        return cls(
            metric,
            float(dense["score"]),
            int(dense["n"]),
            min(chance, float(dense["score"])),
            None if own is None else monotone(own),
            None if over_groups is None else monotone(over_groups),
            tuple(outcomes[:_REMEMBERED]),
            any(kind.startswith("BatchNorm") for kind in kinds),
        )

    @cached_property
    def _calibrations(self) -> dict[tuple[Kind, bool, float], Calibration]:
        return {}

    def calibration(self, kind: Kind, recalibrated: bool, *, dense_score: float | None = None) -> Calibration:
        """The curve for plans of this kind; ``dense_score`` that of other images than the ones known here."""
        top = self.dense_score if dense_score is None else dense_score
        key = (kind, recalibrated and self.normalised, top)
        if key not in self._calibrations:
            scale, curves = Scale(top, self.floor), self._known(kind)
            alike = [
                item
                for item in self.outcomes
                if item.kind == kind and (item.recalibrated and self.normalised) == key[1]
            ]
            self._calibrations[key] = Calibration(
                scale,
                [item.measured(scale, curves) for item in alike],
                kind=kind,
                recalibrated=key[1],
                curves=curves is not None,
            )
        return self._calibrations[key]

    def estimate(self, effect: Effect, *, n: int | None = None, dense_score: float | None = None) -> WhatIf | None:
        """The expected score, as it would be measured on ``n`` images. None where nothing can be said.

        That is when the dense model is no better than chance, or when there are neither curves nor enough measured
        plans (``PAIRS_WITHOUT_CURVES``).
        """
        found = self.calibration(effect.kind, effect.recalibrated, dense_score=dense_score)
        if not found.scale.usable or (not found.curves and found.pairs < PAIRS_WITHOUT_CURVES):
            return None
        curves = self._known(effect.kind)
        damage = damage_of(effect.sparsities, effect.energies, share=effect.share, curves=curves)
        images = n or self.n
        return WhatIf(
            found.band(damage, n=images), damage, self.metric, images, found.pairs, found.learnt, found.curves
        )

    def record(self, kind: Kind | None = None) -> TrackRecord:
        """How good the estimates of this model were so far."""
        return track_record([item for item in self.outcomes if kind in (None, item.kind)])

    def _known(self, kind: Kind) -> Curves | None:
        return self.layers if kind == "weights" else self.groups


def foreseen(plan: Plan) -> bool:
    """Whether estimates know all that a plan does: not what starts from a variant, nor patterns in smaller layers."""
    return not plan.start and not (plan.patterns and METHODS[plan.method].removes == "units")


def recalibrates(plan: Plan) -> bool:
    """Whether the plan measures BatchNorm again before anybody looks; what trains does so while it trains."""
    settings = METHODS[plan.method].Settings.parse(plan.method_settings)
    return bool(getattr(settings, "recalibrate", True))


def effect_of_rows(plan: Plan, rows: Sequence[Mapping[str, Any]]) -> Effect:
    """The effect of a plan on single weights: rows of ``preview`` or of ``MethodResult.layers``."""
    size = sum(int(row["size"]) for row in rows)
    removed = sum(int(row["removed"]) for row in rows)
    touched = [row for row in rows if row["removed"]]
    return Effect(
        "weights",
        recalibrates(plan),
        {str(row["name"]): float(row["sparsity"]) for row in touched},
        {str(row["name"]): float(row["energy_removed"]) for row in touched},
        removed / size if size else 0.0,
    )


def effect_of_removal(plan: Plan, sheet: GroupSheet, removal: Removal) -> Effect:
    """The effect of a removal of units; energies are read off the sheet's magnitudes (zero where it has none)."""
    scores = sheet.scores.get(_MAGNITUDE, {})
    touched = {name: units for name, units in removal.items() if len(units)}
    dense = sheet.dense
    return Effect(
        "units",
        recalibrates(plan),
        {name: len(units) / sheet.group(name).units for name, units in touched.items()},
        {
            name: removed_energy(scores[name], units) if name in scores else len(units) / sheet.group(name).units
            for name, units in touched.items()
        },
        1.0 - sheet.counts(touched).parameters / max(1, dense.parameters),
    )


def _curves(sensitivity: Mapping[str, Any] | None, of: str) -> Mapping[str, Any] | None:
    """The measured curves of a result; None for an estimate from weights, and for one without any."""
    if sensitivity is None or sensitivity.get("estimated") or not sensitivity.get(of):
        return None
    measured: Mapping[str, Any] = sensitivity[of]
    return measured
