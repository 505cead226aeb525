"""Measured sensitivity: what pruning each layer alone costs, at several levels, on the selection split.

Importing this needs no torch; measuring does.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator

from ..progress import SILENT, Progress
from ..pruning.estimate import LEVELS
from ..pruning.fields import CalibrationImages
from ..settings import Settings

if TYPE_CHECKING:
    from ..data.splits import Splits
    from ..models.traced import TracedModel

__all__ = ["SensitivitySettings", "measure_sensitivity"]


class SensitivitySettings(Settings):
    """How sensitivity is measured."""

    of: Literal["layers", "groups"] = Field(
        default="layers",
        title="What is pruned",
        description="Weights of one layer at a time, or units (channels, heads, neurons) of one group at a time.",
    )
    levels: tuple[float, ...] = Field(default=LEVELS, min_length=1, max_length=50, title="Sparsity levels")
    criterion: str = Field(default="magnitude", title="Criterion")
    images: int = Field(
        default=1000, ge=1, le=100_000, title="Images", description="Of the selection split, stratified; all if fewer."
    )
    exact: bool = Field(
        default=False,
        title="Every cell on all images",
        description="In float32: what the obvious loop gives, to rounding. Takes several times as long.",
    )
    tolerance: float = Field(
        default=0.01,
        gt=0.0,
        le=0.5,
        title="Known well enough",
        description="A cell sees no more images when the rest could move its score by no more than this (95 %), or by "
        "a tenth of what it has lost; its interval says so.",
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto",
        title="Precision",
        description="auto: bfloat16 on a processor with AMX. bfloat16 is used only where at least 99 % of the dense "
        "model's answers stay right or wrong as they were.",
    )
    batch_size: int | None = Field(default=None, ge=1, title="Batch size", description="Empty: by the image size.")
    calibration_images: CalibrationImages = 128
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
    """Prune one layer, or one group, at a time at every level and measure loss and score beside the dense model.

    The model is never modified. Every cell (a layer or group at one level) agrees with the obvious loop (prune,
    evaluate, next): with ``exact`` to rounding, else within its own interval. What makes it quick: what lies before the
    layer runs once for all levels; BatchNorms are folded; bfloat16 where the processor has AMX and the dense model
    answers alike; and cells stop when they know enough. They see the images first on which the dense model's loss is
    largest, then others at random, until the rest could not change what is claimed (``core.analysis.pairing``). A first
    picture of one level on 32 images comes before. The same seed gives the same result, with any number of threads.

    Memory: two copies of the weights while precisions are compared, the masks of one layer's levels, activations of
    one batch for each thread, at most 256 MB of activations that wait for the next layer, at most 128 MB of images, and
    5 bytes for each image and cell (8 for each class, image and cell in segmentation).

    Args:
        model: what is measured.
        splits: data; the selection split is used, never the test split.
        settings: layers or groups, levels, criterion, images, and how exactly.
        layers: which prunable layers, or which groups (all). Shared weights are measured once, under their first name.
        previous: an earlier result of the same model, data and settings, complete or not; its settled cells are not
            measured again. Any other result is ignored.
        progress: ``publish`` gets the result so far, at most four times a second; until it is complete
            with ``preview``, an estimate of the same shape: as ``dloss`` the share of Σ score² that each level takes.

    Returns:
        JSON with ``estimated`` (False), ``complete``, ``kind`` (layers or groups), ``metric`` (accuracy or mIoU),
        ``n`` (images), ``settings``, ``model`` and ``data`` (fingerprints), ``precision`` (the one used),
        ``agreement`` (share of the dense model's answers that bfloat16 left right or wrong as they were; None for
        float32), ``notes`` (sentences), ``dense`` (``loss``, ``score``, ``low``, ``high``, ``n``), and ``layers`` or,
        for groups, ``groups`` (the other is empty): name → one dict per level with ``sparsity`` (the level),
        ``removed`` (weights or units), ``share`` (the part of them that this is), ``loss``, ``score``, ``low``,
        ``high`` (95 %, as ``evaluate``, wider for what was not seen), ``n`` (images seen), ``dloss`` (loss − dense
        loss), ``dloss_se`` (its standard error, paired), ``dscore`` and ``dscore_se`` (likewise), ``settled`` (no more
        images will be seen). A level that removes nothing is the dense model. A loss that is not finite is ``None``,
        and so is its difference.

    Raises:
        PlanError: nothing to prune, unknown layers, groups or criterion, weights that are not finite.
        DataError: when the model's outputs do not fit the classes of the data.
        Cancelled: when the person cancelled; what was published last stands.
    """
    from .sweep import sweep

    return sweep(model, splits, settings or SensitivitySettings(), names=layers, previous=previous, progress=progress)
