"""What a latency runtime must offer, and the registry of all of them."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ...registry import Registry

if TYPE_CHECKING:
    from ...comb.geometry import LayerGeometry
    from ...models.traced import TracedModel

__all__ = ["LATENCY_RUNTIMES", "LatencyRuntime", "known_runtimes", "runtime_title", "setting_words"]


class LatencyRuntime(Protocol):
    """A program that runs a trained network. The first line of its docstring is what people read."""

    title: str

    def unavailable(self) -> str | None:
        """Why it cannot be used here and what to do about it, or None when it can."""

    def prepare(self, model: "TracedModel", folder: Path) -> Any:
        """Turn a model into what ``open`` needs, once; files go into ``folder``, which outlives the measurement.

        Raises:
            EspalierError: when this runtime cannot run this model.
        """

    def threads(self, count: int) -> AbstractContextManager[None]:
        """Settings of the whole process for as long as models run with ``count`` threads; put back afterwards."""

    def open(self, prepared: Any, images: np.ndarray, *, threads: int) -> Callable[[], object]:
        """A function that runs the model once on ``images`` (float32 [N, C, H, W]) and waits for the answer."""

    def open_layer(self, layer: "LayerGeometry", weight: np.ndarray, *, threads: int) -> Callable[[], object]:
        """A function that runs one layer alone, with bias and ReLU, once on an example; ready in milliseconds.

        ``weight``: float32 of the layer's shape.
        """


LATENCY_RUNTIMES: Registry[type[LatencyRuntime]] = Registry("latency runtime")


def runtime_title(name: str) -> str:
    """What people call a runtime; its name where this version does not have it."""
    return LATENCY_RUNTIMES[name].title if name in LATENCY_RUNTIMES else name


def setting_words(runtime: str, batch: int, threads: int) -> str:
    """What must be equal for two latencies to be compared: “ONNX Runtime · batch 1 · 1 thread”."""
    return f"{runtime_title(runtime)} · batch {batch} · {threads} thread{'s' * (threads > 1)}"


def known_runtimes(names: Sequence[str]) -> tuple[str, ...]:
    """The names, each once.

    Raises:
        ValueError: for one that is not registered.
    """
    for name in names:
        if name not in LATENCY_RUNTIMES:
            raise ValueError(f"unknown runtime “{name}”; known: {', '.join(LATENCY_RUNTIMES)}")
    return tuple(dict.fromkeys(names))
