"""Which layers of an ONNX file hold 2:4 zeros, as runtimes that use them would look for them. Knows no torch."""

from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from ..pruning.patterns import Pattern, fulfils

__all__ = ["patterned_layers"]

_PATTERN = Pattern(2, 4)


def patterned_layers(path: Path) -> int:
    """Convolutions and matrix products whose constant weight has at most 2 of 4 neighbouring inputs that are not 0."""
    graph = onnx.load(str(path)).graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    found = 0
    for node in graph.node:
        if node.op_type not in ("Conv", "Gemm", "MatMul") or len(node.input) < 2 or node.input[1] not in constants:
            continue
        weight = numpy_helper.to_array(constants[node.input[1]])
        turned = node.op_type == "MatMul" or (
            node.op_type == "Gemm" and not any(item.name == "transB" and item.i for item in node.attribute)
        )
        found += fulfils(_PATTERN, np.swapaxes(weight, -1, -2) if turned and weight.ndim == 2 else weight)
    return found
