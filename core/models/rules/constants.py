"""What is random in training, what changes nothing, types and filled tensors.

Functional dropout becomes a layer, so that ``train()`` and ``eval()`` are followed.
"""

from typing import Any

import torch
from torch import Tensor, fx, nn

from ..recording import BATCH, Untraceable
from ..tracer import Alias, Tracer
from .registry import RULES, Rule, rule


def _dropout_rule(kind: type[nn.Module]) -> Rule:
    def record(t: Tracer, out: Tensor, x: Tensor, p: float = 0.5, training: bool = False, *_: Any, **kw: Any) -> Any:
        p = kw.get("drop_prob", p)
        if kw.get("train", training):
            if t.probing:
                return Alias(x)
            raise Untraceable("A dropout is active in eval mode: the model has no fixed output.", final=True)
        return t.call_helper("dropout", kind(p), x) if p else Alias(x)

    return record


for _name, _kind in {
    "dropout": nn.Dropout,
    "dropout1d": nn.Dropout1d,
    "dropout2d": nn.Dropout2d,
    "dropout3d": nn.Dropout3d,
    "feature_dropout": nn.Dropout2d,
    "alpha_dropout": nn.AlphaDropout,
    "feature_alpha_dropout": nn.FeatureAlphaDropout,
}.items():
    RULES[_name] = _dropout_rule(_kind)


@rule("rrelu")
def _rrelu(
    t: Tracer, out: Tensor, x: Tensor, lower: float = 1 / 8, upper: float = 1 / 3, *_: Any, **__: Any
) -> fx.Node:
    return t.call_helper("rrelu", nn.RReLU(lower, upper), x)


@rule("contiguous", "clone", "alias", "positive", "__pos__", "requires_grad_", "lift_fresh_copy", "cpu", "cuda")
def _identity(t: Tracer, out: Tensor, x: Tensor, *_: Any, **__: Any) -> Alias:
    return Alias(x)


@rule(
    "to",
    "type",
    "float",
    "double",
    "half",
    "bfloat16",
    "int",
    "long",
    "short",
    "bool",
    "byte",
    "type_as",
    "_to_copy",
    "to_copy",
)
def _cast(t: Tracer, out: Tensor, x: Tensor, *_: Any, **__: Any) -> Any:
    return Alias(x) if out.dtype == x.dtype else t.emit("cast", x, out.dtype)


def _filled(t: Tracer, out: Tensor, reference: Tensor, value: Any) -> Any:
    if any(length % BATCH == 0 and length for length in out.shape):
        return t.emit("new_full", reference, list(out.shape), value, out.dtype)
    return torch.full(out.shape, value, dtype=out.dtype, device=t.device)


@rule("new_zeros", "new_empty", "zeros_like", "empty_like")
def _zeros(t: Tracer, out: Tensor, x: Tensor, *_: Any, **__: Any) -> Any:
    return _filled(t, out, x, 0)


@rule("new_ones", "ones_like")
def _ones(t: Tracer, out: Tensor, x: Tensor, *_: Any, **__: Any) -> Any:
    return _filled(t, out, x, 1)


@rule("new_full")
def _new_full(t: Tracer, out: Tensor, x: Tensor, size: Any, fill_value: Any, **__: Any) -> Any:
    return _filled(t, out, x, fill_value)


@rule("full_like")
def _full_like(t: Tracer, out: Tensor, x: Tensor, fill_value: Any, **__: Any) -> Any:
    return _filled(t, out, x, fill_value)


@rule("fill")
def _fill(t: Tracer, out: Tensor, x: Tensor, value: Any) -> fx.Node:
    return t.emit("full_like", x, value, out.dtype)


@rule("zero")
def _zero(t: Tracer, out: Tensor, x: Tensor) -> fx.Node:
    return t.emit("full_like", x, 0, out.dtype)


@rule("copy")
def _copy(t: Tracer, out: Tensor, x: Tensor, source: Tensor, *_: Any) -> Any:
    if source.shape != x.shape or source.dtype != x.dtype:
        raise Untraceable("copy_ between different shapes or types is not supported.")
    return t.node_of(source)
