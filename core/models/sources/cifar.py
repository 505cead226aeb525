"""The residual networks of CIFAR-10."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ...errors import CheckpointError, ModelError
from ...progress import SILENT, Progress
from ..specs import ModelSpec, Weights
from .base import IMAGENET_MEAN, IMAGENET_STD, MODEL_SOURCES, BuiltModel, choose_weights, finish, seeded

if TYPE_CHECKING:
    from ..checkpoints import Checkpoint

__all__ = ["CIFAR10_CLASSES", "CifarSource"]

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_DEPTHS = {f"resnet{depth}": depth for depth in (20, 32, 44, 56, 110)}
_NORMALISATION = (
    "Images are normalised with the ImageNet mean and deviation, which the published CIFAR ResNets were trained with; "
    "set another mean and deviation with the data if yours were not."
)


class CifarSource:
    """CIFAR ResNets: 20 to 110 layers for 32×32 images, with your checkpoint or random weights."""

    def unavailable(self) -> str | None:
        return None

    def names(self) -> list[str]:
        return list(_DEPTHS)

    def weights(self, name: str) -> tuple[Weights, ...]:
        return ("checkpoint", "random")

    def build(
        self, spec: ModelSpec, *, checkpoint: Checkpoint | None = None, progress: Progress = SILENT
    ) -> BuiltModel:
        from ..cifar_resnet import CifarResNet

        choose_weights(self, spec)
        shape = spec.input_shape or (3, 32, 32)
        if shape[0] != 3:
            raise ModelError(f"The CIFAR ResNets read images of 3 channels; got an input of {shape[0]}.")
        found = checkpoint.num_classes if checkpoint else None
        num_classes = spec.num_classes or found or 10
        with seeded(spec.seed):
            module = CifarResNet(_DEPTHS[spec.name], num_classes)
        try:
            notes = finish(module, spec, checkpoint)
        except CheckpointError as error:
            raise CheckpointError(f"{error}{_other_depth(spec.name, checkpoint)}") from None
        return BuiltModel(
            module,
            shape,
            "classification",
            num_classes,
            class_names=CIFAR10_CLASSES if num_classes == 10 else None,
            mean=IMAGENET_MEAN if checkpoint else None,
            std=IMAGENET_STD if checkpoint else None,
            notes=(*notes, _NORMALISATION) if checkpoint else notes,
        )


def _other_depth(name: str, checkpoint: Checkpoint | None) -> str:
    """Say which of these networks a checkpoint belongs to, when its names show it."""
    state = checkpoint.state if checkpoint else {}
    blocks = {match[1] for key in state if (match := re.match(r"layer3\.(\d+)\.conv1\.weight$", key))}
    likely = f"resnet{6 * len(blocks) + 2}"
    return f" It looks like {likely}." if likely in _DEPTHS and likely != name else ""


MODEL_SOURCES.register("cifar")(CifarSource())
