"""One walk over the graph that gives every tensor's shape, on the meta device: no memory, no arithmetic."""

import warnings
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.node import map_arg
from torch.overrides import TorchFunctionMode

from .layers import known_shape
from .traced import TracedModel, main_output
from .vocabulary import FUNCTIONS

__all__ = ["Walk", "output_shape", "walk"]

_NAMES = "add sub mul truediv maximum minimum relu relu6 silu gelu sigmoid tanh hardswish softmax"
_ELEMENTWISE = frozenset(FUNCTIONS[name].call for name in _NAMES.split())
"""Their result has the shape and type of the first operand when all tensors among the operands are alike."""

_ATTENTION = FUNCTIONS["scaled_dot_product_attention"].call

Walk = dict[fx.Node, Any]
"""Value of each node: tensors are on the meta device (shape and dtype, no data); sizes are integers."""


class _Twins(TorchFunctionMode):
    """Replaces every real tensor in a call by a twin without data."""

    def __init__(self) -> None:
        super().__init__()
        self._twins: dict[int, tuple[Tensor, Tensor]] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = {key: self._twin(value) for key, value in (kwargs or {}).items()}
        return func(*(self._twin(value) for value in args), **kwargs)

    def _twin(self, value: Any) -> Any:
        if isinstance(value, list | tuple):
            twins = [self._twin(item) for item in value]
            return twins if isinstance(value, list) else tuple(twins)
        if not isinstance(value, Tensor) or value.device.type == "meta":
            return value
        known = self._twins.get(id(value))
        if known is None or known[0] is not value:
            known = self._twins[id(value)] = (value, value.detach().to("meta"))
        return known[1]


def walk(model: TracedModel, *, batch: int = 1) -> Walk:
    """Run the graph in eval mode on meta tensors of ``batch`` images and keep every node's value."""
    module = model.graph_module
    values: Walk = {}
    training = {child: child.training for child in module.modules()}
    dtype = next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.float32)
    module.eval()
    try:
        with torch.no_grad(), warnings.catch_warnings(), _Twins():
            warnings.simplefilter("ignore")
            for node in module.graph.nodes:
                values[node] = _value(module, node, values, (batch, *model.input_shape), dtype)
    finally:
        for child, mode in training.items():
            child.training = mode
    return values


def _value(module: nn.Module, node: fx.Node, values: Walk, shape: tuple[int, ...], dtype: torch.dtype) -> Any:
    if node.op == "placeholder":
        return torch.empty(shape, device="meta", dtype=dtype)
    if node.op == "get_attr":
        path, _, leaf = str(node.target).rpartition(".")
        return getattr(module.get_submodule(path), leaf).detach().to("meta")
    args: Any = map_arg(node.args, lambda used: values[used])
    kwargs = map_arg(node.kwargs, lambda used: values[used])
    if node.op == "output":
        return args[0]
    layer = module.get_submodule(str(node.target)) if node.op == "call_module" else None
    with torch._C.DisableTorchFunction():  # every look at a shape would pass through the mode
        result = _known(node.target, layer, args)
    if result is not None:
        return result
    if layer is not None:
        return type(layer).forward(layer, *args, **kwargs)
    return node.target(*args, **kwargs)  # type: ignore[operator]


def _known(target: Any, layer: nn.Module | None, args: Any) -> Tensor | None:
    """The result of what is slow on the meta device and simple to tell; None for everything else."""
    if layer is not None:
        shape = known_shape(layer, args[0]) if len(args) == 1 else None
        return None if shape is None else args[0] if shape == args[0].shape else args[0].new_empty(shape)
    if target in _ELEMENTWISE and _alike(args):
        return args[0]
    if target is torch.cat and len(args) > 1 and len({(tensor.ndim, tensor.dtype) for tensor in args[0]}) == 1:
        return _joined(*args)
    if target is _ATTENTION and len(args) > 2:
        query, key, value = args[:3]
        if query.shape[:-2] == key.shape[:-2] == value.shape[:-2]:
            return query.new_empty((*query.shape[:-1], value.shape[-1]))
    return None


def _joined(tensors: list[Tensor], dim: int) -> Tensor:
    """``torch.cat`` without the checks, which the graph has passed when it was captured."""
    shape = list(tensors[0].shape)
    shape[dim] = sum(tensor.shape[dim] for tensor in tensors)
    return tensors[0].new_empty(shape)


def _alike(args: tuple[Any, ...]) -> bool:
    """Whether the operands are floating-point tensors of one shape and type, and numbers after the first."""
    first = args[0]
    if not isinstance(first, Tensor) or not first.is_floating_point():
        return False
    return all(
        (arg.shape == first.shape and arg.dtype == first.dtype)
        if isinstance(arg, Tensor)
        else type(arg) in (int, float)
        for arg in args[1:]
    )


def output_shape(model: TracedModel) -> tuple[int, ...]:
    """Shape of the main output for one image: ``(1, classes)`` or ``(1, classes, H, W)``."""
    values = walk(model)
    output = next(node for node in model.graph_module.graph.nodes if node.op == "output")
    return tuple(main_output(values[output]).shape)
