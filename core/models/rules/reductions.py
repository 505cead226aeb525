"""Operations over dimensions: softmax, sums, extremes, norms of vectors, sorting."""

from typing import Any

from torch import Tensor, fx

from ..recording import Untraceable
from ..tracer import Tracer
from .registry import axes, axis, flat, rule


@rule("softmax", "log_softmax", "_softmax", "_log_softmax")
def _softmax(t: Tracer, out: Tensor, x: Tensor, dim: int | None = None, *_: Any, **kw: Any) -> fx.Node:
    if dim is None:
        dim = 0 if x.ndim in (0, 1, 3) else 1  # what F.softmax guesses
    source = x if out.dtype == x.dtype else t.emit("cast", x, out.dtype)
    return t.emit(t.last_operation.lstrip("_"), source, axis(dim, x))


@rule("glu")
def _glu(t: Tracer, out: Tensor, x: Tensor, dim: int = -1) -> fx.Node:
    return t.emit("glu", x, axis(dim, x))


@rule("normalize")
def _normalize(
    t: Tracer, out: Tensor, x: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12, **_: Any
) -> fx.Node:
    return t.emit("normalize", x, p, axis(dim, x), eps)


@rule("sum", "mean")
def _sum(t: Tracer, out: Tensor, x: Tensor, *dims: Any, **kw: Any) -> fx.Node:
    keepdim = kw.get("keepdim", False)
    if dims and isinstance(dims[-1], bool):
        *dims, keepdim = dims  # type: ignore[assignment]
    dim = kw.get("dim", kw.get("axis", flat(tuple(dims)) if dims else None))
    if dims and dims[0] is None:
        dim = None
    node = t.emit(t.last_operation, x, axes(dim, x), bool(keepdim))
    return t.emit("cast", node, out.dtype) if kw.get("dtype") not in (None, x.dtype) else node


@rule("amax", "amin", "logsumexp")
def _amax(t: Tracer, out: Tensor, x: Tensor, dim: Any = (), keepdim: bool = False) -> fx.Node:
    return t.emit(t.last_operation, x, axes(dim, x), keepdim)


@rule("max", "min")
def _max(t: Tracer, out: Any, x: Tensor, dim: Any = None, keepdim: bool = False, **kw: Any) -> fx.Node:
    operation, other = t.last_operation, kw.get("other", dim)
    if isinstance(other, Tensor):
        return t.emit(f"{operation}imum", x, other)
    if dim is None:
        return t.emit(f"a{operation}", x, list(range(x.ndim)), False)
    return t.emit(f"{operation}_dim", x, axis(dim, x), keepdim)


@rule("var", "std", "var_mean", "std_mean")
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
    return t.emit(t.last_operation, x, axes(dim, x), correction=correction, keepdim=keepdim)


@rule("norm", "linalg_vector_norm", "linalg_norm", "vector_norm")
def _norm(t: Tracer, out: Tensor, x: Tensor, p: Any = 2, dim: Any = None, keepdim: bool = False, **kw: Any) -> fx.Node:
    p = kw.get("ord", p)
    if p in (None, "fro"):
        p = 2
    dims = axes(dim, x)
    if isinstance(p, str) or (t.last_operation == "linalg_norm" and len(dims) > 1 and p != 2):
        raise Untraceable(f"The norm “{p}” is not supported.")
    return t.emit("vector_norm", x, p, dims, keepdim)


@rule("_weight_norm")
def _weight_norm(t: Tracer, out: Tensor, v: Tensor, g: Tensor, dim: int = 0) -> fx.Node:
    others = [axis for axis in range(v.ndim) if axis != dim]
    return t.emit("mul", v, t.emit("truediv", g, t.emit("vector_norm", v, 2, others, True)))


@rule("prod", "any", "all", "argmax", "argmin")
def _over_one(t: Tracer, out: Tensor, x: Tensor, dim: Any = None, keepdim: bool = False, **_: Any) -> fx.Node:
    if dim is None:
        return t.emit(t.last_operation, t.emit("reshape", x, [x.numel()]), 0, False)
    return t.emit(t.last_operation, x, axis(dim, x), keepdim)


@rule("cumsum", "cumprod")
def _cumulative(t: Tracer, out: Tensor, x: Tensor, dim: int, **_: Any) -> fx.Node:
    source = x if out.dtype == x.dtype else t.emit("cast", x, out.dtype)
    return t.emit(t.last_operation, source, axis(dim, x))


@rule("topk")
def _topk(t: Tracer, out: Any, x: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> fx.Node:
    return t.emit("topk", x, k, axis(dim, x), largest, sorted)


@rule("sort", "argsort")
def _sort(t: Tracer, out: Any, x: Tensor, dim: int = -1, descending: bool = False, **_: Any) -> fx.Node:
    return t.emit(t.last_operation, x, axis(dim, x), descending)
