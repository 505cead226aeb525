"""Element-wise operations: arithmetic, comparisons, activations."""

from typing import Any

import torch
from torch import Tensor, fx

from ..recording import Untraceable
from ..tracer import Tracer
from .registry import RULES, Rule, rule

_UNARY = """neg abs sign exp exp2 expm1 log log2 log10 log1p sqrt rsqrt reciprocal square sin cos tan atan sinh cosh erf
    floor ceil round trunc isnan isinf isfinite logical_not sigmoid tanh relu relu6 silu mish selu softsign tanhshrink
    hardswish hardsigmoid detach"""


def _unary(canonical: str) -> Rule:
    def record(t: Tracer, out: Tensor, x: Tensor, *_: Any, **__: Any) -> fx.Node:
        return t.emit(canonical, x)

    return record


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
    def record(t: Tracer, out: Tensor, x: Any, y: Any, *_: Any, **__: Any) -> fx.Node:
        return t.emit(canonical, y, x) if swapped else t.emit(canonical, x, y)

    return record


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


@rule("add", "__add__", "__radd__")
def _add(t: Tracer, out: Tensor, x: Any, y: Any, alpha: Any = 1) -> fx.Node:
    return t.emit("add", x, y if alpha == 1 else t.emit("mul", y, alpha))


@rule("sub", "subtract", "__sub__")
def _sub(t: Tracer, out: Tensor, x: Any, y: Any, alpha: Any = 1) -> fx.Node:
    return t.emit("sub", x, y if alpha == 1 else t.emit("mul", y, alpha))


@rule("rsub", "__rsub__")
def _rsub(t: Tracer, out: Tensor, x: Any, y: Any, alpha: Any = 1) -> fx.Node:
    return t.emit("sub", y, x if alpha == 1 else t.emit("mul", x, alpha))


@rule("div", "divide", "true_divide", "__div__", "__truediv__")
def _div(t: Tracer, out: Tensor, x: Any, y: Any, *, rounding_mode: str | None = None) -> fx.Node:
    if rounding_mode == "floor":
        return t.emit("floordiv", x, y)
    quotient = t.emit("truediv", x, y)
    return t.emit("trunc", quotient) if rounding_mode == "trunc" else quotient


@rule("addmm", "baddbmm", "addbmm", "addmv")
def _addmm(t: Tracer, out: Tensor, x: Any, a: Any, b: Any, *, beta: Any = 1, alpha: Any = 1) -> fx.Node:
    product: Any = t.emit("matmul", a, b)
    if alpha != 1:
        product = t.emit("mul", product, alpha)
    return t.emit("add", product, x if beta == 1 else t.emit("mul", x, beta))


@rule("addcmul")
def _addcmul(t: Tracer, out: Tensor, x: Any, a: Any, b: Any, *, value: Any = 1) -> fx.Node:
    product = t.emit("mul", a, b)
    return t.emit("add", x, product if value == 1 else t.emit("mul", product, value))


@rule("lerp")
def _lerp(t: Tracer, out: Tensor, x: Any, y: Any, weight: Any) -> fx.Node:
    return t.emit("lerp", x, y, weight)


@rule("where")
def _where(t: Tracer, out: Tensor, condition: Any, x: Any, y: Any) -> fx.Node:
    if condition.dtype != torch.bool and isinstance(x, Tensor) and x.dtype == torch.bool:
        condition, x = x, condition  # the method: x.where(condition, y)
    return t.emit("where", condition, x, y)


@rule("masked_fill")
def _masked_fill(t: Tracer, out: Tensor, x: Any, mask: Any, value: Any) -> fx.Node:
    return t.emit("masked_fill", x, mask, value)


@rule("clamp", "clip")
def _clamp(t: Tracer, out: Tensor, x: Any, min: Any = None, max: Any = None) -> fx.Node:
    return t.emit("clamp", x, min, max)


@rule("clamp_min")
def _clamp_min(t: Tracer, out: Tensor, x: Any, min: Any) -> fx.Node:
    return t.emit("clamp", x, min, None)


@rule("clamp_max")
def _clamp_max(t: Tracer, out: Tensor, x: Any, max: Any) -> fx.Node:
    return t.emit("clamp", x, None, max)


@rule("hardtanh")
def _hardtanh(t: Tracer, out: Tensor, x: Any, min_val: float = -1.0, max_val: float = 1.0) -> fx.Node:
    return t.emit("hardtanh", x, min_val, max_val)


@rule("leaky_relu")
def _leaky_relu(t: Tracer, out: Tensor, x: Any, negative_slope: float = 0.01) -> fx.Node:
    return t.emit("leaky_relu", x, negative_slope)


@rule("elu")
def _elu(t: Tracer, out: Tensor, x: Any, alpha: float = 1.0, scale: float = 1.0, input_scale: float = 1.0) -> fx.Node:
    if (scale, input_scale) != (1.0, 1.0):
        raise Untraceable("An ELU with scales is not supported.")
    return t.emit("elu", x, alpha)


@rule("celu")
def _celu(t: Tracer, out: Tensor, x: Any, alpha: float = 1.0) -> fx.Node:
    return t.emit("celu", x, alpha)


@rule("softplus")
def _softplus(t: Tracer, out: Tensor, x: Any, beta: float = 1.0, threshold: float = 20.0) -> fx.Node:
    return t.emit("softplus", x, beta, threshold)


@rule("hardshrink", "softshrink")
def _shrink(t: Tracer, out: Tensor, x: Any, lambd: float = 0.5) -> fx.Node:
    return t.emit(t.last_operation, x, lambd)


@rule("threshold")
def _threshold(t: Tracer, out: Tensor, x: Any, threshold: float, value: float) -> fx.Node:
    return t.emit("threshold", x, threshold, value)


@rule("gelu")
def _gelu(t: Tracer, out: Tensor, x: Any, *, approximate: str = "none") -> fx.Node:
    return t.emit("gelu", x, approximate=approximate)


@rule("prelu", "_prelu_kernel")
def _prelu(t: Tracer, out: Tensor, x: Any, weight: Any) -> fx.Node:
    return t.emit("prelu", x, weight)
