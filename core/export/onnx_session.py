"""Sessions of ONNX Runtime, one way for parity and timing. Knows no torch."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnxruntime

__all__ = ["onnx_session"]


def onnx_session(model: Path | bytes, *, threads: int = 1) -> "onnxruntime.InferenceSession":
    """A CPU session of ONNX Runtime with ``threads`` threads per operator, silent but for errors.

    Waiting threads sleep instead of spinning. With 2 threads on 2 shared cores a ResNet-18 took 10 ms so, 29 ms when
    spinning stopped after each run, and 40 ms with the default: spinning takes the cores from whoever has the work.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(
        model if isinstance(model, bytes) else str(model), options, providers=["CPUExecutionProvider"]
    )
