"""ONNX Runtime on the CPU."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .base import LATENCY_RUNTIMES

if TYPE_CHECKING:
    from ...comb.geometry import LayerGeometry
    from ...models.traced import TracedModel

__all__ = ["OnnxRuntime"]


@LATENCY_RUNTIMES.register("onnxruntime")
class OnnxRuntime:
    """ONNX Runtime: the exported file as it is deployed, all graph optimisations on."""

    title = "ONNX Runtime"

    def unavailable(self) -> str | None:
        """Why it cannot be used here, or None."""
        return None if find_spec("onnxruntime") else "The package onnxruntime is not installed; install it with pip."

    def prepare(self, model: "TracedModel", folder: Path) -> Path:
        """Export the model at the default opset with a free batch dimension.

        Raises:
            ExportError: when the model cannot be exported.
        """
        from ...export.onnx_file import OnnxSettings, export_onnx

        path = folder / "model.onnx"
        export_onnx(model, path, settings=OnnxSettings(check=False))
        return path

    def threads(self, count: int) -> AbstractContextManager[None]:
        """Nothing: threads belong to a session here."""
        return nullcontext()

    def open(self, prepared: Path | bytes, images: np.ndarray, *, threads: int) -> Callable[[], object]:
        """A session on the exported file, or on its content."""
        from ...export.onnx_session import onnx_session

        session = onnx_session(prepared, threads=threads)
        feed = {session.get_inputs()[0].name: images}
        return lambda: session.run(None, feed)

    def open_layer(self, layer: "LayerGeometry", weight: np.ndarray, *, threads: int) -> Callable[[], object]:
        """A session on a file of this layer alone."""
        from ..layer_model import input_shape, layer_model

        return self.open(layer_model(layer, weight), np.zeros(input_shape(layer), np.float32), threads=threads)
