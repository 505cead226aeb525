"""What a person chooses about training. Importing this needs no torch: forms are drawn from these types.

A run has one ``TrainingSettings`` (data and number format), and one ``StageSettings`` for each of its stages.
"""

from typing import Any, Literal

from pydantic import Field, field_validator

from ..settings import Settings

__all__ = ["DistillationSettings", "StageSettings", "TrainingSettings"]

# Forms fold these fields away: whoever does not know them does not need them.
ADVANCED: dict[str, Any] = {"advanced": True}


class TrainingSettings(Settings):
    """What all stages of a training run share: batches, augmentation, number format."""

    batch_size: int = Field(default=128, ge=2, le=65_536, title="Batch size")
    augment: bool = Field(
        default=True,
        title="Augment",
        description="Random shifts and flips, where the data set says that they are safe.",
    )
    images: int | None = Field(
        default=None, ge=2, title="Training images", description="A fixed, stratified part of the training split."
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        default="auto",
        title="Precision",
        json_schema_extra=ADVANCED,
        description="bf16 computes the layers in half precision and keeps the weights in fp32; “auto” takes it on CUDA "
        "and on processors with AMX. Scores are always measured in fp32.",
    )
    channels_last: bool = Field(
        default=True,
        title="Channels last",
        json_schema_extra=ADVANCED,
        description="Memory order in which convolutions are usually faster.",
    )


class StageSettings(Settings):
    """One stage of training: optimizer, learning rate over time, and when it ends."""

    epochs: int = Field(default=20, ge=1, le=10_000, title="Epochs at most")
    optimizer: Literal["sgd", "adamw"] = Field(default="sgd", title="Optimizer")
    learning_rate: float = Field(default=0.01, gt=0.0, le=10.0, title="Learning rate")
    schedule: Literal["cosine", "step", "constant"] = Field(
        default="cosine",
        title="Learning rate over time",
        description="Half a cosine to 0, a tenth after 50 % and a hundredth after 75 % of the steps, or constant.",
    )
    warmup_epochs: float = Field(
        default=0.0,
        ge=0.0,
        le=1000.0,
        title="Warm-up epochs",
        json_schema_extra=ADVANCED,
        description="The rate grows from 0, in a line.",
    )
    hold: float = Field(
        default=0.0,
        ge=0.0,
        lt=1.0,
        title="Hold the rate for",
        json_schema_extra=ADVANCED,
        description="A fraction of all steps; what happens over time begins after it.",
    )
    weight_decay: float = Field(
        default=0.0,
        ge=0.0,
        le=1.0,
        title="Weight decay",
        json_schema_extra=ADVANCED,
        description="Never on biases, norms and hidden weights.",
    )
    momentum: float = Field(
        default=0.9,
        ge=0.0,
        lt=1.0,
        title="Momentum",
        json_schema_extra=ADVANCED,
        description="Of SGD, Nesterov's form.",
    )
    clip_norm: float = Field(
        default=0.0,
        ge=0.0,
        le=1e6,
        title="Clip gradients at norm",
        json_schema_extra=ADVANCED,
        description="0 does not clip.",
    )
    patience: int = Field(
        default=0,
        ge=0,
        le=10_000,
        title="Patience",
        description="Stop after so many epochs without a better score on the selection split; 0 trains all epochs.",
    )


class DistillationSettings(Settings):
    """Learning from a teacher: L = α·T²·KL(teacher ‖ student) + (1 − α)·cross-entropy (Hinton et al. 2015), and
    β·attention transfer."""

    form: Literal["canonical", "authors", "off"] = Field(
        default="canonical",
        title="Distillation",
        description="“authors”: DG2PF's code multiplies the cross-entropy by T² too. Segmentation always uses "
        "channel-wise distillation: KL over the places of each class (Shu et al., ICCV 2021).",
    )
    temperature: float = Field(default=4.0, gt=0.0, le=100.0, title="Temperature T")
    alpha: float = Field(default=0.75, ge=0.0, le=1.0, title="Weight of the teacher α")
    teacher: Literal["dense", "progressive", "model"] = Field(
        default="dense",
        title="Teacher",
        description="The dense model; the best state of the previous sparsity level; or another stored model.",
    )
    teacher_folder: str | None = Field(
        default=None,
        max_length=4096,
        title="Folder of the teacher",
        description="For the teacher “model”: a folder that TracedModel.save wrote.",
    )
    attention: float = Field(
        default=0.0,
        ge=0.0,
        le=1e6,
        title="Weight of attention transfer β",
        json_schema_extra=ADVANCED,
        description="Adds β times the difference between where student and teacher look at the end of each stage "
        "(Zagoruyko & Komodakis, ICLR 2017); 1 to 100 is usual, 0 is off. Needs feature maps, as CNNs have them.",
    )

    @field_validator("teacher_folder")
    @classmethod
    def _no_empty_name(cls, folder: str | None) -> str | None:
        return folder or None
