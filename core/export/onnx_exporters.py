"""PyTorch's two ONNX exporters behind one function, quiet, and failing in words.

The TorchScript exporter comes first: over seven torchvision networks on a 2-core machine it took 0.6–5.5 s of CPU where
the newer one (``dynamo=True``) took 8–42 s, and ONNX Runtime ran both files equally fast (0.96–1.0×; a ViT with fused
attention 1.18× slower). The newer one is asked when the first fails to export or to agree with PyTorch, and when a
model is too large for one file.
"""

import logging
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import onnx
import torch
from torch import Tensor, fx

from ..errors import ExportError
from ..models.eval_mode import eval_mode

if TYPE_CHECKING:
    from ..models.traced import TracedModel

__all__ = ["EXPORTERS", "INPUT", "OUTPUT", "main_node", "main_output_graph", "write_onnx"]

INPUT: Final = "images"
OUTPUT: Final = "logits"


def main_output_graph(model: "TracedModel") -> fx.GraphModule:
    """The model's graph cut to its main output (the one that ``predict`` returns), sharing its tensors."""
    graph = fx.Graph()
    graph.output(main_node(graph.graph_copy(model.graph_module.graph, {})))
    cut = fx.GraphModule(model.graph_module, graph)
    cut.graph.eliminate_dead_code()
    cut.delete_all_unused_submodules()
    cut.recompile()
    return cut


def main_node(returned: Any) -> fx.Node:
    """The node behind the main logits: the rule of ``main_output``, on what a graph returns instead of tensors.

    Raises:
        ExportError: when the graph returns no tensor.
    """
    while not isinstance(returned, fx.Node):
        if isinstance(returned, Mapping) and returned:
            returned = returned[next((key for key in ("out", "logits") if key in returned), next(iter(returned)))]
        elif isinstance(returned, tuple | list) and returned:
            returned = returned[0]
        else:
            raise ExportError(f"The model returns {type(returned).__name__} where logits were expected.")
    return returned


def _torchscript(graph: fx.GraphModule, example: Tensor, path: Path, options: dict[str, Any], dynamic: bool) -> None:
    if dynamic:
        options |= {"dynamic_axes": {INPUT: {0: "batch"}, OUTPUT: {0: "batch"}}}
    torch.onnx.export(graph, (example,), str(path), dynamo=False, **options)


def _dynamo(graph: fx.GraphModule, example: Tensor, path: Path, options: dict[str, Any], dynamic: bool) -> None:
    if dynamic:
        options |= {"dynamic_shapes": ({0: "batch"},)}
    torch.onnx.export(graph, (example,), str(path), dynamo=True, **options)


EXPORTERS: Final = {"torchscript": _torchscript, "dynamo": _dynamo}


def write_onnx(
    graph: fx.GraphModule, example: Tensor, path: Path, *, exporter: str, opset: int, dynamic: bool, beside: bool
) -> onnx.ModelProto:
    """Export ``graph`` to ``path`` and return what was written, without tensors that lie ``beside`` it (dynamo only).

    Raises:
        ExportError: naming the operation that cannot be expressed, or what the system refused.
    """
    options: dict[str, Any] = {"input_names": [INPUT], "output_names": [OUTPUT], "opset_version": opset}
    options |= {"verbose": False, "external_data": beside}
    try:
        with eval_mode(graph), torch.no_grad(), _quiet():
            EXPORTERS[exporter](graph, example, path, options, dynamic)
    except OSError as problem:
        raise ExportError(f"The ONNX file could not be written: {problem.strerror or problem}.") from problem
    except Exception as problem:
        raise ExportError(_in_words(problem, opset)) from problem
    proto = onnx.load(str(path), load_external_data=False)
    written = next((entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")), opset)
    if written != opset:
        raise ExportError(
            f"ONNX opset {opset} was asked, but an operation of this model needs opset {written}. Choose {written}."
        )
    return proto


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence for the exporters' chatter: a deprecation notice, remarks on traced constants, version conversion."""
    # on a failure the TorchScript exporter prints its whole graph, and only a private switch keeps that out of stdout
    getattr(torch._C, "_jit_set_onnx_log_output_stream", str)("stderr")
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.simplefilter("ignore", torch.jit.TracerWarning)
            warnings.filterwarnings("ignore", message="Setting ONNX exporter to use operator set version")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _in_words(problem: Exception, opset: int) -> str:
    text = str(problem)
    operation = re.search(r"operator '?([\w:]+)", text) or re.search(r"((?:aten|prims?|torchvision)(?:::|\.)\w+)", text)
    if operation:
        return (
            f"ONNX opset {opset} cannot express the operation {operation.group(1)} as this model uses it. "
            "Choose another opset, or replace the operation."
        )
    first = next((line.strip() for line in text.splitlines() if line.strip()), type(problem).__name__)
    return f"PyTorch could not export this model to ONNX opset {opset}: {first[:300]}"
