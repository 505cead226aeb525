"""What identifies a model before it is built. Knows no torch, so that pages can use it at once."""

from typing import Literal

from pydantic import Field

from ..settings import Settings

__all__ = ["ModelSpec", "Task", "Weights"]

Task = Literal["classification", "segmentation"]
Weights = Literal["random", "published", "checkpoint"]


class ModelSpec(Settings):
    """Where a model comes from and which weights it gets.

    ``source`` is a key of ``MODEL_SOURCES`` (sample, cifar, torchvision, timm, python); ``name`` is the name inside
    that source. ``published`` weights are the ones that the source ships or downloads; ``checkpoint`` weights are read
    from the file ``checkpoint``.
    """

    source: str = Field(title="Source")
    name: str = Field(title="Architecture")
    weights: Weights = Field(default="published", title="Weights")
    checkpoint: str | None = Field(default=None, title="Checkpoint file")
    num_classes: int | None = Field(default=None, ge=1, title="Classes", description="Empty: what the weights say.")
    input_shape: tuple[int, int, int] | None = Field(default=None, title="Input (channels, height, width)")
    seed: int = Field(default=0, ge=0, title="Seed", description="For random weights.")
