"""One-shot structured pruning: rank the units of coupled groups once, remove the least important ones for good."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from ..comb.kinds import KINDS
from ..errors import PlanError
from ..progress import SILENT, Progress
from ..pruning.criteria.base import CalibrationContext
from ..pruning.fields import CalibrationImages, Kinds, MinKeep, RecalibrationImages, RoundTo, UnitBudget
from ..pruning.groups import GROUP_ALLOCATIONS, GROUP_CRITERIA
from ..pruning.groups.budget import Limits, Removal
from ..pruning.groups.choosing import (
    Milliseconds,
    checked_allocation,
    checked_criterion,
    choose_units,
    refuse_without_groups,
    resolved,
    savings,
)
from ..pruning.plan import Plan
from ..settings import Settings
from ..wording import percent
from .base import METHODS, Method, MethodResult
from .results import surviving_masks, surviving_rows, with_patterns

if TYPE_CHECKING:
    from ..comb.sheet import GroupSheet
    from ..training.checkpoints import Checkpoints

__all__ = ["OneShotStructured", "OneShotStructuredSettings", "planned_removal"]

_STAND_IN = "magnitude"
_Criterion = Literal[("plan", *GROUP_CRITERIA)]  # type: ignore[valid-type]
_Allocation = Literal[("plan", *GROUP_ALLOCATIONS)]  # type: ignore[valid-type]


class OneShotStructuredSettings(Settings):
    """What one-shot structured pruning lets a person choose."""

    budget: UnitBudget = "parameters"
    criterion: _Criterion = Field(
        default="plan", title="Criterion for groups", description="“plan”: the plan's, where groups know it."
    )
    allocation: _Allocation = Field(
        default="plan", title="Allocation over groups", description="“plan”: the plan's, where groups know it."
    )
    per_cost: Literal["none", "parameters", "macs", "latency"] = Field(
        default="none",
        title="Score per saved",
        description="Divide scores by what one unit saves, where groups are compared.",
    )
    round_to: RoundTo = 1
    min_keep: MinKeep = 0.1
    kinds: Kinds = KINDS
    recalibrate: bool = Field(
        default=True,
        title="Recalibrate BatchNorm",
        description="Measure BatchNorm's statistics again on training images after the removal. No weight changes.",
    )
    recalibration_images: RecalibrationImages = 1000
    calibration_images: CalibrationImages = 128


@METHODS.register("one_shot_structured")
class OneShotStructured(Method):
    """One-shot structured: remove the least important channels, heads and neurons for good, without training."""

    title = "One-shot structured"
    provenance = (
        "Groups: the idea of CPD's comb [P], computed our own way [D]. Criteria and allocations name their papers. "
        "Budgets, rounding and BatchNorm recalibration are options of ours [D]."
    )
    Settings = OneShotStructuredSettings
    removes = "units"

    @classmethod
    def check(cls, model: Any, splits: Any, plan: Plan) -> None:
        """Refuse what cannot work before anything is scored.

        Raises:
            PlanError: unknown names, a criterion that needs data when there are none, a model without groups, or
                weights that are not finite.
        """
        from ..comb.combing import comb
        from ..comb.summary import summarise

        settings = OneShotStructuredSettings.parse(plan.method_settings)
        criterion, _ = _names(settings, plan)
        if GROUP_CRITERIA[criterion].needs_data and splits is None:
            raise PlanError(f"The criterion “{criterion}” looks at gradients on images: choose a data set first.")
        found = comb(model)
        refuse_without_groups(found)
        resolved(summarise(found, explain=False), plan.overrides, plan.protected)

    @classmethod
    def run(
        cls,
        model: Any,
        splits: Any,
        plan: Plan,
        *,
        sensitivity: Mapping[str, Any] | None = None,
        progress: Progress = SILENT,
        checkpoints: "Checkpoints | None" = None,
    ) -> MethodResult:
        """Comb → score → allocate → remove → verify → N:M patterns → recalibrate."""
        from ..analysis.network_latency import NetworkLatency
        from ..analysis.recalibration import recalibrate_batchnorm
        from ..comb.combing import comb
        from ..comb.record import recorded_removal
        from ..comb.summary import summarise
        from ..comb.survivors import Survivors
        from ..comb.verify import verify
        from ..pruning.groups.base import score_groups

        settings = OneShotStructuredSettings.parse(plan.method_settings)
        criterion, allocation = _names(settings, plan)
        found = comb(model)
        context = CalibrationContext(
            splits=splits, images=settings.calibration_images, seed=plan.seed, progress=progress
        )
        sheet = summarise(found, {criterion: score_groups(criterion, found, context)}, explain=False)
        progress.check()
        times = NetworkLatency(found, progress=progress) if _needs_times(settings) else None
        removal, _ = planned_removal(sheet, plan, milliseconds=times)
        if not any(removal.values()) and not plan.patterns:
            survivors = Survivors(found, {})
            notes = ["Nothing is removed: the result is the dense model, bit for bit."]
            return MethodResult(
                model.clone(), surviving_masks(found, survivors), surviving_rows(found, survivors), tuple(notes)
            )

        pruned = recorded_removal(model, found, removal)
        survivors = Survivors(found, removal)
        proof = verify(found, removal, pruned, _images(model, plan.seed))
        if not proof.passed:  # never hand out a wrong network
            raise PlanError(f"{proof.sentence} Nothing was stored; please report this model.")
        left = sheet.counts(removal)
        notes = [
            f"{percent(1 - left.parameters / sheet.dense.parameters)} of the parameters and "
            f"{percent(1 - left.macs / max(1, sheet.dense.macs))} of the MACs were removed from "
            f"{sum(bool(units) for units in removal.values())} of {len(found.groups)} groups.",
            proof.sentence,
        ]
        latency = times.to_json(left) if times is not None else None
        if latency is not None:
            notes.append(
                f"Predicted latency in ONNX Runtime, one image, {latency['threads']} thread: "
                f"{latency['predicted_ms']:.3g} ms of {latency['dense_ms']:.3g} ms ({latency['ratio']:.2f}×), from "
                "layers timed on this machine; Compare measures it."
            )
        patterned = _patterned(pruned, plan)
        masks = with_patterns(surviving_masks(found, survivors), patterned)
        if patterned:
            notes.append(
                f"{len(patterned)} layers of what is left have an N:M pattern: the largest of each block stay."
            )
        if settings.recalibrate:
            notes.append(_recalibrated(pruned, splits, settings, plan, progress, recalibrate_batchnorm))
        history = {
            "removal": pruned.origin["removals"][-1],
            "verification": proof.__dict__,
            "criterion": criterion,
            "allocation": allocation,
            **({"latency": latency} if latency is not None else {}),
        }
        return MethodResult(
            pruned,
            masks,
            surviving_rows(found, survivors, masks),
            tuple(filter(None, notes)),
            history,
        )


def _patterned(pruned: Any, plan: Plan) -> dict[str, Any]:
    """Masks of the small network's layers that the plan gives a pattern, by magnitude; applied.

    Raises:
        PlanError: when what is left of a layer has no whole number of blocks.
    """
    from ..pruning.gradual import masks_at
    from ..pruning.masks import apply_masks

    if not plan.patterns:
        return {}
    alone = Plan(sparsity=0.0, patterns=plan.patterns, allocation="uniform")
    try:
        masks = masks_at(pruned, alone, CalibrationContext(seed=plan.seed))
    except PlanError as problem:
        raise PlanError(f"After the removal: {problem} “Round channels to” 4 or 8 keeps whole blocks.") from None
    masks = {name: mask for name, mask in masks.items() if not bool(mask.all())}
    apply_masks(pruned, masks)
    return masks


def _needs_times(settings: OneShotStructuredSettings) -> bool:
    return "latency" in (settings.budget, settings.per_cost)


def planned_removal(
    sheet: "GroupSheet", plan: Plan, *, milliseconds: Milliseconds | None = None
) -> tuple[Removal, str | None]:
    """The units that this method will remove: on a sheet with the criterion's scores, exactly those.

    Needs no torch, so that a page shows what a plan does while it is edited. A criterion that looks at data has no
    scores on a model's stored sheet; magnitude stands in for it then, and MACs for a latency that was not measured
    (``milliseconds``); the sentence that comes second says so.

    Raises:
        PlanError: unknown names, an impossible target (says the most that is possible), or weights without scores.
    """
    settings = OneShotStructuredSettings.parse(plan.method_settings)
    criterion, allocation = _names(settings, plan)
    used, note = criterion, None
    if criterion == "random" and criterion not in sheet.scores:
        scores = GROUP_CRITERIA["random"].score(sheet, CalibrationContext(seed=plan.seed))  # type: ignore[arg-type]
    elif criterion in sheet.scores or _STAND_IN in sheet.scores:
        used = criterion if criterion in sheet.scores else _STAND_IN
        scores = dict(sheet.scores[used])
        if used != criterion:
            title, other = GROUP_CRITERIA[criterion].title, GROUP_CRITERIA[used].title
            note = f"{title} looks at data when the plan runs; until then {other} stands in for it."
    else:
        raise PlanError("This model's weights cannot be ranked: they are not finite. Load a sound checkpoint.")
    if milliseconds is None and _needs_times(settings):
        note = f"{note or ''} Layers are timed when the plan runs; until then MACs stand in for latency.".strip()
        settings = settings.changed(
            budget="macs" if settings.budget == "latency" else settings.budget,
            per_cost="macs" if settings.per_cost == "latency" else settings.per_cost,
        )
    saving: dict[str, float] = {}
    if settings.per_cost != "none":
        saving = savings(sheet, settings.per_cost, round_to=settings.round_to, milliseconds=milliseconds)
    removal = choose_units(
        sheet,
        scores,
        plan.sparsity,
        criterion=used,
        allocation=allocation,
        budget=settings.budget,
        limits=Limits(settings.round_to, settings.min_keep),
        overrides=plan.overrides,
        protected=plan.protected,
        kinds=settings.kinds,
        milliseconds=milliseconds,
        saving=saving,
        fill=True,
    )
    return removal, note


def _names(settings: OneShotStructuredSettings, plan: Plan) -> tuple[str, str]:
    """The criterion and the allocation in force."""
    criterion = plan.criterion if settings.criterion == "plan" else settings.criterion
    allocation = plan.allocation if settings.allocation == "plan" else settings.allocation
    return checked_criterion(criterion), checked_allocation(allocation)


def _images(model: Any, seed: int) -> Any:
    """Two random images for the proof; it holds for any."""
    import torch

    images = torch.randn((2, *model.input_shape), generator=torch.Generator().manual_seed(seed))
    return images.to(model.device)


def _recalibrated(
    pruned: Any, splits: Any, settings: OneShotStructuredSettings, plan: Plan, progress: Progress, recalibrate: Any
) -> str:
    if splits is None:
        return "BatchNorm was not recalibrated: there are no data."
    layers = recalibrate(pruned, splits, images=settings.recalibration_images, seed=plan.seed, progress=progress)
    return f"{layers} BatchNorm layers were recalibrated." if layers else ""
