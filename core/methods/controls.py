"""Controls: what a training method must beat at equal epochs (METHODS §D). With or without distillation."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from ..progress import SILENT, Progress
from ..pruning.fields import CalibrationImages
from ..pruning.plan import Plan
from ..pruning.schedules import SCHEDULES, levels
from ..settings import Settings
from ..training.settings import DistillationSettings, StageSettings, TrainingSettings
from .base import METHODS, Course, MethodResult
from .trained import TrainedMethod

if TYPE_CHECKING:
    from ..training.checkpoints import Checkpoints

__all__ = [
    "DenseTrained",
    "FineTuneSettings",
    "Gradual",
    "GradualSettings",
    "OneShotFineTuned",
    "RandomFineTuned",
]

_Schedule = Literal[(*SCHEDULES,)]  # type: ignore[valid-type]


class FineTuneSettings(Settings):
    """What a control with one stage of training lets a person choose."""

    calibration_images: CalibrationImages = 128
    training: TrainingSettings = Field(default=TrainingSettings(), title="Training")
    distillation: DistillationSettings = Field(default=DistillationSettings(form="off"), title="Distillation")
    tune: StageSettings = Field(default=StageSettings(epochs=20, learning_rate=0.01), title="Fine-tuning")


class GradualSettings(FineTuneSettings):
    """What gradual magnitude pruning lets a person choose."""

    schedule: _Schedule = Field(default="cubic", title="Sparsity over the epochs")
    prune: StageSettings = Field(
        default=StageSettings(epochs=20, learning_rate=0.01, schedule="constant"),
        title="Gradual pruning",
        description="Its epochs are the sparsity levels, one per epoch.",
    )


class _Control(TrainedMethod):
    """What the controls share: one stage, with the teacher that the settings name, if any."""

    Settings: ClassVar[type[FineTuneSettings]] = FineTuneSettings

    @classmethod
    def course(cls, plan: Plan) -> Course:
        """See ``Method.course``."""
        epochs = cls.Settings.parse(plan.method_settings).tune.epochs
        return Course((("Fine-tuning", epochs),), (plan.sparsity,) * epochs)

    @classmethod
    def check(cls, model: Any, splits: Any, plan: Plan) -> None:
        """As ``Method.check``; also refuses missing data, a batch that is too large and a teacher that does not fit."""
        from ..training.checks import check_training
        from ..training.distillation import teacher_for

        settings = cls.Settings.parse(plan.method_settings)
        check_training(splits, settings.training)
        super().check(model, splits, plan)
        teacher_for(settings.distillation, model)


@METHODS.register("one_shot_fine_tune")
class OneShotFineTuned(_Control):
    """One-shot, then fine-tune: remove the least important weights at once, and train the rest."""

    title = "One-shot + fine-tune"
    provenance = "Textbook procedure (Han et al., NeurIPS 2015, one round) [P]; hyper-parameters are ours [D]."

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
        """Score → allocate → mask → recalibrate BatchNorm; train with the masks."""
        from ..analysis.recalibration import recalibrate_batchnorm
        from ..pruning.criteria import CalibrationContext
        from ..pruning.gradual import masks_at
        from ..pruning.masks import apply_masks
        from ..training.distillation import make_objective
        from ..training.masking import KeepMasks
        from .results import masked_result

        settings = cls.Settings.parse(plan.method_settings)
        context = CalibrationContext(splits, settings.calibration_images, seed=plan.seed, progress=progress)
        masks = masks_at(model, plan, context, sensitivity=sensitivity)
        pruned = model.clone()
        apply_masks(pruned, masks)
        loss = make_objective(settings.distillation, model, splits)
        with cls._run(model, splits, plan, progress=progress, checkpoints=checkpoints) as run:
            if not run.continued:
                recalibrate_batchnorm(pruned, splits, seed=plan.seed, progress=progress)
                run.start_from(pruned)
            run.stage(settings.tune, loss, hooks=[KeepMasks(masks)])
        return masked_result(model, run, masks)


@METHODS.register("random_fine_tune")
class RandomFineTuned(OneShotFineTuned):
    """Random, then fine-tune: remove weights by lot, and train the rest. The least that a criterion must beat."""

    title = "Random + fine-tune"
    provenance = "A control, not a method: the plan's criterion is replaced by chance [D]."

    @classmethod
    def run(cls, model: Any, splits: Any, plan: Plan, **others: Any) -> MethodResult:
        """One-shot with the criterion ``random``; the plan's allocation shares the amounts."""
        return super().run(model, splits, plan.changed(criterion="random"), **others)


@METHODS.register("gradual")
class Gradual(_Control):
    """Gradual magnitude pruning: raise the sparsity epoch by epoch, what is pruned stays pruned; then fine-tune."""

    title = "Gradual magnitude pruning"
    provenance = (
        "Zhu & Gupta 2017: cubic schedule, weights are gone once pruned [P]. One level per epoch, other schedules, "
        "allocations and hyper-parameters are ours [D]."
    )
    Settings = GradualSettings

    @classmethod
    def course(cls, plan: Plan) -> Course:
        """See ``Method.course``."""
        settings = GradualSettings.parse(plan.method_settings)
        steps, tune = settings.prune.epochs, settings.tune.epochs
        return Course(
            (("Gradual pruning", steps), ("Fine-tuning", tune)),
            (*levels(settings.schedule, plan.sparsity, steps), *[plan.sparsity] * tune),
        )

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
        """One level per epoch, without recovery; then fine-tune at the full sparsity."""
        from ..pruning.criteria import CalibrationContext
        from ..training.distillation import make_objective
        from ..training.masking import GradualMasks, KeepMasks
        from .results import masked_result

        settings = GradualSettings.parse(plan.method_settings)
        pruner = GradualMasks(
            plan,
            schedule=settings.schedule,
            epochs=settings.prune.epochs,
            mode="hard",
            context=CalibrationContext(splits, settings.calibration_images, seed=plan.seed),
            sensitivity=sensitivity,
        )
        loss = make_objective(settings.distillation, model, splits)
        with cls._run(model, splits, plan, progress=progress, checkpoints=checkpoints) as run:
            run.stage(settings.prune, loss, hooks=[pruner], best_from=settings.prune.epochs)
            run.stage(settings.tune, loss, hooks=[KeepMasks(pruner.masks)])
        return masked_result(model, run, pruner.masks)


@METHODS.register("dense_trained")
class DenseTrained(_Control):
    """Dense, trained equally: remove nothing and train for as many epochs, so that training alone gets its due."""

    title = "Dense, trained equally long"
    provenance = "A control, not a method: the plan's sparsity is not used [D]."
    removes = "nothing"

    @classmethod
    def course(cls, plan: Plan) -> Course:
        """See ``Method.course``."""
        return super().course(plan.changed(sparsity=0.0))

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
        """Train all weights."""
        import torch

        from ..pruning.ranking import unique_layers
        from ..training.distillation import make_objective
        from .results import masked_result

        settings = cls.Settings.parse(plan.method_settings)
        plan = plan.changed(sparsity=0.0)
        loss = make_objective(settings.distillation, model, splits)
        with cls._run(model, splits, plan, progress=progress, checkpoints=checkpoints) as run:
            run.stage(settings.tune, loss)
        weights: dict[str, Any] = {name: module.weight for name, module in unique_layers(model)[0].items()}
        masks = {name: torch.ones(weight.shape, dtype=torch.bool) for name, weight in weights.items()}
        return masked_result(model, run, masks)
