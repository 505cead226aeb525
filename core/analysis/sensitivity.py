"""Measured sensitivity: what pruning each layer alone costs, at several levels, on the selection split.

Importing this needs no torch; measuring does.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator

from ..progress import SILENT, Progress
from ..pruning.estimate import LEVELS
from ..settings import Settings

if TYPE_CHECKING:
    from ..data.splits import Splits
    from ..models.traced import TracedModel

__all__ = ["SensitivitySettings", "measure_sensitivity"]


class SensitivitySettings(Settings):
    """How sensitivity is measured."""

    levels: tuple[float, ...] = Field(default=LEVELS, min_length=1, max_length=50, title="Sparsity levels")
    criterion: str = Field(default="magnitude", title="Criterion")
    images: int = Field(
        default=1000, ge=1, le=100_000, title="Images", description="Of the selection split, stratified; all if fewer."
    )
    batch_size: int | None = Field(default=None, ge=1, title="Batch size", description="Empty: by the image size.")
    calibration_images: int = Field(
        default=128, ge=1, le=10_000, title="Images for the criterion", description="For criteria that look at data."
    )
    precision: Literal["float32", "bfloat16"] = Field(
        default="float32",
        title="Precision",
        description="bfloat16 took 40 % of the time on a processor with AMX. It is used only where at least 99 % of "
        "the dense model's predictions stay the same.",
    )
    seed: int = Field(default=0, ge=0, title="Seed")

    @field_validator("levels")
    @classmethod
    def _ascending(cls, levels: tuple[float, ...]) -> tuple[float, ...]:
        if not all(0.0 < level < 1.0 for level in levels):
            raise ValueError("every level must be above 0 and below 1")
        if any(second <= first for first, second in itertools.pairwise(levels)):
            raise ValueError("the levels must grow")
        return levels


def measure_sensitivity(
    model: "TracedModel",
    splits: "Splits",
    settings: SensitivitySettings | None = None,
    *,
    layers: Sequence[str] | None = None,
    previous: Mapping[str, Any] | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Prune one layer at a time at every level and measure loss and score on the same images as the dense model.

    The model is never modified. The result is the one of the obvious loop (set the mask, evaluate, next), but what
    lies before the layer is computed once per batch, and several levels run side by side on the threads that torch
    was given.

    Args:
        model: what is measured.
        splits: data; the selection split is used, never the test split.
        settings: levels, criterion, images.
        layers: which prunable layers (all). Shared weights are measured once, under their first name.
        previous: an earlier result of the same model, data and settings, complete or not; its layers are not
            measured again. Any other result is ignored.
        progress: ``publish`` gets the result so far after every layer (at most four times a second).

    Returns:
        JSON with ``estimated`` (False), ``complete``, ``metric`` (accuracy or mIoU), ``n``, ``settings``, ``model``
        and ``data`` (fingerprints), ``precision`` (the one used), ``agreement`` (share of the dense model's predictions
        that bfloat16 left the same; None for float32), ``notes`` (sentences), ``dense`` (``loss``, ``score``, ``low``,
        ``high``, ``n``) and ``layers``: name → one dict per level with ``sparsity`` (the level), ``removed`` (weights),
        ``loss``, ``score``, ``low``, ``high`` (95 %, as ``evaluate``), ``n``, ``dloss`` (loss − dense loss),
        ``dloss_se`` (its standard error over the same images, paired) and ``dscore_se`` (likewise; None for mIoU).
        A loss that is not finite is ``None``, and so is its difference.

    Raises:
        PlanError: nothing to prune, unknown layers or criterion, weights that are not finite.
        DataError: when the model's outputs do not fit the classes of the data.
        Cancelled: when the person cancelled; what was published last stands.
    """
    from .sweep import sweep

    return sweep(model, splits, settings or SensitivitySettings(), layers=layers, previous=previous, progress=progress)
