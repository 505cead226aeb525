"""PyTorch in eager mode on the CPU."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .base import LATENCY_RUNTIMES

if TYPE_CHECKING:
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
