"""What a structured training method must beat at equal epochs: the same small size at once, then fine-tuning."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from ..comb.kinds import KINDS
from ..progress import SILENT, Progress
from ..pruning.fields import CalibrationImages, Kinds, MinKeep, RoundTo, UnitBudget
from ..pruning.groups import GROUP_ALLOCATIONS, GROUP_CRITERIA
from ..pruning.plan import Plan
from ..settings import Settings
from ..training.settings import DistillationSettings, StageSettings, TrainingSettings
from .base import METHODS, Course, MethodResult
from .trained import TrainedMethod

if TYPE_CHECKING:
    from ..training.checkpoints import Checkpoints
    from ..training.removal import RemovalTarget

__all__ = ["OneShotStructuredFineTuned", "StructuredFineTuneSettings"]


class StructuredFineTuneSettings(Settings):
    """What one-shot structured pruning with fine-tuning lets a person choose."""

    budget: UnitBudget = "macs"
    criterion: Literal[("plan", *GROUP_CRITERIA)] = Field(  # type: ignore[valid-type]
        default="plan", title="Importance", description="“plan”: the plan's; “random” is the control of controls."
    )
    allocation: Literal[("plan", *GROUP_ALLOCATIONS)] = Field(  # type: ignore[valid-type]
        default="plan", title="Allocation over groups", description="“plan”: the plan's, where groups know it."
    )
    round_to: RoundTo = 4
    min_keep: MinKeep = 0.1
    kinds: Kinds = KINDS
    calibration_images: CalibrationImages = 512
    training: TrainingSettings = Field(default=TrainingSettings(), title="Training")
    distillation: DistillationSettings = Field(default=DistillationSettings(form="off"), title="Distillation")
    tune: StageSettings = Field(
        default=StageSettings(epochs=40, learning_rate=0.01, weight_decay=5e-4), title="Fine-tuning"
    )


@METHODS.register("one_shot_structured_fine_tune")
class OneShotStructuredFineTuned(TrainedMethod):
    """One-shot structured, then fine-tune: remove the least important units at once, and train what is left."""

    title = "One-shot structured + fine-tune"
    provenance = "Textbook procedure (Li et al., ICLR 2017) [P]; groups, budgets and hyper-parameters are ours [D]."
    Settings = StructuredFineTuneSettings
    removes = "units"

    @classmethod
    def course(cls, plan: Plan) -> Course:
        """See ``Method.course``."""
        epochs = StructuredFineTuneSettings.parse(plan.method_settings).tune.epochs
        return Course((("Fine-tuning", epochs),), (plan.sparsity,) * epochs)

    @classmethod
    def check(cls, model: Any, splits: Any, plan: Plan) -> None:
        """Refuse missing data or groups, unknown names, a target out of reach, a teacher that does not fit."""
        from ..training.distillation import teacher_for
        from ..training.loop import check_training
        from ..training.removal import check_removal

        settings = StructuredFineTuneSettings.parse(plan.method_settings)
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
        """Comb → score → remove; train the small network."""
        from ..training.distillation import make_objective
        from ..training.removal import GradualRemoval
        from .results import structured_result

        settings = StructuredFineTuneSettings.parse(plan.method_settings)
        removal = GradualRemoval(
            model,
            plan,
            _target(settings, plan),
            interval=0,
            epochs=settings.tune.epochs,
            calibration_images=settings.calibration_images,
            progress=progress,
        )
        with cls._run(model, splits, plan, progress=progress, checkpoints=checkpoints) as run:
            loss = make_objective(settings.distillation, model, splits)
            run.stage(settings.tune, loss, hooks=[removal], best_from=1)
        return structured_result(run, removal)


def _target(settings: StructuredFineTuneSettings, plan: Plan) -> "RemovalTarget":
    from ..pruning.groups.budget import Limits
    from ..pruning.groups.choosing import checked_allocation
    from ..training.removal import RemovalTarget

    allocation = plan.allocation if settings.allocation == "plan" else settings.allocation
    return RemovalTarget(
        share=plan.sparsity,
        budget=settings.budget,
        criterion=plan.criterion if settings.criterion == "plan" else settings.criterion,
        allocation=checked_allocation(allocation),
        cost=None,
        limits=Limits(settings.round_to, settings.min_keep),
        kinds=settings.kinds,
    )
