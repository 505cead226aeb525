"""The canonical vocabulary: every function that may stand in a captured graph, each under one name and one form.

Function, method and operator forms of an operation (``torch.relu``, ``x.relu_()``, ``F.relu``, ``aten.relu``) all
become the one entry here, so that rules over graphs are written once. A graph file may name these functions and no
others. ``arguments(node)`` reads a node's arguments by name, whatever their position.

Conventions: ``dim`` and ``dims`` are never negative; sizes are explicit integers (``split`` lists every size,
``reshape`` lists every size and has −1 at the one that follows the batch); in-place operations have been replaced by
their out-of-place form; ``contiguous`` and ``clone`` are gone.
"""

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx

from ..errors import ModelError

__all__ = ["DTYPES", "FUNCTIONS", "Function", "arguments", "name_of"]

DTYPES: dict[str, torch.dtype] = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (
        torch.float32,
        torch.float64,
        torch.float16,
        torch.bfloat16,
        torch.int64,
        torch.int32,
        torch.int16,
        torch.int8,
        torch.uint8,
        torch.bool,
    )
}


def assign(x: Tensor, index: Any, value: Any) -> Tensor:
    """A copy of ``x`` in which ``x[index] = value`` was done."""
    result = x.clone()
    result[index] = value
    return result


def cast(x: Tensor, dtype: torch.dtype) -> Tensor:
    """``x`` in another element type."""
    return x.to(dtype)


def expand(x: Tensor, sizes: list[int]) -> Tensor:
    """Broadcast ``x`` to ``sizes``; −1 keeps a size."""
    return x.expand(sizes)


def full_like(x: Tensor, value: float, dtype: torch.dtype) -> Tensor:
    """A tensor of the shape and on the device of ``x``, filled with ``value``."""
    return torch.full_like(x, value, dtype=dtype)


def new_full(x: Tensor, sizes: list[int], value: float, dtype: torch.dtype) -> Tensor:
    """A tensor of ``sizes`` on the device of ``x``, filled with ``value``."""
    return x.new_full(sizes, value, dtype=dtype)


def repeat(x: Tensor, sizes: list[int]) -> Tensor:
    """``x`` repeated ``sizes[i]`` times along dimension i."""
    return x.repeat(sizes)


def size(x: Tensor, dim: int) -> int:
    """Size of one dimension as an integer; captured graphs ask for the batch size only."""
    return x.size(dim)


def unfold_dim(x: Tensor, dim: int, length: int, step: int) -> Tensor:
    """Windows of ``length`` along ``dim``, appended as a last dimension (``Tensor.unfold``)."""
    return x.unfold(dim, length, step)


@dataclass(frozen=True)
class Function:
    """One canonical function: what is called, and the names of its arguments (``*`` before the keyword-only ones)."""

    name: str
    call: Callable[..., Any]
    parameters: tuple[str, ...]
    keywords: tuple[str, ...] = ()


