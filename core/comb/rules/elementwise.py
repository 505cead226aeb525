"""Operations that work index by index: operands lose the same indices; activations and dropout change nothing."""

from typing import Any

from torch import fx

from ...models.vocabulary import arguments, name_of
from ..axes import Axis, Factor, is_free, length, plain, tie_axes
from ..reader import Dims, Reader, rule

__all__ = ["OVER_SURVIVORS", "broadcast"]

_ONE_OPERAND = """neg invert abs sign exp exp2 expm1 log log2 log10 log1p sqrt rsqrt reciprocal square sin cos tan atan
    sinh cosh erf floor ceil round trunc isnan isinf isfinite logical_not sigmoid tanh relu relu6 silu mish selu
    softsign tanhshrink logsigmoid hardswish hardsigmoid hardtanh hardshrink softshrink threshold leaky_relu elu celu
    softplus gelu clamp cast detach full_like"""
_LAYERS = """CELU ELU GELU Hardshrink Hardsigmoid Hardswish Hardtanh LeakyReLU LogSigmoid Mish RReLU ReLU ReLU6 SELU
    SiLU Sigmoid Softplus Softshrink Softsign Tanh Tanhshrink Threshold Identity StochasticDepth AlphaDropout Dropout
    Dropout1d Dropout2d Dropout3d FeatureAlphaDropout"""
_MORE_OPERANDS = """add sub mul truediv floordiv mod pow maximum minimum atan2 eq ne lt le gt ge and or xor where
    masked_fill lerp"""


@rule(*_ONE_OPERAND.split(), layers=tuple(_LAYERS.split()))
def one_operand(reader: Reader, node: fx.Node, given: dict[str, Any]) -> Dims:
    """The result has the indices of its operand; limits that are tensors are operands too."""
    if node.op == "call_function" and any(isinstance(value, tuple) for key, value in given.items() if key != "x"):
        return more_operands(reader, node, given)
    return given["x"]


@rule(*_MORE_OPERANDS.split())
def more_operands(reader: Reader, node: fx.Node, given: dict[str, Any]) -> Dims:
    """All operands lose the same indices; a dimension of size 1 is spread over the others."""
    return broadcast(
        reader, [dims for dims in given.values() if isinstance(dims, tuple)], reader.reason(node, "joined")
    )


def broadcast(reader: Reader, operands: list[Dims], reason: str) -> Dims:
    """Tie operands of different rank, aligned from the right; returns the axes of the result."""
    rank = max(len(dims) for dims in operands)
    result: list[Axis] = []
    for position in range(-rank, 0):
        axes = [dims[position] for dims in operands if len(dims) >= -position]
        wide = [axis for axis in axes if length(axis) != 1] or axes[:1]
        axis = wide[0]
        for other in wide[1:]:
            axis = tie_axes(axis, other, reader.variables, reason)
        result.append(axis)
    return tuple(result)


@rule("prelu")
def prelu(reader: Reader, node: fx.Node, given: dict[str, Any]) -> Dims:
    """One slope for all, or one per channel."""
    x, weight = given["x"], given["weight"]
    if length(weight[0]) == 1:
        return x
    return (x[0], tie_axes(x[1], weight[0], reader.variables, reader.reason(node, "a slope per channel")), *x[2:])


@rule(layers=("PReLU",))
def prelu_layer(reader: Reader, node: fx.Node, given: dict[str, Any]) -> Dims:
    """A slope per channel goes with its channel."""
    x = given["x"]
    if getattr(reader.layer(node), "num_parameters", 1) > 1:
        reader.consume(f"{node.target}.weight", 0, x[1], reader.reason(node, "a slope per channel"))
        reader.attribute(node, "num_parameters", x[1])
    return x


@rule("softmax", "log_softmax", "cumsum", "cumprod", "sort", "argsort")
def along(reader: Reader, node: fx.Node, given: dict[str, Any]) -> Any:
    """Along one dimension every result depends on all indices: that dimension stays whole."""
    x, dim = given["x"], given["dim"]
    reader.freeze_axis(x[dim], reader.reason(node, "mixed along this dimension"))
    return (x, x) if name_of(node.target) == "sort" else x


