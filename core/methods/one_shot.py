"""One-shot pruning: rank the weights once, remove the least important ones, do not train."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import Field

from ..progress import SILENT, Progress
from ..pruning.fields import CalibrationImages, RecalibrationImages
from ..pruning.plan import Plan
from ..settings import Settings
from .base import METHODS, Method, MethodResult

if TYPE_CHECKING:
    from ..training.checkpoints import Checkpoints

__all__ = ["OneShot", "OneShotSettings"]


class OneShotSettings(Settings):
    """What one-shot pruning lets a person choose."""

    recalibrate: bool = Field(
        default=True,
        title="Recalibrate BatchNorm",
        description="Measure BatchNorm's statistics again on training images after pruning, without labels. No weight "
        "changes; at high sparsity most of the accuracy hangs on it.",
    )
    recalibration_images: RecalibrationImages = 1000
    calibration_images: CalibrationImages = 128


@METHODS.register("one_shot")
class OneShot(Method):
    """One-shot: remove the least important weights at once, without training."""

    title = "One-shot"
    provenance = (
        "Textbook procedure; nothing is reconstructed. Criteria and allocations name their papers. "
        "BatchNorm recalibration is an option of ours [D]."
    )
    Settings = OneShotSettings

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
        """Score → allocate → mask → apply → recalibrate."""
        from ..analysis.recalibration import recalibrate_batchnorm
        from ..pruning.criteria import CalibrationContext
        from ..pruning.masks import apply_masks, mask_statistics
        from ..pruning.ranking import choose_masks, counts_for, rank

        settings = OneShotSettings.parse(plan.method_settings)
        context = CalibrationContext(
            splits=splits, images=settings.calibration_images, seed=plan.seed, progress=progress
        )
        pruned = model.clone()

        ranking = rank(pruned, plan, context)
        counts = counts_for(ranking, plan, sensitivity=sensitivity)
        masks = choose_masks(ranking, plan, counts)
        apply_masks(pruned, masks)

        notes = [*ranking.notes]
        if not any(counts.values()):
            notes.append("Sparsity 0 removes nothing: the result is the dense model, bit for bit.")
        elif settings.recalibrate and splits is None:
            notes.append("BatchNorm was not recalibrated, because no data were given.")
        elif settings.recalibrate:
            layers = recalibrate_batchnorm(
                pruned, splits, images=settings.recalibration_images, seed=plan.seed, progress=progress
            )
            notes.append(
                f"{layers} BatchNorm layers were recalibrated."
                if layers
                else "There is no BatchNorm to recalibrate in this model."
            )
        return MethodResult(pruned, masks, mask_statistics(model, masks), tuple(notes))
