"""Settings of an ONNX export. Apart from the exporter, because the dashboard draws a form from them without torch."""

from typing import Final

from pydantic import Field

from ..settings import Settings

__all__ = ["DEFAULT_OPSET", "SUPPORTED_OPSETS", "OnnxSettings"]

SUPPORTED_OPSETS: Final = tuple(range(13, 21))
DEFAULT_OPSET: Final = 17
"""Has LayerNormalization, and is read by ONNX Runtime since 1.12 and by current TensorRT and OpenVINO."""


class OnnxSettings(Settings):
    """How a model is exported to ONNX, and how thoroughly the file is checked."""

    opset: int = Field(
        default=DEFAULT_OPSET,
        ge=SUPPORTED_OPSETS[0],
        le=SUPPORTED_OPSETS[-1],
        title="Opset",
        description="Version of ONNX's operators. Older ones are read by more programs.",
    )
    dynamic_batch: bool = Field(default=True, title="Any batch size", description="Otherwise one image at a time.")
    check: bool = Field(default=True, title="Check the file", description="ONNX's checker, and ONNX Runtime's answers.")
    images: int = Field(default=64, ge=10, le=10_000, title="Images compared with PyTorch")
