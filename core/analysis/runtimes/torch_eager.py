"""PyTorch in eager mode on the CPU."""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .base import LATENCY_RUNTIMES

if TYPE_CHECKING:
    from ...comb.geometry import LayerGeometry
    from ...models.traced import TracedModel

__all__ = ["TorchEager"]


@LATENCY_RUNTIMES.register("torch")
class TorchEager:
    """PyTorch, eager: the model as it is trained and evaluated here, without a compiler."""

    title = "PyTorch (eager)"

    def unavailable(self) -> str | None:
        """Never: training needs PyTorch anyway."""
        return None

    def prepare(self, model: "TracedModel", folder: Path) -> "TracedModel":
        """A copy on the CPU in eval mode; the caller's model keeps its mode and device."""
        copy = model.clone()
        copy.to("cpu")
        copy.eval()
        return copy

    @contextmanager
    def threads(self, count: int) -> Iterator[None]:
        """PyTorch's threads per operator, which belong to the process, for the length of a block."""
        import torch

        before = torch.get_num_threads()
        torch.set_num_threads(count)
        try:
            yield
        finally:
            torch.set_num_threads(before)

    def open(self, prepared: "TracedModel", images: np.ndarray, *, threads: int) -> Callable[[], object]:
        """The forward function in inference mode."""
        import torch

        batch = torch.from_numpy(images)

        def run() -> object:
            with torch.inference_mode():
                return prepared.predict(batch)

        return run

    def open_layer(self, layer: "LayerGeometry", weight: np.ndarray, *, threads: int) -> Callable[[], object]:
        """The layer's own function, then ReLU, in inference mode."""
        import torch
        from torch.nn import functional as F

        from ..layer_model import input_shape

        x, w = torch.zeros(input_shape(layer)), torch.from_numpy(weight)
        channels = layer.weight[1] * layer.groups if layer.kind == "transposed" else layer.weight[0]
        bias = torch.zeros(channels)
        if layer.kind == "linear":
            work = functools.partial(F.linear, x, w, bias)
        else:
            rank = len(layer.space)
            function = getattr(F, f"conv_transpose{rank}d" if layer.kind == "transposed" else f"conv{rank}d")
            work = functools.partial(
                function, x, w, bias, layer.stride, layer.padding, groups=layer.groups, dilation=layer.dilation
            )

        def run() -> object:
            with torch.inference_mode():
                return torch.relu_(work())

        return run
