"""Products and functional layers: linear, convolutions, attention, norms with weights."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx

from ..recording import Untraceable
from ..tracer import First, Tracer
from .registry import flat, rule


@rule("einsum")
def _einsum(t: Tracer, out: Tensor, equation: str, *operands: Any, **_: Any) -> fx.Node:
    return t.emit("einsum", equation, *flat(operands))


@rule("linear")
def _linear(t: Tracer, out: Tensor, x: Any, weight: Any, bias: Any = None) -> fx.Node:
    return t.emit("linear", x, weight, bias)


@rule("bilinear")
def _bilinear(t: Tracer, out: Tensor, x: Any, y: Any, weight: Any, bias: Any = None) -> fx.Node:
    return t.emit("bilinear", x, y, weight, bias)


def _per_axis(value: Any, count: int) -> Any:
    """``1`` and ``[1]`` and ``(1, 1)`` are the same stride; strings stay."""
    if isinstance(value, str):
        return value
    values = tuple(value) if isinstance(value, tuple | list) else (value,)
    return values * count if len(values) == 1 else values


@rule("conv1d", "conv2d", "conv3d")
def _conv(
    t: Tracer,
    out: Tensor,
    x: Any,
    weight: Tensor,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> fx.Node:
    n = weight.ndim - 2
    return t.emit(
        f"conv{n}d", x, weight, bias, _per_axis(stride, n), _per_axis(padding, n), _per_axis(dilation, n), groups
    )


@rule("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
def _conv_transpose(
    t: Tracer,
    out: Tensor,
    x: Any,
    weight: Tensor,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> fx.Node:
    n = weight.ndim - 2
    return t.emit(
        f"conv_transpose{n}d",
        x,
        weight,
        bias,
        _per_axis(stride, n),
        _per_axis(padding, n),
        _per_axis(output_padding, n),
        groups,
        _per_axis(dilation, n),
    )


@rule("convolution")
def _convolution(
    t: Tracer,
    out: Tensor,
    x: Any,
    weight: Tensor,
    bias: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    output_padding: Any,
    groups: int,
) -> fx.Node:
    if transposed:
        return _conv_transpose(t, out, x, weight, bias, stride, padding, output_padding, groups, dilation)
    return _conv(t, out, x, weight, bias, stride, padding, dilation, groups)


@rule("scaled_dot_product_attention")
def _attention(
    t: Tracer,
    out: Tensor,
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:
    dropout = t.attention_dropout(t.path[-1], dropout_p)
    if dropout_p and not t.probing:
        raise Untraceable("Attention dropout is active in eval mode: the model has no fixed output.", final=True)
    if dropout and not enable_gqa:
        if is_causal:
            attn_mask = torch.ones(query.shape[-2], key.shape[-2], dtype=torch.bool, device=t.device).tril()
        with t:  # recorded like any forward
            return _attention_with_dropout(query, key, value, attn_mask, dropout=dropout, scale=scale)
    settings = {"scale": scale, "enable_gqa": enable_gqa}
    return t.emit("scaled_dot_product_attention", query, key, value, attn_mask, 0.0, is_causal, **settings)


def _attention_with_dropout(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, *, dropout: float, scale: float | None
) -> Tensor:
    """Attention in parts, because the fused function cannot follow ``train()`` and ``eval()``. [N, H, L, D] each."""
    weights = (query * (query.shape[-1] ** -0.5 if scale is None else scale)) @ key.transpose(-2, -1)
    if mask is not None:
        weights = weights.masked_fill(~mask, float("-inf")) if mask.dtype == torch.bool else weights + mask
    return F.dropout(F.softmax(weights, dim=-1), dropout, training=False) @ value


@rule("embedding")
def _embedding(t: Tracer, out: Tensor, a: Any, b: Any, *_: Any, **kw: Any) -> fx.Node:
    index, weight = (a, b) if b.is_floating_point() else (b, a)  # F.embedding and aten.embedding differ in order
    if kw.get("max_norm") is not None:
        raise Untraceable("An embedding with max_norm changes its weight while it runs; this is not supported.")
    return t.emit("embedding", index, weight)


@rule("batch_norm")
def _batch_norm(t: Tracer, out: Tensor, x: Any, *args: Any, **kw: Any) -> fx.Node:
    if len(args) >= 5:  # torch.batch_norm(x, weight, bias, mean, var, training, momentum, eps, …), and aten
        weight, bias, mean, var, training, momentum, eps = args[:7]
    else:  # F.batch_norm(x, mean, var, weight=…, …)
        mean, var = args[:2] if len(args) >= 2 else (kw["running_mean"], kw["running_var"])
        weight, bias = kw.get("weight"), kw.get("bias")
        training, momentum, eps = kw.get("training", False), kw.get("momentum", 0.1), kw.get("eps", 1e-5)
    return t.emit("batch_norm", x, mean, var, weight, bias, bool(training), momentum, eps)


@rule("_native_batch_norm_legit_no_training")
def _native_batch_norm(
    t: Tracer, out: Any, x: Any, weight: Any, bias: Any, mean: Any, var: Any, momentum: float, eps: float
) -> First:
    return First(t.emit("batch_norm", x, mean, var, weight, bias, False, momentum, eps))


@rule("layer_norm")
def _layer_norm(
    t: Tracer,
    out: Tensor,
    x: Any,
    shape: Any = None,
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
    *_: Any,
    **kw: Any,
) -> fx.Node:
    return t.emit("layer_norm", x, list(kw.get("normalized_shape", shape)), weight, bias, eps)


@rule("group_norm")
def _group_norm(
    t: Tracer,
    out: Tensor,
    x: Any,
    groups: int = 1,
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
    *_: Any,
    **kw: Any,
) -> fx.Node:
    return t.emit("group_norm", x, kw.get("num_groups", groups), weight, bias, eps)


@rule("rms_norm")
def _rms_norm(
    t: Tracer, out: Tensor, x: Any, shape: Any = None, weight: Any = None, eps: float | None = None, **kw: Any
) -> fx.Node:
    return t.emit("rms_norm", x, list(kw.get("normalized_shape", shape)), weight, eps)


@rule("instance_norm")
def _instance_norm(t: Tracer, out: Tensor, x: Any, *args: Any, **kw: Any) -> fx.Node:
    if args and len(args) > 5:  # aten order
        weight, bias, mean, var, use_input, momentum, eps = args[:7]
    else:
        mean, var = (*args, None, None)[:2] if args else (kw.get("running_mean"), kw.get("running_var"))
        weight, bias = kw.get("weight"), kw.get("bias")
        use_input, momentum, eps = kw.get("use_input_stats", True), kw.get("momentum", 0.1), kw.get("eps", 1e-5)
    return t.emit("instance_norm", x, mean, var, weight, bias, use_input, momentum, eps)


@rule("local_response_norm")
def _local_response_norm(
    t: Tracer, out: Tensor, x: Any, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> fx.Node:
    return t.emit("local_response_norm", x, size, alpha, beta, k)
