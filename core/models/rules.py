"""From the many forms of torch's operations to the one canonical form of the vocabulary.

A rule is filed under the base name that an operation has in any of its forms (``torch.add``, ``Tensor.add``,
``aten.add.Tensor``, ``x + y`` are all “add”). It is called as ``rule(tracer, result, *args, **kwargs)`` with the
original arguments and the result's shape on the meta device, and emits the canonical node.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn

from .tracer import BATCH, Alias, First, Tracer, Untraceable

__all__ = ["RULES"]

Rule = Callable[..., Any]
RULES: dict[str, Rule] = {}


def _rule(*names: str) -> Callable[[Rule], Rule]:
    def add(function: Rule) -> Rule:
        for name in names:
            assert name not in RULES, name
            RULES[name] = function
        return function

    return add


def _dim(dim: int, x: Tensor, *, extra: int = 0) -> int:
    return int(dim) % max(x.ndim + extra, 1)


def _dims(dims: Any, x: Tensor) -> list[int]:
    if dims is None or (isinstance(dims, tuple | list) and len(dims) == 0):
        return list(range(x.ndim))
    return [_dim(dim, x) for dim in (dims if isinstance(dims, tuple | list) else (dims,))]


def _flat(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """``f(1, 2)`` and ``f((1, 2))`` mean the same to many operations."""
    return tuple(values[0]) if len(values) == 1 and isinstance(values[0], tuple | list) else values


# -- element-wise ---------------------------------------------------------------------------------------------------

_UNARY = """neg abs sign exp exp2 expm1 log log2 log10 log1p sqrt rsqrt reciprocal square sin cos tan atan sinh cosh erf
    floor ceil round trunc isnan isinf isfinite logical_not sigmoid tanh relu relu6 silu mish selu softsign tanhshrink
    hardswish hardsigmoid detach"""


def _unary(canonical: str) -> Rule:
    def rule(t: Tracer, out: Tensor, x: Tensor, *_: Any, **__: Any) -> fx.Node:
        return t.emit(canonical, x)

    return rule


for _name in _UNARY.split():
    RULES[_name] = _unary(_name)
for _other, _name in {
    "__neg__": "neg",
    "negative": "neg",
    "__abs__": "abs",
    "absolute": "abs",
    "__invert__": "invert",
    "bitwise_not": "invert",
    "special_expm1": "expm1",
    "special_erf": "erf",
    "fix": "trunc",
    "arctan": "atan",
    "logsigmoid": "logsigmoid",
    "log_sigmoid": "logsigmoid",
    "data": "detach",
}.items():
    RULES[_other] = _unary(_name)


def _binary(canonical: str, *, swapped: bool = False) -> Rule:
    def rule(t: Tracer, out: Tensor, x: Any, y: Any, *_: Any, **__: Any) -> fx.Node:
        return t.emit(canonical, y, x) if swapped else t.emit(canonical, x, y)

    return rule


for _name, _forms in {
    "mul": "mul multiply __mul__ __rmul__",
    "mod": "remainder __mod__",
    "pow": "pow __pow__ float_power",
    "maximum": "maximum",
    "minimum": "minimum",
    "atan2": "atan2 arctan2",
    "floordiv": "floor_divide __floordiv__",
    "eq": "eq __eq__",
    "ne": "ne __ne__ not_equal",
    "lt": "lt __lt__ less",
    "le": "le __le__ less_equal",
    "gt": "gt __gt__ greater",
    "ge": "ge __ge__ greater_equal",
    "and": "bitwise_and __and__ __rand__ logical_and",
    "or": "bitwise_or __or__ __ror__ logical_or",
    "xor": "bitwise_xor __xor__ logical_xor",
    "matmul": "matmul bmm mm mv __matmul__",
}.items():
    for _form in _forms.split():
        RULES[_form] = _binary(_name)
for _form, _name in {
    "__rtruediv__": "truediv",
    "__rdiv__": "truediv",
    "__rfloordiv__": "floordiv",
    "__rpow__": "pow",
    "__rmatmul__": "matmul",
    "__rmod__": "mod",
}.items():
    RULES[_form] = _binary(_name, swapped=True)


@_rule("add", "__add__", "__radd__")
def _add(t: Tracer, out: Tensor, x: Any, y: Any, alpha: Any = 1) -> fx.Node:
    return t.emit("add", x, y if alpha == 1 else t.emit("mul", y, alpha))


@_rule("sub", "subtract", "__sub__")
def _sub(t: Tracer, out: Tensor, x: Any, y: Any, alpha: Any = 1) -> fx.Node:
    return t.emit("sub", x, y if alpha == 1 else t.emit("mul", y, alpha))


@_rule("rsub", "__rsub__")
def _rsub(t: Tracer, out: Tensor, x: Any, y: Any, alpha: Any = 1) -> fx.Node:
    return t.emit("sub", y, x if alpha == 1 else t.emit("mul", x, alpha))


@_rule("div", "divide", "true_divide", "__div__", "__truediv__")
def _div(t: Tracer, out: Tensor, x: Any, y: Any, *, rounding_mode: str | None = None) -> fx.Node:
    if rounding_mode == "floor":
        return t.emit("floordiv", x, y)
    quotient = t.emit("truediv", x, y)
    return t.emit("trunc", quotient) if rounding_mode == "trunc" else quotient


@_rule("addmm", "baddbmm", "addbmm", "addmv")
def _addmm(t: Tracer, out: Tensor, x: Any, a: Any, b: Any, *, beta: Any = 1, alpha: Any = 1) -> fx.Node:
    product: Any = t.emit("matmul", a, b)
    if alpha != 1:
        product = t.emit("mul", product, alpha)
    return t.emit("add", product, x if beta == 1 else t.emit("mul", x, beta))


@_rule("addcmul")
def _addcmul(t: Tracer, out: Tensor, x: Any, a: Any, b: Any, *, value: Any = 1) -> fx.Node:
    product = t.emit("mul", a, b)
    return t.emit("add", x, product if value == 1 else t.emit("mul", product, value))


@_rule("lerp")
def _lerp(t: Tracer, out: Tensor, x: Any, y: Any, weight: Any) -> fx.Node:
    return t.emit("lerp", x, y, weight)


@_rule("where")
def _where(t: Tracer, out: Tensor, condition: Any, x: Any, y: Any) -> fx.Node:
    if condition.dtype != torch.bool and isinstance(x, Tensor) and x.dtype == torch.bool:
        condition, x = x, condition  # the method: x.where(condition, y)
    return t.emit("where", condition, x, y)


@_rule("masked_fill")
def _masked_fill(t: Tracer, out: Tensor, x: Any, mask: Any, value: Any) -> fx.Node:
    return t.emit("masked_fill", x, mask, value)


@_rule("clamp", "clip")
def _clamp(t: Tracer, out: Tensor, x: Any, min: Any = None, max: Any = None) -> fx.Node:
    return t.emit("clamp", x, min, max)


@_rule("clamp_min")
def _clamp_min(t: Tracer, out: Tensor, x: Any, min: Any) -> fx.Node:
    return t.emit("clamp", x, min, None)


@_rule("clamp_max")
def _clamp_max(t: Tracer, out: Tensor, x: Any, max: Any) -> fx.Node:
    return t.emit("clamp", x, None, max)


@_rule("hardtanh")
def _hardtanh(t: Tracer, out: Tensor, x: Any, min_val: float = -1.0, max_val: float = 1.0) -> fx.Node:
    return t.emit("hardtanh", x, min_val, max_val)


@_rule("leaky_relu")
def _leaky_relu(t: Tracer, out: Tensor, x: Any, negative_slope: float = 0.01) -> fx.Node:
    return t.emit("leaky_relu", x, negative_slope)


@_rule("elu")
def _elu(t: Tracer, out: Tensor, x: Any, alpha: float = 1.0, scale: float = 1.0, input_scale: float = 1.0) -> fx.Node:
    if (scale, input_scale) != (1.0, 1.0):
        raise Untraceable("An ELU with scales is not supported.")
    return t.emit("elu", x, alpha)


@_rule("celu")
def _celu(t: Tracer, out: Tensor, x: Any, alpha: float = 1.0) -> fx.Node:
    return t.emit("celu", x, alpha)


@_rule("softplus")
def _softplus(t: Tracer, out: Tensor, x: Any, beta: float = 1.0, threshold: float = 20.0) -> fx.Node:
    return t.emit("softplus", x, beta, threshold)


@_rule("hardshrink", "softshrink")
def _shrink(t: Tracer, out: Tensor, x: Any, lambd: float = 0.5) -> fx.Node:
    return t.emit(t.last_operation, x, lambd)


@_rule("threshold")
def _threshold(t: Tracer, out: Tensor, x: Any, threshold: float, value: float) -> fx.Node:
    return t.emit("threshold", x, threshold, value)


@_rule("gelu")
def _gelu(t: Tracer, out: Tensor, x: Any, *, approximate: str = "none") -> fx.Node:
    return t.emit("gelu", x, approximate=approximate)


@_rule("prelu", "_prelu_kernel")
def _prelu(t: Tracer, out: Tensor, x: Any, weight: Any) -> fx.Node:
    return t.emit("prelu", x, weight)


# -- random in training: modules, so that train() and eval() are followed ----------------------------------------------


def _dropout_rule(kind: type[nn.Module]) -> Rule:
    def rule(t: Tracer, out: Tensor, x: Tensor, p: float = 0.5, training: bool = False, *_: Any, **kw: Any) -> Any:
        p = kw.get("drop_prob", p)
        if kw.get("train", training):
            raise Untraceable("A dropout is active in eval mode: the model has no fixed output.", final=True)
        return t.call_helper("dropout", kind(p), x) if p else Alias(x)

    return rule


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


@_rule("rrelu")
def _rrelu(
    t: Tracer, out: Tensor, x: Tensor, lower: float = 1 / 8, upper: float = 1 / 3, *_: Any, **__: Any
) -> fx.Node:
    return t.call_helper("rrelu", nn.RReLU(lower, upper), x)


# -- identities, types and constants -------------------------------------------------------------------------------


@_rule("contiguous", "clone", "alias", "positive", "__pos__", "requires_grad_", "lift_fresh_copy", "cpu", "cuda")
def _identity(t: Tracer, out: Tensor, x: Tensor, *_: Any, **__: Any) -> Alias:
    return Alias(x)


@_rule("to", "type", "float", "double", "half", "bfloat16", "int", "long", "short", "bool", "byte", "type_as",
       "_to_copy", "to_copy")  # fmt: skip
def _cast(t: Tracer, out: Tensor, x: Tensor, *_: Any, **__: Any) -> Any:
    return Alias(x) if out.dtype == x.dtype else t.emit("cast", x, out.dtype)


def _filled(t: Tracer, out: Tensor, reference: Tensor, value: Any) -> Any:
    if any(length % BATCH == 0 and length for length in out.shape):
        return t.emit("new_full", reference, list(out.shape), value, out.dtype)
    return torch.full(out.shape, value, dtype=out.dtype, device=t.device)


@_rule("new_zeros", "new_empty", "zeros_like", "empty_like")
def _zeros(t: Tracer, out: Tensor, x: Tensor, *_: Any, **__: Any) -> Any:
    return _filled(t, out, x, 0)


@_rule("new_ones", "ones_like")
def _ones(t: Tracer, out: Tensor, x: Tensor, *_: Any, **__: Any) -> Any:
    return _filled(t, out, x, 1)


@_rule("new_full")
def _new_full(t: Tracer, out: Tensor, x: Tensor, size: Any, fill_value: Any, **__: Any) -> Any:
    return _filled(t, out, x, fill_value)


@_rule("full_like")
def _full_like(t: Tracer, out: Tensor, x: Tensor, fill_value: Any, **__: Any) -> Any:
    return _filled(t, out, x, fill_value)


@_rule("fill")
def _fill(t: Tracer, out: Tensor, x: Tensor, value: Any) -> fx.Node:
    return t.emit("full_like", x, value, out.dtype)


@_rule("zero")
def _zero(t: Tracer, out: Tensor, x: Tensor) -> fx.Node:
    return t.emit("full_like", x, 0, out.dtype)


@_rule("copy")
def _copy(t: Tracer, out: Tensor, x: Tensor, source: Tensor, *_: Any) -> Any:
    if source.shape != x.shape or source.dtype != x.dtype:
        raise Untraceable("copy_ between different shapes or types is not supported.")
    return t.node_of(source)


# -- over dimensions -------------------------------------------------------------------------------------------------


@_rule("softmax", "log_softmax", "_softmax", "_log_softmax")
def _softmax(t: Tracer, out: Tensor, x: Tensor, dim: int | None = None, *_: Any, **kw: Any) -> fx.Node:
    if dim is None:
        dim = 0 if x.ndim in (0, 1, 3) else 1  # what F.softmax guesses
    source = x if out.dtype == x.dtype else t.emit("cast", x, out.dtype)
    return t.emit(t.last_operation.lstrip("_"), source, _dim(dim, x))


@_rule("glu")
def _glu(t: Tracer, out: Tensor, x: Tensor, dim: int = -1) -> fx.Node:
    return t.emit("glu", x, _dim(dim, x))


@_rule("normalize")
def _normalize(
    t: Tracer, out: Tensor, x: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12, **_: Any
) -> fx.Node:
    return t.emit("normalize", x, p, _dim(dim, x), eps)


@_rule("sum", "mean")
def _sum(t: Tracer, out: Tensor, x: Tensor, *dims: Any, **kw: Any) -> fx.Node:
    keepdim = kw.get("keepdim", False)
    if dims and isinstance(dims[-1], bool):
        *dims, keepdim = dims  # type: ignore[assignment]
    dim = kw.get("dim", kw.get("axis", _flat(tuple(dims)) if dims else None))
    if dims and dims[0] is None:
        dim = None
    node = t.emit(t.last_operation, x, _dims(dim, x), bool(keepdim))
    return t.emit("cast", node, out.dtype) if kw.get("dtype") not in (None, x.dtype) else node


@_rule("amax", "amin", "logsumexp")
def _amax(t: Tracer, out: Tensor, x: Tensor, dim: Any = (), keepdim: bool = False) -> fx.Node:
    return t.emit(t.last_operation, x, _dims(dim, x), keepdim)


@_rule("max", "min")
def _max(t: Tracer, out: Any, x: Tensor, dim: Any = None, keepdim: bool = False, **kw: Any) -> fx.Node:
    operation, other = t.last_operation, kw.get("other", dim)
    if isinstance(other, Tensor):
        return t.emit(f"{operation}imum", x, other)
    if dim is None:
        return t.emit(f"a{operation}", x, list(range(x.ndim)), False)
    return t.emit(f"{operation}_dim", x, _dim(dim, x), keepdim)


@_rule("var", "std", "var_mean", "std_mean")
def _var(t: Tracer, out: Any, x: Tensor, *args: Any, **kw: Any) -> fx.Node:
    rest = list(args)
    dim = kw.get("dim", kw.get("axis"))
    unbiased = kw.get("unbiased", True)
    if rest and isinstance(rest[0], bool):
        unbiased = rest.pop(0)
    elif rest:
        dim = rest.pop(0)
    if rest and isinstance(rest[0], bool):
        unbiased = rest.pop(0)
    keepdim = rest.pop(0) if rest else kw.get("keepdim", False)
    correction = kw.get("correction")
    correction = (1 if unbiased else 0) if correction is None else correction
    return t.emit(t.last_operation, x, _dims(dim, x), correction=correction, keepdim=keepdim)


@_rule("norm", "linalg_vector_norm", "linalg_norm", "vector_norm")
def _norm(t: Tracer, out: Tensor, x: Tensor, p: Any = 2, dim: Any = None, keepdim: bool = False, **kw: Any) -> fx.Node:
    p = kw.get("ord", p)
    if p in (None, "fro"):
        p = 2
    dims = _dims(dim, x)
    if isinstance(p, str) or (t.last_operation == "linalg_norm" and len(dims) > 1 and p != 2):
        raise Untraceable(f"The norm “{p}” is not supported.")
    return t.emit("vector_norm", x, p, dims, keepdim)


@_rule("_weight_norm")
def _weight_norm(t: Tracer, out: Tensor, v: Tensor, g: Tensor, dim: int = 0) -> fx.Node:
    others = [axis for axis in range(v.ndim) if axis != dim]
    return t.emit("mul", v, t.emit("truediv", g, t.emit("vector_norm", v, 2, others, True)))


@_rule("prod", "any", "all", "argmax", "argmin")
def _over_one(t: Tracer, out: Tensor, x: Tensor, dim: Any = None, keepdim: bool = False, **_: Any) -> fx.Node:
    if dim is None:
        return t.emit(t.last_operation, t.emit("reshape", x, [x.numel()]), 0, False)
    return t.emit(t.last_operation, x, _dim(dim, x), keepdim)


@_rule("cumsum", "cumprod")
def _cumulative(t: Tracer, out: Tensor, x: Tensor, dim: int, **_: Any) -> fx.Node:
    source = x if out.dtype == x.dtype else t.emit("cast", x, out.dtype)
    return t.emit(t.last_operation, source, _dim(dim, x))


@_rule("topk")
def _topk(t: Tracer, out: Any, x: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> fx.Node:
    return t.emit("topk", x, k, _dim(dim, x), largest, sorted)


@_rule("sort", "argsort")
def _sort(t: Tracer, out: Any, x: Tensor, dim: int = -1, descending: bool = False, **_: Any) -> fx.Node:
    return t.emit(t.last_operation, x, _dim(dim, x), descending)


# -- products and functional layers -----------------------------------------------------------------------------------


@_rule("einsum")
def _einsum(t: Tracer, out: Tensor, equation: str, *operands: Any, **_: Any) -> fx.Node:
    return t.emit("einsum", equation, *_flat(operands))


@_rule("linear")
def _linear(t: Tracer, out: Tensor, x: Any, weight: Any, bias: Any = None) -> fx.Node:
    return t.emit("linear", x, weight, bias)


@_rule("bilinear")
def _bilinear(t: Tracer, out: Tensor, x: Any, y: Any, weight: Any, bias: Any = None) -> fx.Node:
    return t.emit("bilinear", x, y, weight, bias)


def _per_axis(value: Any, count: int) -> Any:
    """``1`` and ``[1]`` and ``(1, 1)`` are the same stride; strings stay."""
    if isinstance(value, str):
        return value
    values = tuple(value) if isinstance(value, tuple | list) else (value,)
    return values * count if len(values) == 1 else values


@_rule("conv1d", "conv2d", "conv3d")
def _conv(t: Tracer, out: Tensor, x: Any, weight: Tensor, bias: Any = None, stride: Any = 1, padding: Any = 0,
          dilation: Any = 1, groups: int = 1) -> fx.Node:  # fmt: skip
    n = weight.ndim - 2
    return t.emit(
        f"conv{n}d", x, weight, bias, _per_axis(stride, n), _per_axis(padding, n), _per_axis(dilation, n), groups
    )


@_rule("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
def _conv_transpose(t: Tracer, out: Tensor, x: Any, weight: Tensor, bias: Any = None, stride: Any = 1, padding: Any = 0,
                    output_padding: Any = 0, groups: int = 1, dilation: Any = 1) -> fx.Node:  # fmt: skip
    n = weight.ndim - 2
    return t.emit(f"conv_transpose{n}d", x, weight, bias, _per_axis(stride, n), _per_axis(padding, n),
                  _per_axis(output_padding, n), groups, _per_axis(dilation, n))  # fmt: skip


@_rule("convolution")
def _convolution(t: Tracer, out: Tensor, x: Any, weight: Tensor, bias: Any, stride: Any, padding: Any, dilation: Any,
                 transposed: bool, output_padding: Any, groups: int) -> fx.Node:  # fmt: skip
    if transposed:
        return _conv_transpose(t, out, x, weight, bias, stride, padding, output_padding, groups, dilation)
    return _conv(t, out, x, weight, bias, stride, padding, dilation, groups)


@_rule("scaled_dot_product_attention")
def _attention(t: Tracer, out: Tensor, query: Any, key: Any, value: Any, attn_mask: Any = None,
               dropout_p: float = 0.0, is_causal: bool = False, *, scale: float | None = None, enable_gqa: bool = False) -> fx.Node:  # fmt: skip
    if dropout_p:
        raise Untraceable("Attention dropout is active in eval mode: the model has no fixed output.", final=True)
    t.attention_in.add(t.path[-1])
    return t.emit("scaled_dot_product_attention", query, key, value, attn_mask, 0.0, is_causal, scale=scale,
                  enable_gqa=enable_gqa)  # fmt: skip


@_rule("embedding")
def _embedding(t: Tracer, out: Tensor, a: Any, b: Any, *_: Any, **kw: Any) -> fx.Node:
    index, weight = (a, b) if b.is_floating_point() else (b, a)  # F.embedding and aten.embedding differ in order
    if kw.get("max_norm") is not None:
        raise Untraceable("An embedding with max_norm changes its weight while it runs; this is not supported.")
    return t.emit("embedding", index, weight)


@_rule("batch_norm")
def _batch_norm(t: Tracer, out: Tensor, x: Any, *args: Any, **kw: Any) -> fx.Node:
    if len(args) >= 5:  # torch.batch_norm(x, weight, bias, mean, var, training, momentum, eps, …), and aten
        weight, bias, mean, var, training, momentum, eps = args[:7]
    else:  # F.batch_norm(x, mean, var, weight=…, …)
        mean, var = args[:2] if len(args) >= 2 else (kw["running_mean"], kw["running_var"])
        weight, bias = kw.get("weight"), kw.get("bias")
        training, momentum, eps = kw.get("training", False), kw.get("momentum", 0.1), kw.get("eps", 1e-5)
    return t.emit("batch_norm", x, mean, var, weight, bias, bool(training), momentum, eps)


@_rule("_native_batch_norm_legit_no_training")
def _native_batch_norm(
    t: Tracer, out: Any, x: Any, weight: Any, bias: Any, mean: Any, var: Any, momentum: float, eps: float
) -> First:
    return First(t.emit("batch_norm", x, mean, var, weight, bias, False, momentum, eps))


@_rule("layer_norm")
def _layer_norm(t: Tracer, out: Tensor, x: Any, shape: Any = None, weight: Any = None, bias: Any = None,
                eps: float = 1e-5, *_: Any, **kw: Any) -> fx.Node:  # fmt: skip
    return t.emit("layer_norm", x, list(kw.get("normalized_shape", shape)), weight, bias, eps)


@_rule("group_norm")
def _group_norm(t: Tracer, out: Tensor, x: Any, groups: int = 1, weight: Any = None, bias: Any = None,
                eps: float = 1e-5, *_: Any, **kw: Any) -> fx.Node:  # fmt: skip
    return t.emit("group_norm", x, kw.get("num_groups", groups), weight, bias, eps)


@_rule("rms_norm")
def _rms_norm(t: Tracer, out: Tensor, x: Any, shape: Any = None, weight: Any = None, eps: float | None = None,
              **kw: Any) -> fx.Node:  # fmt: skip
    return t.emit("rms_norm", x, list(kw.get("normalized_shape", shape)), weight, eps)


@_rule("instance_norm")
def _instance_norm(t: Tracer, out: Tensor, x: Any, *args: Any, **kw: Any) -> fx.Node:
    if args and len(args) > 5:  # aten order
        weight, bias, mean, var, use_input, momentum, eps = args[:7]
    else:
        mean, var = (*args, None, None)[:2] if args else (kw.get("running_mean"), kw.get("running_var"))
        weight, bias = kw.get("weight"), kw.get("bias")
        use_input, momentum, eps = kw.get("use_input_stats", True), kw.get("momentum", 0.1), kw.get("eps", 1e-5)
    return t.emit("instance_norm", x, mean, var, weight, bias, use_input, momentum, eps)


@_rule("local_response_norm")
def _local_response_norm(t: Tracer, out: Tensor, x: Any, size: int, alpha: float = 1e-4, beta: float = 0.75,
                         k: float = 1.0) -> fx.Node:  # fmt: skip
    return t.emit("local_response_norm", x, size, alpha, beta, k)


# -- pooling and sampling --------------------------------------------------------------------------------------------


@_rule("max_pool1d", "max_pool2d", "max_pool3d")
def _max_pool(t: Tracer, out: Tensor, x: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
              ceil_mode: bool = False, return_indices: bool = False) -> fx.Node:  # fmt: skip
    if return_indices:
        raise Untraceable("Pooling that returns indices is supported as a module only.")
    return t.emit(t.last_operation, x, kernel_size, stride or kernel_size, padding, dilation, ceil_mode)


@_rule("avg_pool1d")
def _avg_pool1d(t: Tracer, out: Tensor, x: Any, kernel_size: Any, stride: Any = None, padding: Any = 0,
                ceil_mode: bool = False, count_include_pad: bool = True) -> fx.Node:  # fmt: skip
    return t.emit("avg_pool1d", x, kernel_size, stride or kernel_size, padding, ceil_mode, count_include_pad)


@_rule("avg_pool2d", "avg_pool3d")
def _avg_pool(t: Tracer, out: Tensor, x: Any, kernel_size: Any, stride: Any = None, padding: Any = 0,
              ceil_mode: bool = False, count_include_pad: bool = True,
              divisor_override: int | None = None) -> fx.Node:  # fmt: skip
    return t.emit(t.last_operation, x, kernel_size, stride or kernel_size, padding, ceil_mode, count_include_pad,
                  divisor_override)  # fmt: skip


@_rule("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "_adaptive_avg_pool2d",
       "adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d")  # fmt: skip
def _adaptive_pool(t: Tracer, out: Any, x: Any, output_size: Any, return_indices: bool = False) -> fx.Node:
    if isinstance(out, tuple) or return_indices:
        raise Untraceable("Pooling that returns indices is supported as a module only.")
    return t.emit(t.last_operation.lstrip("_"), x, output_size)


@_rule("interpolate", "upsample", "upsample_bilinear", "upsample_nearest")
def _interpolate(t: Tracer, out: Tensor, x: Tensor, size: Any = None, scale_factor: Any = None, mode: str = "nearest",
                 align_corners: bool | None = None, recompute_scale_factor: bool | None = None,
                 antialias: bool = False) -> fx.Node:  # fmt: skip
    if t.last_operation == "upsample_bilinear":
        mode, align_corners = "bilinear", True
    if size is not None or recompute_scale_factor:  # the spatial size is a constant of the graph
        size, scale_factor, recompute_scale_factor = list(out.shape[2:]), None, None
    return t.emit("interpolate", x, size, scale_factor, mode, align_corners, recompute_scale_factor, antialias)


def _aten_upsample(mode: str, *, corners: bool) -> Rule:
    def rule(t: Tracer, out: Tensor, x: Tensor, *args: Any, **_: Any) -> fx.Node:
        align = bool(args[1]) if corners else None
        return t.emit("interpolate", x, list(out.shape[2:]), None, mode, align, None, False)

    return rule


for _name, _mode in {"nearest1d": "nearest", "nearest2d": "nearest", "nearest3d": "nearest"}.items():
    RULES[f"upsample_{_name}"] = _aten_upsample(_mode, corners=False)
for _name in ("linear1d", "bilinear2d", "trilinear3d", "bicubic2d"):
    RULES[f"upsample_{_name}"] = _aten_upsample(_name[:-2], corners=True)


@_rule("grid_sample")
def _grid_sample(t: Tracer, out: Tensor, x: Any, grid: Any, mode: str = "bilinear", padding_mode: str = "zeros",
                 align_corners: bool | None = None) -> fx.Node:  # fmt: skip
    return t.emit("grid_sample", x, grid, mode, padding_mode, bool(align_corners))


@_rule("affine_grid")
def _affine_grid(t: Tracer, out: Tensor, theta: Any, size: Any, align_corners: bool | None = None) -> fx.Node:
    return t.emit("affine_grid", theta, list(size), bool(align_corners))


@_rule("unfold", "im2col")
def _im2col(
    t: Tracer, out: Tensor, x: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
) -> fx.Node:
    return t.emit("im2col", x, kernel_size, dilation, padding, stride)


@_rule("fold", "col2im")
def _col2im(t: Tracer, out: Tensor, x: Any, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0,
            stride: Any = 1) -> fx.Node:  # fmt: skip
    return t.emit("col2im", x, output_size, kernel_size, dilation, padding, stride)


# -- moving indices ---------------------------------------------------------------------------------------------------


@_rule("view", "reshape", "view_as", "reshape_as", "unflatten", "_unsafe_view", "_reshape_alias")
def _reshape(t: Tracer, out: Tensor, x: Tensor, *args: Any, **_: Any) -> Any:
    if args and isinstance(args[0], torch.dtype):
        raise Untraceable("view(dtype) reinterprets bytes; this is not supported.")
    return t.emit("reshape", x, t.sizes(out.shape))


@_rule("flatten", "ravel")
def _flatten(t: Tracer, out: Tensor, x: Tensor, start_dim: int = 0, end_dim: int = -1) -> fx.Node:
    return t.emit("flatten", x, _dim(start_dim, x), _dim(end_dim, x))


def _permutation(apply: Callable[[Tensor], Tensor], ndim: int) -> list[int]:
    """The permutation that an operation does, read off a tensor whose sizes tell its dimensions apart."""
    probe = torch.empty(tuple(range(2, 2 + ndim)), device="meta")
    return [length - 2 for length in apply(probe).shape]


@_rule("permute", "transpose", "t", "swapaxes", "swapdims", "movedim", "moveaxis", "T", "mT", "adjoint")
def _permute(t: Tracer, out: Tensor, x: Tensor, *args: Any, **kw: Any) -> Any:
    operation = t.last_operation
    if operation in ("T", "mT"):
        dims = _permutation(lambda probe: getattr(probe, operation), x.ndim)
    elif operation == "permute":
        dims = _permutation(lambda probe: probe.permute(*args, **kw), x.ndim)
    else:
        dims = _permutation(lambda probe: getattr(torch.Tensor, operation)(probe, *args, **kw), x.ndim)
    return Alias(x) if dims == list(range(x.ndim)) else t.emit("permute", x, dims)


@_rule("squeeze")
def _squeeze(t: Tracer, out: Tensor, x: Tensor, *dims: Any, **kw: Any) -> Any:
    wanted = kw.get("dim", _flat(dims) if dims else None)
    gone = [dim for dim in _dims(wanted, x) if x.shape[dim] == 1]
    return t.emit("squeeze", x, gone) if gone else Alias(x)


@_rule("unsqueeze")
def _unsqueeze(t: Tracer, out: Tensor, x: Tensor, dim: int) -> fx.Node:
    return t.emit("unsqueeze", x, _dim(dim, x, extra=1))


@_rule("expand", "expand_as", "broadcast_to")
def _expand(t: Tracer, out: Tensor, x: Tensor, *_: Any, **__: Any) -> Any:
    if out.shape == x.shape:
        return Alias(x)
    lead = out.ndim - x.ndim
    sizes = [
        -1 if index >= lead and x.shape[index - lead] == length else length for index, length in enumerate(out.shape)
    ]
    return t.emit("expand", x, sizes)


@_rule("repeat", "tile")
def _repeat(t: Tracer, out: Tensor, x: Tensor, *_: Any, **__: Any) -> fx.Node:
    lead = out.ndim - x.ndim
    before = (1,) * lead + tuple(x.shape)
    return t.emit("repeat", x, [after // length for after, length in zip(out.shape, before, strict=True)])


@_rule("repeat_interleave")
def _repeat_interleave(t: Tracer, out: Tensor, x: Tensor, repeats: Any, dim: int | None = None, **_: Any) -> fx.Node:
    if isinstance(repeats, Tensor) or dim is None:
        raise Untraceable("repeat_interleave needs one integer and a dimension.")
    return t.emit("repeat_interleave", x, repeats, _dim(dim, x))


@_rule("cat", "concat", "concatenate")
def _cat(t: Tracer, out: Tensor, tensors: Any, dim: int = 0, **kw: Any) -> fx.Node:
    return t.emit("cat", list(tensors), _dim(kw.get("axis", dim), out))


@_rule("stack")
def _stack(t: Tracer, out: Tensor, tensors: Any, dim: int = 0) -> fx.Node:
    return t.emit("stack", list(tensors), _dim(dim, out))


@_rule("split", "chunk", "tensor_split", "split_with_sizes", "unsafe_split", "unsafe_chunk", "unsafe_split_with_sizes")
def _split(t: Tracer, out: Any, x: Tensor, _count: Any = None, dim: int = 0, **_: Any) -> fx.Node:
    dim = _dim(dim, x)
    return t.emit("split", x, [part.shape[dim] for part in out], dim)


@_rule("unbind")
def _unbind(t: Tracer, out: Any, x: Tensor, dim: int = 0) -> fx.Node:
    if x.shape[_dim(dim, x)] % BATCH == 0:
        raise Untraceable(f"The forward loops over the examples of a batch{t.at()}; this is not supported.", final=True)
    return t.emit("unbind", x, _dim(dim, x))


@_rule("__getitem__")
def _getitem(t: Tracer, out: Tensor, x: Tensor, index: Any) -> fx.Node:
    return t.emit("getitem", x, index)


@_rule("select")
def _select(t: Tracer, out: Tensor, x: Tensor, dim: int, index: int) -> fx.Node:
    return t.emit("getitem", x, (slice(None),) * _dim(dim, x) + (index,))


@_rule("narrow")
def _narrow(t: Tracer, out: Tensor, x: Tensor, dim: int, start: int, length: int) -> fx.Node:
    return t.emit("getitem", x, (slice(None),) * _dim(dim, x) + (slice(start, start + length),))


@_rule("slice")
def _slice(t: Tracer, out: Tensor, x: Tensor, dim: int = 0, start: Any = None, end: Any = None, step: int = 1) -> Any:
    if out.shape == x.shape:
        return Alias(x)
    start = None if start == 0 else start
    end = None if end is not None and end >= x.shape[dim] else end
    return t.emit("getitem", x, (slice(None),) * _dim(dim, x) + (slice(start, end, None if step == 1 else step),))


@_rule("slice_scatter", "select_scatter")
def _scatter(t: Tracer, out: Tensor, x: Tensor, source: Any, dim: int = 0, *args: Any, **kw: Any) -> fx.Node:
    lead = (slice(None),) * _dim(dim, x)
    if t.last_operation == "select_scatter":
        return t.emit("assign", x, (*lead, kw.get("index", args[0] if args else None)), source)
    start, end, step = (*args, *(None,) * 3)[:3]
    start, end, step = kw.get("start", start), kw.get("end", end), kw.get("step", step)
    end = None if end is not None and end >= x.shape[_dim(dim, x)] else end
    return t.emit("assign", x, (*lead, slice(start, end, step)), source)


@_rule("index")
def _index(t: Tracer, out: Tensor, x: Tensor, indices: Any) -> fx.Node:
    return t.emit("getitem", x, tuple(slice(None) if index is None else index for index in indices))


@_rule("index_put")
def _index_put(t: Tracer, out: Tensor, x: Tensor, indices: Any, values: Any, accumulate: bool = False) -> fx.Node:
    if accumulate:
        raise Untraceable("index_put with accumulate is not supported.")
    return t.emit("assign", x, tuple(slice(None) if index is None else index for index in indices), values)


@_rule("index_select")
def _index_select(t: Tracer, out: Tensor, x: Any, dim: int, index: Any) -> fx.Node:
    return t.emit("index_select", x, _dim(dim, x), index)


@_rule("gather")
def _gather(t: Tracer, out: Tensor, x: Any, dim: int, index: Any, **_: Any) -> fx.Node:
    return t.emit("gather", x, _dim(dim, x), index)


@_rule("roll")
def _roll(t: Tracer, out: Tensor, x: Tensor, shifts: Any, dims: Any = ()) -> fx.Node:
    dims = _flat((dims,))
    if not dims:
        raise Untraceable("roll without dimensions is not supported.")
    return t.emit("roll", x, list(_flat((shifts,))), _dims(dims, x))


@_rule("flip", "fliplr", "flipud")
def _flip(t: Tracer, out: Tensor, x: Tensor, *dims: Any, **kw: Any) -> fx.Node:
    fixed = {"fliplr": (1,), "flipud": (0,)}.get(t.last_operation)
    return t.emit("flip", x, _dims(fixed or kw.get("dims", _flat(dims)), x))


@_rule("pad", "constant_pad_nd")
def _pad(t: Tracer, out: Tensor, x: Tensor, pad: Any, mode: Any = "constant", value: Any = None) -> Any:
    if t.last_operation == "constant_pad_nd":
        mode, value = "constant", 0 if mode == "constant" else mode
    if not any(pad):
        return Alias(x)
    return t.emit("pad", x, list(pad), mode, (value or 0.0) if mode == "constant" else None)


def _aten_pad(mode: str) -> Rule:
    def rule(t: Tracer, out: Tensor, x: Tensor, pad: Any) -> fx.Node:
        return t.emit("pad", x, list(pad), mode, None)

    return rule


for _name in ("1d", "2d", "3d"):
    RULES[f"reflection_pad{_name}"] = _aten_pad("reflect")
    RULES[f"replication_pad{_name}"] = _aten_pad("replicate")


@_rule("pixel_shuffle", "pixel_unshuffle")
def _pixel_shuffle(t: Tracer, out: Tensor, x: Any, factor: int = 1, **kw: Any) -> fx.Node:
    return t.emit(t.last_operation, x, next(iter(kw.values()), factor))


@_rule("channel_shuffle", "native_channel_shuffle")
def _channel_shuffle(t: Tracer, out: Tensor, x: Any, groups: int) -> fx.Node:
    return t.emit("channel_shuffle", x, groups)


@_rule("unfold_dim")
def _unfold_dim(t: Tracer, out: Tensor, x: Tensor, dimension: int, size: int, step: int) -> fx.Node:
    return t.emit("unfold_dim", x, _dim(dimension, x), size, step)


@_rule("tril", "triu")
def _triangle(t: Tracer, out: Tensor, x: Any, diagonal: int = 0) -> fx.Node:
    return t.emit(t.last_operation, x, diagonal)


@_rule("diagonal")
def _diagonal(t: Tracer, out: Tensor, x: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> fx.Node:
    return t.emit("diagonal", x, offset, _dim(dim1, x), _dim(dim2, x))
