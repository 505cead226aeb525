"""DG2PF: distilled gradual pruning with pruned fine-tuning (Fontana et al., IEEE TAI 2024, 10.1109/TAI.2024.3366497).

Differs from the paper: true magnitude with exact counts, of convolution and linear weights only (the authors' code cuts
the central band of all values, biases and BatchNorm included); any allocation, criterion and schedule, overrides and
protected layers; canonical distillation by default, where the authors' code multiplies the cross-entropy by T² too; a
progressive teacher and the modes ``hard`` and ``dense-gradient``; the best state of each stage is restored, never one
below the target sparsity. What “update only the unpruned weights” means for hidden weights is our reading of
Algorithm 1: they keep their value bit for bit, compete again at the next level, and are 0 in the end.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from ..progress import SILENT, Progress
from ..pruning.fields import CalibrationImages
from ..pruning.plan import Plan
from ..pruning.schedules import SCHEDULES, levels
from ..training.settings import DistillationSettings, StageSettings, TrainingSettings
from .base import METHODS, Course, MethodResult
from .presets import PresetSettings
from .trained import TrainedMethod

if TYPE_CHECKING:
    from ..training.checkpoints import Checkpoints

__all__ = ["DG2PF", "PRESETS", "DG2PFSettings"]

_Schedule = Literal[(*SCHEDULES,)]  # type: ignore[valid-type]

PRESETS: Mapping[str, dict[str, Any]] = {
    "quick": {"tail_epochs": 3, "prune": {"epochs": 5}, "tune": {"epochs": 5}},
    "standard": {
        "tail_epochs": 20,
        "prune": {"epochs": 20, "optimizer": "adamw", "learning_rate": 1e-3, "clip_norm": 1.0, "patience": 5},
        "tune": {"epochs": 60, "optimizer": "sgd", "learning_rate": 0.01, "schedule": "cosine", "patience": 8},
    },
    "large": {
        "tail_epochs": 20,
        "prune": {"epochs": 20, "optimizer": "adamw", "learning_rate": 1e-4, "clip_norm": 1.0, "patience": 5},
        "tune": {"epochs": 60, "optimizer": "sgd", "learning_rate": 0.01, "schedule": "cosine", "patience": 8},
    },
    "authors": {
        "schedule": "linear",
        "mode": "simulated",
        "prune": {
            "optimizer": "adamw",
            "learning_rate": 1e-5,
            "schedule": "constant",
            "weight_decay": 0.0,
            "clip_norm": 0.5,
            "patience": 4,
        },
        "distillation": {"form": "authors", "temperature": 4.0, "alpha": 0.75, "teacher": "dense"},
        "training": {"batch_size": 128, "augment": True},
    },
}
"""What a preset sets; other fields, and those that are given, stay as they are.

``authors``: what their code uses [C]; the others are ours [D].
"""


class DG2PFSettings(PresetSettings):
    """What DG2PF lets a person choose. The defaults are the preset “standard”."""

    PRESETS: ClassVar = PRESETS

    preset: Literal["own", "quick", "standard", "large", "authors"] = Field(
        default="own",
        title="Preset",
        description="Sets the fields below: “quick” for a first look, “standard”, “large” for large pretrained models, "
        "“authors” as in their code. “own” takes the fields as they are.",
    )
    schedule: _Schedule = Field(default="linear", title="Sparsity over the epochs")
    mode: Literal["simulated", "hard", "dense-gradient"] = Field(
        default="simulated",
        title="Hidden weights",
        description="“simulated”: they keep their value and may return; “hard”: they are gone at once; "
        "“dense-gradient”: they go on learning from the gradient of the pruned network.",
    )
    tail_epochs: int = Field(
        default=20,
        ge=0,
        le=10_000,
        title="Epochs at most at the full sparsity",
        description="After the last level, while the score keeps improving (patience of the pruning stage).",
    )
    calibration_images: CalibrationImages = 128
    training: TrainingSettings = Field(default=TrainingSettings(), title="Training")
    distillation: DistillationSettings = Field(default=DistillationSettings(), title="Distillation")
    prune: StageSettings = Field(
        default=StageSettings(
            epochs=20, optimizer="adamw", learning_rate=1e-3, schedule="constant", clip_norm=1.0, patience=5
        ),
        title="Gradual pruning",
        description="Its epochs are the sparsity levels, one per epoch.",
    )
    tune: StageSettings = Field(
        default=StageSettings(epochs=60, learning_rate=0.01, patience=8), title="Fine-tuning without teacher"
    )


@METHODS.register("dg2pf")
class DG2PF(TrainedMethod):
    """DG2PF: hide the smallest weights step by step while the dense model teaches, then fine-tune what is left."""

    title = "DG2PF · distilled gradual pruning"
    provenance = (
        "Algorithms 1 and 2 are printed in Fontana et al., IEEE TAI 2024 [P]; loss form “authors”, clipping and the "
        "preset “authors” are read in their code [C]. Recovery of hidden weights is our reading; true magnitude with "
        "exact counts, allocations, canonical loss, other modes and defaults are ours [D]."
    )
    Settings = DG2PFSettings

    @classmethod
    def course(cls, plan: Plan) -> Course:
        """See ``Method.course``."""
        settings = DG2PFSettings.parse(plan.method_settings)
        steps, tail, tune = settings.prune.epochs, settings.tail_epochs, settings.tune.epochs
        return Course(
            (("Distilled gradual pruning", steps + tail), ("Pruned fine-tuning", tune)),
            (*levels(settings.schedule, plan.sparsity, steps), *[plan.sparsity] * (tail + tune)),
        )

    @classmethod
    def check(cls, model: Any, splits: Any, plan: Plan) -> None:
        """As ``Method.check``; also refuses missing data, a batch that is too large and a teacher that does not fit."""
        from ..training.checks import check_training
        from ..training.distillation import teacher_for

        settings = DG2PFSettings.parse(plan.method_settings)
        check_training(splits, settings.training)
        super().check(model, splits, plan)
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
        """Algorithm 1 (distilled gradual pruning), then Algorithm 2 (pruned fine-tuning)."""
        from ..pruning.criteria import CalibrationContext
        from ..training.distillation import Distillation, ProgressiveTeacher, make_objective
        from ..training.masking import GradualMasks, KeepMasks
        from ..training.objective import CrossEntropy
        from .results import masked_result

        settings = DG2PFSettings.parse(plan.method_settings)
        s_e = settings.prune.epochs
        pruner = GradualMasks(  # line 1: s_e levels in [0, s]; line 5: prune δ_i; lines 7 to 11: hide and recover
            plan,
            schedule=settings.schedule,
            epochs=s_e,
            mode=settings.mode,
            context=CalibrationContext(splits, settings.calibration_images, seed=plan.seed),
            sensitivity=sensitivity,
        )
        loss = make_objective(settings.distillation, model, splits)  # line 8: the teacher is the full network
        hooks: list[Any] = [pruner]
        if isinstance(loss, Distillation) and settings.distillation.teacher == "progressive":
            hooks.append(ProgressiveTeacher(loss, pruner.level))

        with cls._run(model, splits, plan, progress=progress, checkpoints=checkpoints) as run:
            stage = settings.prune.changed(epochs=s_e + settings.tail_epochs)
            run.stage(stage, loss, hooks=hooks, best_from=s_e)  # line 3: while i ≤ s_e or the score improves
            run.stage(
                settings.tune, CrossEntropy(ignore_index=splits.ignore_index), hooks=[KeepMasks(pruner.masks)]
            )  # Algorithm 2
        return masked_result(model, run, pruner.masks)
