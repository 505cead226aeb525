"""Attention transfer: the student looks where its teacher looks (Zagoruyko & Komodakis, ICLR 2017, eq. 2).

The attention of a feature map [N, C, H, W] is the sum over channels of squares, flattened to [N, H·W] and divided by
its Euclidean norm. Channels are summed, so a student with fewer of them is compared with its teacher as it is. Maps
are taken where a stage ends: before each layer that lowers the resolution, and at the last map of the network.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import PlanError
from ..models.traced import TracedModel

__all__ = ["FeatureMaps", "Place", "attention_loss", "stage_ends"]

Place = tuple[str, bool]
"""Name of a module, and whether the map is its input (else its output)."""


def attention_loss(students: list[Tensor], teachers: list[Tensor]) -> Tensor:
    """Σ over stages of ‖q(student) − q(teacher)‖², mean over images; exactly 0 for equal maps."""
    total = [
        (_attention(student) - _attention(teacher)).square().sum(1).mean()
        for student, teacher in zip(students, teachers, strict=True)
    ]
    return torch.stack(total).sum()


def _attention(map_NCHW: Tensor) -> Tensor:
    return F.normalize(map_NCHW.float().square().sum(1).flatten(1), dim=1)


def stage_ends(model: TracedModel) -> tuple[tuple[Place, ...], tuple[tuple[int, int], ...]]:
    """Where the model's stages end, and the resolution (H, W) of each map there.

    Raises:
        PlanError: when the model has no feature maps, as plain transformers do.
    """
    seen: list[tuple[str, Any, Any]] = []

    def watch(name: str) -> Callable[..., None]:
        return lambda _, inputs, output: seen.append((name, _map(inputs), _map(output)))

    modules = [
        (name, part)
        for name, part in model.graph_module.named_modules()
        if name and not list(part.children()) and not isinstance(part, nn.Identity)
    ]
    handles = [part.register_forward_hook(watch(name)) for name, part in modules]
    training = model.graph_module.training
    try:
        with torch.no_grad():
            model.eval().predict(torch.zeros(1, *model.input_shape, device=model.device))
    finally:
        for handle in handles:
            handle.remove()
        model.train(training)
    places: list[Place] = []
    sizes: list[tuple[int, int]] = []
    last: tuple[str, bool, tuple[int, int]] | None = None
    first = next((name for name, _, after in seen if after is not None), "")
    for name, before, after in seen:
        # The image itself is no map; a size that has come already is a branch of the same stage.
        narrowed = before is not None and after is not None and after[0] * after[1] < before[0] * before[1]
        if narrowed and last is not None and before not in sizes and min(after) > 0:
            places.append((name, True))
            sizes.append(before)
        last = (name, False, after) if after is not None and max(after) > 1 else last
    # Tokens follow a map that only the first layer makes: nothing is learned from that one.
    if last is not None and last[2] not in sizes and last[0] != first:
        places.append(last[:2])
        sizes.append(last[2])
    if not places:
        raise PlanError("Attention transfer compares feature maps, and this model has none: set its weight to 0.")
    return tuple(places), tuple(sizes)


def _map(value: Any) -> tuple[int, int] | None:
    """The resolution of a feature map; None for anything else."""
    while isinstance(value, tuple | list) and value:
        value = value[0]
    return (int(value.shape[2]), int(value.shape[3])) if isinstance(value, Tensor) and value.ndim == 4 else None


class FeatureMaps:
    """The maps at ``places`` of a module, newly filled by each forward pass."""

    def __init__(self, module: nn.Module, places: tuple[Place, ...]) -> None:
        self._maps: dict[int, Tensor] = {}
        self._count = len(places)
        parts = dict(module.named_modules())
        self._handles = [self._attach(parts[name], index, before) for index, (name, before) in enumerate(places)]

    def _attach(self, part: nn.Module, index: int, before: bool) -> Any:
        def keep(_module: nn.Module, inputs: tuple[Tensor, ...], output: Any = None) -> None:
            self._maps[index] = inputs[0] if before else output

        return part.register_forward_pre_hook(keep) if before else part.register_forward_hook(keep)

    def take(self) -> list[Tensor]:
        """The maps of the last pass, in the order of the places; they are forgotten here."""
        maps = [self._maps[index] for index in range(self._count)]
        self._maps.clear()
        return maps

    def close(self) -> None:
        """Detach from the module."""
        for handle in self._handles:
            handle.remove()
        self._maps.clear()