@rule(layers=("Softmax", "LogSoftmax", "Softmin"))
def softmax_layer(reader: Reader, node: fx.Node, given: dict[str, Any]) -> Dims:
    """A softmax over a dimension needs all of it."""
    x = given["x"]
    dim = getattr(reader.layer(node), "dim", None)
    for axis in x if dim is None else (x[dim],):
        reader.freeze_axis(axis, reader.reason(node, "a softmax over it"))
    return x


@rule("normalize")
def normalize(reader: Reader, node: fx.Node, given: dict[str, Any]) -> Dims:
    """Dividing by the norm over a dimension: what survives is divided by the norm of what survives."""
    x, dims = given["x"], given.get("dim", 1)
    for dim in dims if isinstance(dims, list | tuple) else [dims]:
        reader.contract(node, ("args", 0), dim % len(x), x[dim])
        if given.get("p", 2.0) <= 0:
            reader.freeze_axis(x[dim], reader.reason(node, "counted by a norm"))
    return x


OVER_SURVIVORS = frozenset(("mean", "amax", "amin", "logsumexp", "vector_norm", "var", "std", "var_mean", "std_mean"))


@rule("sum", "mean", "amax", "amin", "logsumexp", "vector_norm", "var", "std")
def reduce(reader: Reader, node: fx.Node, given: dict[str, Any]) -> Dims:
    """A sum may lose indices; a mean, a maximum or a deviation is taken over what survives, as a norm's are."""
    return _reduced(reader, node, given["x"], given["dims"], bool(given.get("keepdim", False)))


@rule("var_mean", "std_mean")
def reduce_twice(reader: Reader, node: fx.Node, given: dict[str, Any]) -> tuple[Dims, Dims]:
    """Two results of one reduction."""
    result = _reduced(reader, node, given["x"], given["dims"], bool(given.get("keepdim", False)))
    return result, result


@rule("prod", "any", "all", "argmax", "argmin")
def reduce_one(reader: Reader, node: fx.Node, given: dict[str, Any]) -> Dims:
    """A reduction over one dimension."""
    return _reduced(reader, node, given["x"], [given["dim"]], bool(given.get("keepdim", False)))


@rule("max_dim", "min_dim")
def reduce_with_index(reader: Reader, node: fx.Node, given: dict[str, Any]) -> tuple[Dims, Dims]:
    """Values and indices."""
    result = _reduced(reader, node, given["x"], [given["dim"]], bool(given.get("keepdim", False)))
    return result, result


def _reduced(reader: Reader, node: fx.Node, x: Dims, dims: list[int], keepdim: bool) -> Dims:
    name = name_of(node.target)
    for dim in dims:
        if name == "sum":
            reader.contract(node, ("args", 0), dim, x[dim])
        elif name in OVER_SURVIVORS and _has_rest(x, dims, dim, arguments(node)):
            reader.contract(node, ("args", 0), dim, x[dim], normed=True)
        else:
            reader.freeze_axis(x[dim], reader.reason(node, "reduced over this dimension"))
    if keepdim:
        return tuple(plain(1) if dim in dims else axis for dim, axis in enumerate(x))
    return tuple(axis for dim, axis in enumerate(x) if dim not in dims)


def _has_rest(x: Dims, dims: list[int], dim: int, given: dict[str, Any]) -> bool:
    """Whether a single surviving index has a deviation (not where it is divided by n − 1) and a norm (order > 0)."""
    others = any(length(x[other]) > 1 and not is_free(x[other]) for other in dims if other != dim)
    order = given.get("ord", 2)
    return (given.get("correction", 0) == 0 or others) and isinstance(order, int | float) and order > 0


@rule("glu", layers=("GLU",))
def glu(reader: Reader, node: fx.Node, given: dict[str, Any]) -> Dims:
    """Both halves lose the same indices."""
    x = given["x"]
    dim = given["dim"] if "dim" in given else reader.layer(node).dim
    dim = int(dim) % len(x)  # type: ignore[arg-type]
    values = reader.flat(x[dim])
    half = len(values) // 2
    if not is_free(x[dim]):
        return (*x[:dim], plain(half), *x[dim + 1 :])
    first, second = (Factor(half, values[:half]),), (Factor(half, values[half:]),)
    tied = tie_axes(first, second, reader.variables, reader.reason(node, "gated by its other half"))
    return (*x[:dim], tied, *x[dim + 1 :])