_TABLE: dict[str, tuple[Callable[..., Any], str]] = {
    # element-wise, two operands
    "add": (operator.add, "x y"),
    "sub": (operator.sub, "x y"),
    "mul": (operator.mul, "x y"),
    "truediv": (operator.truediv, "x y"),
    "floordiv": (operator.floordiv, "x y"),
    "mod": (operator.mod, "x y"),
    "pow": (operator.pow, "x y"),
    "maximum": (torch.maximum, "x y"),
    "minimum": (torch.minimum, "x y"),
    "atan2": (torch.atan2, "x y"),
    "eq": (operator.eq, "x y"),
    "ne": (operator.ne, "x y"),
    "lt": (operator.lt, "x y"),
    "le": (operator.le, "x y"),
    "gt": (operator.gt, "x y"),
    "ge": (operator.ge, "x y"),
    "and": (operator.and_, "x y"),
    "or": (operator.or_, "x y"),
    "xor": (operator.xor, "x y"),
    "where": (torch.where, "condition x y"),
    "masked_fill": (torch.masked_fill, "x mask value"),
    "lerp": (torch.lerp, "x y weight"),
    # element-wise, one operand
    "neg": (operator.neg, "x"),
    "invert": (operator.invert, "x"),
    "abs": (torch.abs, "x"),
    "sign": (torch.sign, "x"),
    "exp": (torch.exp, "x"),
    "exp2": (torch.exp2, "x"),
    "expm1": (torch.expm1, "x"),
    "log": (torch.log, "x"),
    "log2": (torch.log2, "x"),
    "log10": (torch.log10, "x"),
    "log1p": (torch.log1p, "x"),
    "sqrt": (torch.sqrt, "x"),
    "rsqrt": (torch.rsqrt, "x"),
    "reciprocal": (torch.reciprocal, "x"),
    "square": (torch.square, "x"),
    "sin": (torch.sin, "x"),
    "cos": (torch.cos, "x"),
    "tan": (torch.tan, "x"),
    "atan": (torch.atan, "x"),
    "sinh": (torch.sinh, "x"),
    "cosh": (torch.cosh, "x"),
    "erf": (torch.erf, "x"),
    "floor": (torch.floor, "x"),
    "ceil": (torch.ceil, "x"),
    "round": (torch.round, "x"),
    "trunc": (torch.trunc, "x"),
    "isnan": (torch.isnan, "x"),
    "isinf": (torch.isinf, "x"),
    "isfinite": (torch.isfinite, "x"),
    "logical_not": (torch.logical_not, "x"),
    "sigmoid": (torch.sigmoid, "x"),
    "tanh": (torch.tanh, "x"),
    "relu": (F.relu, "x"),
    "relu6": (F.relu6, "x"),
    "silu": (F.silu, "x"),
    "mish": (F.mish, "x"),
    "selu": (F.selu, "x"),
    "softsign": (F.softsign, "x"),
    "tanhshrink": (F.tanhshrink, "x"),
    "logsigmoid": (F.logsigmoid, "x"),
    "hardswish": (F.hardswish, "x"),
    "hardsigmoid": (F.hardsigmoid, "x"),
    "hardtanh": (F.hardtanh, "x low high"),
    "hardshrink": (F.hardshrink, "x threshold"),
    "softshrink": (F.softshrink, "x threshold"),
    "threshold": (F.threshold, "x threshold value"),
    "leaky_relu": (F.leaky_relu, "x slope"),
    "elu": (F.elu, "x alpha"),
    "celu": (F.celu, "x alpha"),
    "softplus": (F.softplus, "x beta threshold"),
    "gelu": (F.gelu, "x * approximate"),
    "clamp": (torch.clamp, "x min max"),
    "cast": (cast, "x dtype"),
    "detach": (Tensor.detach, "x"),
    "prelu": (F.prelu, "x weight"),
    # over one or more dimensions
    "softmax": (F.softmax, "x dim"),
    "log_softmax": (F.log_softmax, "x dim"),
    "glu": (F.glu, "x dim"),
    "normalize": (F.normalize, "x p dim eps"),
    "sum": (torch.sum, "x dims keepdim"),
    "mean": (torch.mean, "x dims keepdim"),
    "amax": (torch.amax, "x dims keepdim"),
    "amin": (torch.amin, "x dims keepdim"),
    "logsumexp": (torch.logsumexp, "x dims keepdim"),
    "vector_norm": (torch.linalg.vector_norm, "x ord dims keepdim"),
    "var": (torch.var, "x dims * correction keepdim"),
    "std": (torch.std, "x dims * correction keepdim"),
    "var_mean": (torch.var_mean, "x dims * correction keepdim"),
    "std_mean": (torch.std_mean, "x dims * correction keepdim"),
    "prod": (torch.prod, "x dim keepdim"),
    "any": (torch.any, "x dim keepdim"),
    "all": (torch.all, "x dim keepdim"),
    "max_dim": (torch.max, "x dim keepdim"),
    "min_dim": (torch.min, "x dim keepdim"),
    "argmax": (torch.argmax, "x dim keepdim"),
    "argmin": (torch.argmin, "x dim keepdim"),
    "cumsum": (torch.cumsum, "x dim"),
    "cumprod": (torch.cumprod, "x dim"),
    "topk": (torch.topk, "x k dim largest sorted"),
    "sort": (torch.sort, "x dim descending"),
    "argsort": (torch.argsort, "x dim descending"),
    # products
    "matmul": (operator.matmul, "x y"),
    "einsum": (torch.einsum, "equation operands"),
    "linear": (F.linear, "x weight bias"),
    "bilinear": (F.bilinear, "x y weight bias"),
    "conv1d": (F.conv1d, "x weight bias stride padding dilation groups"),
    "conv2d": (F.conv2d, "x weight bias stride padding dilation groups"),
    "conv3d": (F.conv3d, "x weight bias stride padding dilation groups"),
    "conv_transpose1d": (F.conv_transpose1d, "x weight bias stride padding output_padding groups dilation"),
    "conv_transpose2d": (F.conv_transpose2d, "x weight bias stride padding output_padding groups dilation"),
    "conv_transpose3d": (F.conv_transpose3d, "x weight bias stride padding output_padding groups dilation"),
    "scaled_dot_product_attention": (
        F.scaled_dot_product_attention,
        "query key value mask dropout causal * scale enable_gqa",
    ),
    "embedding": (F.embedding, "index weight"),
    # norms with functional weights
    "batch_norm": (F.batch_norm, "x running_mean running_var weight bias training momentum eps"),
    "layer_norm": (F.layer_norm, "x shape weight bias eps"),
    "group_norm": (F.group_norm, "x groups weight bias eps"),
    "rms_norm": (F.rms_norm, "x shape weight eps"),
    "instance_norm": (F.instance_norm, "x running_mean running_var weight bias use_input_stats momentum eps"),
    "local_response_norm": (F.local_response_norm, "x size alpha beta k"),
    # pooling and sampling
    "max_pool1d": (F.max_pool1d, "x kernel_size stride padding dilation ceil_mode"),
    "max_pool2d": (F.max_pool2d, "x kernel_size stride padding dilation ceil_mode"),
    "max_pool3d": (F.max_pool3d, "x kernel_size stride padding dilation ceil_mode"),
    "avg_pool1d": (F.avg_pool1d, "x kernel_size stride padding ceil_mode count_include_pad"),
    "avg_pool2d": (F.avg_pool2d, "x kernel_size stride padding ceil_mode count_include_pad divisor_override"),
    "avg_pool3d": (F.avg_pool3d, "x kernel_size stride padding ceil_mode count_include_pad divisor_override"),
    "adaptive_avg_pool1d": (F.adaptive_avg_pool1d, "x output_size"),
    "adaptive_avg_pool2d": (F.adaptive_avg_pool2d, "x output_size"),
    "adaptive_avg_pool3d": (F.adaptive_avg_pool3d, "x output_size"),
    "adaptive_max_pool1d": (F.adaptive_max_pool1d, "x output_size"),
    "adaptive_max_pool2d": (F.adaptive_max_pool2d, "x output_size"),
    "adaptive_max_pool3d": (F.adaptive_max_pool3d, "x output_size"),
    "interpolate": (F.interpolate, "x size scale_factor mode align_corners recompute_scale_factor antialias"),
    "grid_sample": (F.grid_sample, "x grid mode padding_mode align_corners"),
    "affine_grid": (F.affine_grid, "theta size align_corners"),
    "im2col": (F.unfold, "x kernel_size dilation padding stride"),
    "col2im": (F.fold, "x output_size kernel_size dilation padding stride"),
    # moving indices
    "reshape": (torch.reshape, "x sizes"),
    "flatten": (torch.flatten, "x start end"),
    "permute": (torch.permute, "x dims"),
    "squeeze": (torch.squeeze, "x dims"),
    "unsqueeze": (torch.unsqueeze, "x dim"),
    "expand": (expand, "x sizes"),
    "repeat": (repeat, "x sizes"),
    "repeat_interleave": (torch.repeat_interleave, "x repeats dim"),
    "cat": (torch.cat, "tensors dim"),
    "stack": (torch.stack, "tensors dim"),
    "split": (torch.split, "x sizes dim"),
    "unbind": (torch.unbind, "x dim"),
    "getitem": (operator.getitem, "x index"),
    "assign": (assign, "x index value"),
    "index_select": (torch.index_select, "x dim index"),
    "gather": (torch.gather, "x dim index"),
    "roll": (torch.roll, "x shifts dims"),
    "flip": (torch.flip, "x dims"),
    "pad": (F.pad, "x pad mode value"),
    "pixel_shuffle": (F.pixel_shuffle, "x factor"),
    "pixel_unshuffle": (F.pixel_unshuffle, "x factor"),
    "channel_shuffle": (torch.channel_shuffle, "x groups"),
    "unfold_dim": (unfold_dim, "x dim length step"),
    "tril": (torch.tril, "x diagonal"),
    "triu": (torch.triu, "x diagonal"),
    "diagonal": (torch.diagonal, "x offset dim1 dim2"),
    # sizes and constants
    "size": (size, "x dim"),
    "full_like": (full_like, "x value dtype"),
    "new_full": (new_full, "x sizes value dtype"),
}


def _function(name: str, call: Callable[..., Any], signature: str) -> Function:
    before, _, after = signature.partition("*")
    return Function(name, call, tuple(before.split()), tuple(after.split()))


FUNCTIONS: dict[str, Function] = {name: _function(name, *entry) for name, entry in _TABLE.items()}
_BY_CALL: dict[Any, Function] = {function.call: function for function in FUNCTIONS.values()}
assert len(_BY_CALL) == len(FUNCTIONS)


def name_of(target: Any) -> str:
    """Canonical name of a ``call_function`` target.

    Raises:
        ModelError: when the target is outside the vocabulary.
    """
    try:
        return _BY_CALL[target].name
    except (KeyError, TypeError):
        raise ModelError(f"The operation {target!r} is not in the vocabulary of captured graphs.") from None


def arguments(node: fx.Node) -> dict[str, Any]:
    """Arguments of a ``call_function`` node by canonical name; missing trailing ones are left out.

    The operands of ``einsum`` come as one tuple.
    """
    function = FUNCTIONS[name_of(node.target)]
    if function.name == "einsum":
        return {"equation": node.args[0], "operands": tuple(node.args[1:])}
    return dict(zip(function.parameters, node.args, strict=False)) | dict(node.kwargs)
