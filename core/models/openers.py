"""Composite modules whose ``forward`` hides channels or takes a fused path, opened into layers and glue.

An opener replaces the forward of one module type during capture. It is ordinary torch code: what it calls is
recorded like the code of any model, and ``tracer.call_layer`` records a standard layer under a name.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .layers import StochasticDepth
from .tracer import Tracer

__all__ = ["OPENERS", "opener"]

OPENERS: dict[type | str, Callable[..., Any]] = {}
"""By module type, or by its qualified name where the library may be missing."""


def opener(kind: type | str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator: use the function, called as ``f(tracer, module, *args, **kwargs)``, in place of ``kind.forward``."""

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        OPENERS[kind] = function
        return function

    return add


@opener(nn.MultiheadAttention)
def open_multihead_attention(
    tracer: Tracer,
    module: nn.MultiheadAttention,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Self-attention becomes ``in_proj`` (a Linear with q, k and v side by side), attention, ``out_proj``.

    ``in_proj.weight`` is the original ``in_proj_weight``, and is named so in the state dict. Uses that are rarer
    (other keys than queries, masks, extra biases, unbatched input) run through torch's own functional code instead.
    """
    plain = (
        query is key
        and key is value
        and query.dim() == 3
        and key_padding_mask is None
        and attn_mask is None
        and module.in_proj_weight is not None
        and module.bias_k is None
        and not module.add_zero_attn
    )
    if not plain:
        return nn.MultiheadAttention.forward(
            module,
            query,
            key,
            value,
            key_padding_mask=key_padding_mask,
            need_weights=need_weights,
            attn_mask=attn_mask,
            average_attn_weights=average_attn_weights,
            is_causal=is_causal,
        )
    x = query if module.batch_first else query.transpose(0, 1)  # N, tokens, width
    examples, tokens, width = x.shape
    path = tracer.path[-1]
    packed = _packed_projection(module)
    name = f"{path}.in_proj" if path else "in_proj"
    tracer.rename(f"{name}.weight", f"{path}.in_proj_weight".lstrip("."))
    tracer.rename(f"{name}.bias", f"{path}.in_proj_bias".lstrip("."))
    qkv = tracer.call_layer(name, packed, x)
    # Taken apart before the heads are: queries and keys may become narrower than values.
    parts = (part.reshape(examples, tokens, module.num_heads, module.head_dim) for part in qkv.split(width, dim=-1))
    q, k, v = (part.transpose(1, 2) for part in parts)  # N, heads, tokens, head width
    weights: Tensor | None = None
    if need_weights or module.dropout > 0.0:
        weights = (q * module.head_dim**-0.5) @ k.transpose(-2, -1)
        weights = F.dropout(F.softmax(weights, dim=-1), module.dropout, training=False)
        result = weights @ v
    else:
        result = F.scaled_dot_product_attention(q, k, v)
    result = result.transpose(1, 2).flatten(2)
    result = F.linear(result, module.out_proj.weight, module.out_proj.bias)
    if not module.batch_first:
        result = result.transpose(0, 1)
    if not need_weights or weights is None:
        return result, None
    return result, weights.mean(dim=1) if average_attn_weights else weights


def _packed_projection(module: nn.MultiheadAttention) -> nn.Linear:
    assert module.in_proj_weight is not None
    outputs, inputs = module.in_proj_weight.shape
    with torch.device("meta"):
        packed = nn.Linear(inputs, outputs, bias=False)
    packed.weight = module.in_proj_weight
    packed.bias = module.in_proj_bias
    return packed


@opener("torchvision.ops.stochastic_depth.StochasticDepth")
def open_stochastic_depth(tracer: Tracer, module: Any, x: Tensor) -> Tensor:
    """Becomes our own layer, which draws the same numbers and follows train and eval."""
    return tracer.call_layer(tracer.path[-1], StochasticDepth(float(module.p), module.mode), x)


@opener("timm.layers.drop.DropPath")
def open_drop_path(tracer: Tracer, module: Any, x: Tensor) -> Tensor:
    """timm's name for stochastic depth per row."""
    layer = StochasticDepth(float(module.drop_prob or 0.0), "row", bool(module.scale_by_keep))
    return tracer.call_layer(tracer.path[-1], layer, x)
