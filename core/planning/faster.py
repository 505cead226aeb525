"""“Will it be faster here?” for a plan: which layers to ask about, and what of them would stay. See ``analysis.probe``.

For a plan that removes units, the channels that would stay are those of the plan, and the zeros are as many as it
removes. For a plan that masks weights, the zeros are those of the plan, and the channels what would be left if as many
weights went as whole channels: the plan that one could make instead. Knows no torch until it measures.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from ..analysis.probe import ProbeLayer, ProbeSettings, probe, probe_key
from ..comb.geometry import LayerGeometry
from ..comb.sheet import GroupSheet
from ..errors import MeasurementError, PlanError
from ..methods import METHODS
from ..methods.one_shot_structured import planned_removal
from ..progress import SILENT, Progress
from ..pruning.estimate import preview
from ..pruning.plan import Plan
from .outlook import untrained

if TYPE_CHECKING:
    from ..models.traced import TracedModel

__all__ = ["SpeedQuestion", "answer", "asked_key", "speed_questions", "will_it_be_faster"]

_LAYERS = 3
_MULTIPLE = 8
_SHARES = 20
"""Shares of zeros are rounded to 1/20: how long a layer takes hardly hangs on them, and answers are found again."""
_MACS_AT_MOST = 100_000_000
"""Work of one run of a probed layer; a layer with more is timed on a part of its picture, at its own channels."""


@dataclass(frozen=True)
class SpeedQuestion:
    """One layer of a plan: the shape of its weight that would stay, and the share of its weights that goes."""

    name: str
    kept: tuple[int, ...]
    sparsity: float
    macs: int

    def to_json(self) -> dict[str, Any]:
        """A JSON-serialisable dict."""
        return {**asdict(self), "kept": list(self.kept)}

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> "SpeedQuestion":
        """Read what ``to_json`` wrote.

        Raises:
            PlanError: when it is something else.
        """
        try:
            kept = tuple(int(size) for size in body["kept"])
            question = cls(str(body["name"]), kept, float(body["sparsity"]), int(body["macs"]))
        except (KeyError, TypeError, ValueError):
            raise PlanError("A question about a layer needs name, kept shape, sparsity and MACs.") from None
        if not 0.0 <= question.sparsity < 1.0 or any(not 1 <= size <= 1 << 20 for size in kept):
            raise PlanError(f"The shape and sparsity asked for “{question.name}” are out of range.")
        return question


def speed_questions(
    plan: Plan,
    description: Mapping[str, Any],
    *,
    weights: Mapping[str, Any],
    sheet: GroupSheet | None = None,
    sensitivity: Mapping[str, Any] | None = None,
    planned: Mapping[str, float] | None = None,
) -> list[SpeedQuestion]:
    """What to ask about the largest layers (by work) that the plan changes; empty for a plan that removes nothing.

    Args:
        description: result of ``describe_model``.
        weights: ``LayerWeights`` of every prunable layer.
        sheet: the model's groups; needed by plans that remove units.
        sensitivity: measured curves, for the allocation of that name.
        planned: sparsity of every layer under this plan where ``preview`` has said it already.

    Raises:
        PlanError: when the plan is impossible, or the groups are needed and not known.
    """
    if plan.method in METHODS and METHODS[plan.method].removes == "nothing":
        return []
    layers = {str(row["name"]): row for row in description["layers"] if row.get("prunable") and row.get("weight_shape")}
    if plan.method in METHODS and METHODS[plan.method].removes == "units":
        if sheet is None:
            raise PlanError("The groups of this model are not known yet: find them first.")
        left = sheet.counts(planned_removal(sheet, untrained(plan))[0]).weight_shapes
        kept = {name: tuple(left.get(name, row["weight_shape"])) for name, row in layers.items()}
        gone = {name: 1.0 - math.prod(kept[name]) / math.prod(row["weight_shape"]) for name, row in layers.items()}
    else:
        if planned is None:
            rows = preview(plan, weights, description, sensitivity)["layers"]
            planned = {str(row["name"]): float(row["sparsity"]) for row in rows}
        gone = dict(planned)
        kept = {name: _as_channels(row["weight_shape"], gone.get(name, 0.0)) for name, row in layers.items()}
    changed = [name for name in layers if gone.get(name, 0.0) > 0.0]
    largest = sorted(changed, key=lambda name: -int(layers[name].get("macs") or 0))[:_LAYERS]
    return [
        SpeedQuestion(
            name,
            kept[name],
            min(_SHARES - 1, max(1, round(gone[name] * _SHARES))) / _SHARES,
            int(layers[name].get("macs") or 0),
        )
        for name in largest
    ]


def _as_channels(shape: Sequence[int], sparsity: float) -> tuple[int, ...]:
    """The shape after as many weights went as whole channels, on both sides alike, in multiples of 8."""
    factor = math.sqrt(1.0 - sparsity)

    def fewer(size: int) -> int:
        return size if size <= _MULTIPLE else max(_MULTIPLE, round(size * factor / _MULTIPLE) * _MULTIPLE)

    return (fewer(shape[0]), fewer(shape[1]), *shape[2:])


def answer(
    questions: Sequence[SpeedQuestion],
    geometries: Mapping[str, LayerGeometry],
    *,
    work: int,
    settings: ProbeSettings | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Time the layers that the questions name; see ``probe`` for the result.

    Args:
        geometries: of the model that the plan starts from.
        work: MACs of the whole network.

    Raises:
        MeasurementError: when nothing is asked, or none of the layers is in the model.
    """
    layers = _asked(questions, geometries)
    if not layers:
        raise MeasurementError("Nothing to measure: the plan changes no layer of this model.")
    result = probe(layers, settings=settings, work=work, progress=progress)
    cut = [layer.name for layer in layers if layer.geometry != geometries[layer.name]]
    if cut:
        result["problems"].append(f"Timed on a part of the picture, at their own channels: {', '.join(cut)}.")
    return result


