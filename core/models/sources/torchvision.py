"""torchvision's classification and segmentation models by name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import ModelError
from ...progress import SILENT, Progress
from ..downloads import fetch
from ..specs import ModelSpec, Weights
from .base import IMAGENET_MEAN, IMAGENET_STD, MODEL_SOURCES, BuiltModel, choose_weights, finish, seeded
from .torchvision_names import CLASSIFICATION, INPUT_SIZES, SEGMENTATION

if TYPE_CHECKING:
    from torch import nn

    from ..checkpoints import Checkpoint

__all__ = ["TorchvisionSource"]

_NORMALISATION = (
    "Images are normalised with the ImageNet mean and deviation, as is usual for this architecture; set another mean "
    "and deviation with the data if these weights were trained otherwise."
)


class TorchvisionSource:
    """torchvision: 80 classification and 6 segmentation architectures, with published weights when online."""

    def unavailable(self) -> str | None:
        return None

    def names(self) -> list[str]:
        return [*CLASSIFICATION, *SEGMENTATION]

    def weights(self, name: str) -> tuple[Weights, ...]:
        return ("published", "checkpoint", "random")

    def build(
        self, spec: ModelSpec, *, checkpoint: Checkpoint | None = None, progress: Progress = SILENT
    ) -> BuiltModel:
        from torchvision.models import get_model_weights

        kind = choose_weights(self, spec)
        shape = _input_shape(spec)
        published = get_model_weights(spec.name).DEFAULT if kind == "published" else None
        found = checkpoint.num_classes if checkpoint else None
        own_classes = len(published.meta["categories"]) if published else found or _default_classes(spec.name)
        num_classes = spec.num_classes or own_classes
        notes: tuple[str, ...]
        if published is not None:
            module, notes = _published(spec, published, num_classes, own_classes, progress)
        else:
            with seeded(spec.seed):
                module = _architecture(spec.name, num_classes, shape)
            notes = finish(module, spec, checkpoint)
        module, dropped = _without_auxiliary(module)
        if published is None:
            dropped = ()
        known = published is not None and num_classes == own_classes
        trained = kind != "random"
        return BuiltModel(
            module,
            shape,
            "segmentation" if spec.name in SEGMENTATION else "classification",
            num_classes,
            class_names=tuple(published.meta["categories"]) if known and published else None,
            mean=IMAGENET_MEAN if trained else None,
            std=IMAGENET_STD if trained else None,
            notes=(*notes, *dropped, *((_NORMALISATION,) if kind == "checkpoint" else ())),
        )


def _input_shape(spec: ModelSpec) -> tuple[int, int, int]:
    side = INPUT_SIZES.get(spec.name, 224)
    shape = spec.input_shape or (3, side, side)
    if shape[0] != 3:
        raise ModelError(f"torchvision's models read images of 3 channels; got an input of {shape[0]}.")
    return shape


def _default_classes(name: str) -> int:
    return 21 if name in SEGMENTATION else 1000


def _architecture(name: str, num_classes: int, shape: tuple[int, int, int]) -> nn.Module:
    """The module with random weights, made for images of ``shape`` where the architecture has a fixed size."""
    from torchvision.models import get_model

    options: dict[str, Any] = {"num_classes": num_classes}
    if name in SEGMENTATION:
        options["weights_backbone"] = None
    if name in ("googlenet", "inception_v3"):
        options |= {"aux_logits": False, "init_weights": True}
    if name.startswith(("vit_", "maxvit")) and shape[1] != shape[2]:
        raise ModelError(f"“{name}” reads square images; got {shape[1]}×{shape[2]}.")
    if name.startswith("vit_"):
        options["image_size"] = shape[1]
    if name.startswith("maxvit"):
        options["input_size"] = shape[1:]
    try:
        return get_model(name, weights=None, **options)
    except (ValueError, RuntimeError, AssertionError) as error:
        raise ModelError(f"“{name}” cannot be built for images of {shape[1]}×{shape[2]}: {error}") from None


def _published(
    spec: ModelSpec, published: Any, num_classes: int, own_classes: int, progress: Progress
) -> tuple[nn.Module, tuple[str, ...]]:
    """The module with torchvision's own weights; another number of classes gets a new, random head."""
    import torch
    from torchvision.models import get_model

    shape = _input_shape(spec)
    side = INPUT_SIZES.get(spec.name, 224)
    if spec.name.startswith(("vit_", "maxvit")) and shape != (3, side, side):
        raise ModelError(f"The published weights of “{spec.name}” need images of {side}×{side}; got {shape[1:]}.")
    file = fetch(published.url, Path(torch.hub.get_dir()) / "checkpoints" / Path(published.url).name, progress=progress)
    try:
        with seeded(spec.seed):
            module = get_model(spec.name, weights=published)
    except Exception as error:  # a damaged file in the cache raises nearly anything
        raise ModelError(f"The weights in {file} cannot be read ({error}). Delete the file and try again.") from None
    notes = (f"Published weights {published} ({file.name}).",)
    if num_classes == own_classes:
        return module, notes
    with seeded(spec.seed):
        other = _architecture(spec.name, num_classes, shape)
    wanted = other.state_dict()
    same = {name: value for name, value in module.state_dict().items() if name in wanted}
    other.load_state_dict(
        {name: value for name, value in same.items() if value.shape == wanted[name].shape}, strict=False
    )
    for flag in ("transform_input",):  # GoogLeNet and Inception renormalise their input for published weights
        if hasattr(module, flag):
            setattr(other, flag, getattr(module, flag))
    return other, (*notes, f"The head was replaced: {num_classes} classes with random weights, to be trained.")


def _without_auxiliary(module: nn.Module) -> tuple[nn.Module, tuple[str, ...]]:
    """Drop the heads that torchvision uses in training only."""
    dropped = False
    for name in ("aux_classifier", "AuxLogits", "aux1", "aux2"):
        if getattr(module, name, None) is not None:
            setattr(module, name, None)
            dropped = True
    if dropped and hasattr(module, "aux_logits"):
        module.aux_logits = False  # type: ignore[assignment]
    return module, ("The auxiliary head, used in training only, was left out.",) if dropped else ()


MODEL_SOURCES.register("torchvision")(TorchvisionSource())
