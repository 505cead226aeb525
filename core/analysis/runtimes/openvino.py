"""OpenVINO on the CPU, an optional extra."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .base import LATENCY_RUNTIMES
from .onnx_runtime import OnnxRuntime

if TYPE_CHECKING:
    from ...comb.geometry import LayerGeometry
    from ...models.traced import TracedModel

__all__ = ["OpenVino"]


@LATENCY_RUNTIMES.register("openvino")
class OpenVino:
    """OpenVINO: the exported file compiled for this processor, in float32 like the others."""

    title = "OpenVINO"

    def unavailable(self) -> str | None:
        """Why it cannot be used here, or None."""
        if find_spec("openvino"):
            return None
        return "OpenVINO is not installed; add it with: uv pip install 'espalier[openvino]'."

    def prepare(self, model: "TracedModel", folder: Path) -> Path:
        """The same file as ONNX Runtime runs.

        Raises:
            ExportError: when the model cannot be exported.
        """
        return OnnxRuntime().prepare(model, folder)

    def threads(self, count: int) -> AbstractContextManager[None]:
        """Nothing: threads belong to a compiled model here."""
        return nullcontext()

    def open(self, prepared: Path | bytes, images: np.ndarray, *, threads: int) -> Callable[[], object]:
        """The model compiled for exactly these images; 16-bit arithmetic stays off, so that answers agree.

        Raises:
            MeasurementError: when OpenVINO cannot read or compile the file.
        """
        import openvino

        from ...errors import MeasurementError

        settings: dict[str, Any] = {
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
        }
        try:
            engine = openvino.Core()
            network = engine.read_model(prepared if isinstance(prepared, bytes) else str(prepared))
            network.reshape({network.input(0): list(images.shape)})
            request = engine.compile_model(network, "CPU", settings).create_infer_request()
        except RuntimeError as error:
            raise MeasurementError(f"OpenVINO cannot run this file: {str(error).strip()[-200:]}") from None
        feed = {0: images}
        return lambda: list(request.infer(feed, share_inputs=True, share_outputs=True).values())

    def open_layer(self, layer: "LayerGeometry", weight: np.ndarray, *, threads: int) -> Callable[[], object]:
        """A file of this layer alone, compiled."""
        from ..layer_model import input_shape, layer_model

        return self.open(layer_model(layer, weight), np.zeros(input_shape(layer), np.float32), threads=threads)
