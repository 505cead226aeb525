"""CPD: comb, prune, distill (Schmitt et al., ITSC 2024, arXiv 2408.03046): structured pruning while a model trains.

Differs from the paper: groups are exact for every operation, so that heads are not cut again after export; the pruning
stage has a length, over which the removals are spread, so that a budget in MACs, parameters, channels or measured
milliseconds is met within one rounding step; channels that stay are multiples of ``round_to``; what goes is gone at
once, so that what is trained is what is exported; the released code has no distillation loss, ours is Hinton's, or
channel-wise for segmentation, and it feeds the scores.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from ..comb.kinds import KINDS
from ..progress import SILENT, Progress
from ..pruning.fields import Kinds, MinKeep, RoundTo, UnitBudget
from ..pruning.groups import GROUP_CRITERIA
from ..pruning.plan import Plan
from ..pruning.schedules import SCHEDULES, levels
from ..training.settings import DistillationSettings, StageSettings, TrainingSettings
from .base import METHODS, Course, MethodResult
from .presets import PresetSettings
from .trained import TrainedMethod

if TYPE_CHECKING:
    from ..training.checkpoints import Checkpoints
    from ..training.removal import RemovalTarget

__all__ = ["CPD", "PRESETS", "CPDSettings"]

PRESETS: Mapping[str, dict[str, Any]] = {
    "quick": {"prune": {"epochs": 3}, "tune": {"epochs": 3}},
    "standard": {"prune": {"epochs": 10}, "tune": {"epochs": 40}},
}
"""What a preset sets; other fields, and those that are given, stay as they are."""


class CPDSettings(PresetSettings):
    """What CPD lets a person choose."""

    PRESETS: ClassVar = PRESETS

    preset: Literal["own", "quick", "standard"] = Field(
        default="own",
        title="Preset",
        description="Sets the number of epochs: “quick” for a first look. “own” takes the fields as they are.",
    )
    budget: UnitBudget = "macs"
    criterion: Literal[("plan", *GROUP_CRITERIA)] = Field(  # type: ignore[valid-type]
        default="gate_fisher",
        title="Importance",
        description="“gate_fisher”: one gate per unit, image by image [D]; “fisher”: per parameter and batch, as in "
        "the authors' code [C]; “plan”: the plan's criterion, where groups know it.",
    )
    cost: Literal["budget", "none", "macs", "parameters", "latency"] = Field(
        default="budget",
        title="Importance per saved",
        description="The unit that costs least importance per saved MAC (parameter, millisecond) goes first.",
    )
    interval: int = Field(default=10, ge=1, le=100_000, title="Steps between two removals")
    schedule: Literal[(*SCHEDULES,)] = Field(  # type: ignore[valid-type]
        default="linear", title="Removal over the pruning stage"
    )
    round_to: RoundTo = 4
    min_keep: MinKeep = 0.1
    kinds: Kinds = KINDS
    training: TrainingSettings = Field(default=TrainingSettings(), title="Training")
    distillation: DistillationSettings = Field(default=DistillationSettings(alpha=0.5), title="Distillation")
    prune: StageSettings = Field(
        default=StageSettings(epochs=10, learning_rate=0.01, schedule="constant", weight_decay=5e-4),
        title="Pruning while training",
    )
    tune: StageSettings = Field(
        default=StageSettings(epochs=40, learning_rate=0.01, weight_decay=5e-4), title="Fine-tuning"
    )


@METHODS.register("cpd")
class CPD(TrainedMethod):
    """CPD: remove the cheapest channels, heads and neurons every few steps while the dense model teaches."""

    title = "CPD · comb, prune, distill"
    provenance = (
        "Groups, Fisher importance, iterative removal with distillation: Schmitt et al., ITSC 2024 [P, C]; "
        "exact groups, budgets, score per saved cost, the loss and all hyper-parameters are ours [D]."
    )
    Settings = CPDSettings
    removes = "units"

    @classmethod
    def course(cls, plan: Plan) -> Course:
        """See ``Method.course``."""
        settings = CPDSettings.parse(plan.method_settings)
        prune, tune = settings.prune.epochs, settings.tune.epochs
        return Course(
            (("Pruning while training", prune), ("Fine-tuning", tune)),
            (*levels(settings.schedule, plan.sparsity, prune), *[plan.sparsity] * tune),
        )

    @classmethod
    def check(cls, model: Any, splits: Any, plan: Plan) -> None:
        """Refuse what cannot work: no data or groups, unknown names, a target out of reach, a teacher that does not
        fit."""
        from ..training.distillation import teacher_for
        from ..training.loop import check_training
        from ..training.removal import check_removal

        settings = CPDSettings.parse(plan.method_settings)
        check_training(splits, settings.training)
        check_removal(model, plan, _target(settings, plan))
        teacher_for(settings.distillation, model)

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
        """Comb; prune while training with the teacher; fine-tune the small network with the teacher."""
        from ..training.distillation import make_objective
        from ..training.removal import GradualRemoval
        from .results import structured_result

        settings = CPDSettings.parse(plan.method_settings)
        removal = GradualRemoval(
            model,
            plan,
            _target(settings, plan),
            interval=settings.interval,
            epochs=settings.prune.epochs,
            schedule=settings.schedule,
            progress=progress,
        )
        loss = make_objective(settings.distillation, model, splits)
        with cls._run(model, splits, plan, progress=progress, checkpoints=checkpoints) as run:
            run.stage(settings.prune, loss, hooks=[removal], best_from=settings.prune.epochs)
            run.stage(settings.tune, loss, hooks=[removal.finished()])
        return structured_result(run, removal)


def _target(settings: CPDSettings, plan: Plan) -> "RemovalTarget":
    from ..pruning.groups.budget import Limits
    from ..training.removal import RemovalTarget

    criterion = plan.criterion if settings.criterion == "plan" else settings.criterion
    cost: Any = settings.budget if settings.cost == "budget" else settings.cost
    return RemovalTarget(
        share=plan.sparsity,
        budget=settings.budget,
        criterion=criterion,
        allocation="global",
        cost=None if cost in ("none", "channels") else cost,
        limits=Limits(settings.round_to, settings.min_keep),
        kinds=settings.kinds,
    )