def asked_key(
    questions: Sequence[SpeedQuestion],
    geometries: Mapping[str, LayerGeometry],
    *,
    settings: ProbeSettings | None = None,
) -> str:
    """The ``key`` that the answer will have."""
    return probe_key(_asked(questions, geometries), settings or ProbeSettings())


def _asked(questions: Sequence[SpeedQuestion], geometries: Mapping[str, LayerGeometry]) -> list[ProbeLayer]:
    return [
        ProbeLayer(one.name, _part(geometries[one.name], one.macs), one.kept, one.sparsity, one.macs)
        for one in questions
        if one.name in geometries and len(one.kept) == len(geometries[one.name].weight)
    ]


def _part(geometry: LayerGeometry, macs: int) -> LayerGeometry:
    """The layer on so much of its input that one run stays quick."""
    own = macs / max(1, geometry.calls)
    if own <= _MACS_AT_MOST or not geometry.space:
        return geometry
    rows = max(min(geometry.space[0], 8), math.floor(geometry.space[0] * _MACS_AT_MOST / own))
    return replace(geometry, space=(rows, *geometry.space[1:]))


def will_it_be_faster(
    model: "TracedModel",
    plan: Plan,
    *,
    sensitivity: Mapping[str, Any] | None = None,
    settings: ProbeSettings | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Whether a plan would make the largest layers of a model faster on this machine, measured before any pruning.

    Criteria that look at data are stood in for by magnitude.

    Returns:
        JSON, see ``core.analysis.probe.probe``; ``sentence`` says it in words.

    Raises:
        PlanError: when the plan is impossible.
        MeasurementError: when the plan removes nothing, or nothing could be timed.
    """
    from ..analysis.describe import describe_model
    from ..analysis.weights import weight_statistics
    from ..comb.combing import comb
    from ..comb.geometry import geometries
    from ..comb.summary import summarise
    from ..pruning.criteria import CalibrationContext
    from ..pruning.groups.base import score_groups

    found = comb(model)
    scores = {"magnitude": score_groups("magnitude", found, CalibrationContext(seed=plan.seed))}
    description = describe_model(model)
    questions = speed_questions(
        plan,
        description,
        weights=weight_statistics(model),
        sheet=summarise(found, scores, explain=False),
        sensitivity=sensitivity,
    )
    return answer(questions, geometries(found), work=description["macs"], settings=settings, progress=progress)
