"""One layer as an ONNX file: what runtimes are timed on, layer by layer. Knows no torch."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..comb.geometry import LayerGeometry

__all__ = ["identity_model", "input_shape", "layer_model", "random_weight", "with_weight"]


def with_weight(geometry: LayerGeometry, weight: Sequence[int]) -> LayerGeometry:
    """The layer with fewer channels: groups go with the channels of a depthwise convolution, else they stay."""
    shape = tuple(int(size) for size in weight)
    if geometry.depthwise:
        return replace(geometry, weight=shape, groups=max(1, shape[0] * geometry.groups // geometry.weight[0]))
    if geometry.groups > 1 and shape[0] % geometry.groups:
        shape = (max(1, round(shape[0] / geometry.groups)) * geometry.groups, *shape[1:])
    return replace(geometry, weight=shape)


def input_shape(geometry: LayerGeometry, *, batch: int = 1) -> tuple[int, ...]:
    """Shape of the layer's input, the batch first; a linear layer works on ``batch × rows`` vectors."""
    if geometry.kind == "linear":
        return (batch * geometry.space[0], geometry.weight[1])
    into = geometry.weight[0] if geometry.kind == "transposed" else geometry.weight[1] * geometry.groups
    return (batch, into, *geometry.space)


def random_weight(geometry: LayerGeometry) -> np.ndarray:
    """Seeded normal values: kernels take the same time for any that are not 0."""
    return np.random.default_rng(0).standard_normal(geometry.weight, dtype=np.float32)


def layer_model(geometry: LayerGeometry, weight: np.ndarray) -> bytes:
    """An ONNX file of one layer, bias and ReLU, which runtimes fuse, for one example."""
    from onnx import TensorProto, helper, numpy_helper

    if geometry.kind == "linear":
        channels = geometry.weight[0]
        node = helper.make_node("Gemm", ["x", "w", "b"], ["y"], transB=1)
    else:
        transposed = geometry.kind == "transposed"
        channels = geometry.weight[1] * geometry.groups if transposed else geometry.weight[0]
        node = helper.make_node(
            "ConvTranspose" if transposed else "Conv",
            ["x", "w", "b"],
            ["y"],
            strides=list(geometry.stride),
            pads=[*geometry.padding, *geometry.padding],
            dilations=list(geometry.dilation),
            group=geometry.groups,
        )
    graph = helper.make_graph(
        [node, helper.make_node("Relu", ["y"], ["z"])],
        "layer",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, input_shape(geometry))],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(np.zeros(channels, np.float32), "b")],
    )
    return _bytes(graph)


def identity_model() -> bytes:
    """A network that does nothing to an input of shape (1,): what a run costs before any layer works."""
    from onnx import TensorProto, helper

    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, (1,))
    result = helper.make_tensor_value_info("z", TensorProto.FLOAT, (1,))
    return _bytes(helper.make_graph([helper.make_node("Relu", ["x"], ["z"])], "nothing", [value], [result]))


def _bytes(graph: Any) -> bytes:
    from onnx import helper

    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(model.SerializeToString())
