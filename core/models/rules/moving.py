"""Operations that move indices: views, permutations, concatenation, slices, padding."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx

from ..recording import Untraceable
from ..tracer import Alias, Tracer
from .registry import RULES, Rule, axes, axis, flat, rule


@rule("view", "reshape", "view_as", "reshape_as", "unflatten", "_unsafe_view", "_reshape_alias")
def _reshape(t: Tracer, out: Tensor, x: Tensor, *args: Any, **_: Any) -> Any:
    if args and isinstance(args[0], torch.dtype):
        raise Untraceable("view(dtype) reinterprets bytes; this is not supported.")
    return t.emit("reshape", x, t.sizes(out.shape))


@rule("flatten", "ravel")
def _flatten(t: Tracer, out: Tensor, x: Tensor, start_dim: int = 0, end_dim: int = -1) -> fx.Node:
    return t.emit("flatten", x, axis(start_dim, x), axis(end_dim, x))


def _permutation(apply: Callable[[Tensor], Tensor], ndim: int) -> list[int]:
    """The permutation that an operation does, read off a tensor whose sizes tell its dimensions apart."""
    probe = torch.empty(tuple(range(2, 2 + ndim)), device="meta")
    return [length - 2 for length in apply(probe).shape]


@rule("permute", "transpose", "t", "swapaxes", "swapdims", "movedim", "moveaxis", "T", "mT", "adjoint")
def _permute(t: Tracer, out: Tensor, x: Tensor, *args: Any, **kw: Any) -> Any:
    operation = t.last_operation
    if operation in ("T", "mT"):
        dims = _permutation(lambda probe: getattr(probe, operation), x.ndim)
    elif operation == "permute":
        dims = _permutation(lambda probe: probe.permute(*args, **kw), x.ndim)
    else:
        dims = _permutation(lambda probe: getattr(torch.Tensor, operation)(probe, *args, **kw), x.ndim)
    return Alias(x) if dims == list(range(x.ndim)) else t.emit("permute", x, dims)


@rule("squeeze")
def _squeeze(t: Tracer, out: Tensor, x: Tensor, *dims: Any, **kw: Any) -> Any:
    wanted = kw.get("dim", flat(dims) if dims else None)
    gone = [dim for dim in axes(wanted, x) if x.shape[dim] == 1]
    return t.emit("squeeze", x, gone) if gone else Alias(x)


@rule("unsqueeze")
def _unsqueeze(t: Tracer, out: Tensor, x: Tensor, dim: int) -> fx.Node:
    return t.emit("unsqueeze", x, axis(dim, x, extra=1))


@rule("expand", "expand_as", "broadcast_to")
def _expand(t: Tracer, out: Tensor, x: Tensor, *_: Any, **__: Any) -> Any:
    if out.shape == x.shape:
        return Alias(x)
    lead = out.ndim - x.ndim
    sizes = [
        -1 if index >= lead and x.shape[index - lead] == length else length for index, length in enumerate(out.shape)
    ]
    return t.emit("expand", x, sizes)


@rule("repeat", "tile")
def _repeat(t: Tracer, out: Tensor, x: Tensor, *_: Any, **__: Any) -> fx.Node:
    lead = out.ndim - x.ndim
    before = (1,) * lead + tuple(x.shape)
    return t.emit("repeat", x, [after // length for after, length in zip(out.shape, before, strict=True)])


@rule("repeat_interleave")
def _repeat_interleave(t: Tracer, out: Tensor, x: Tensor, repeats: Any, dim: int | None = None, **_: Any) -> fx.Node:
    if isinstance(repeats, Tensor) or dim is None:
        raise Untraceable("repeat_interleave needs one integer and a dimension.")
    return t.emit("repeat_interleave", x, repeats, axis(dim, x))


@rule("cat", "concat", "concatenate")
def _cat(t: Tracer, out: Tensor, tensors: Any, dim: int = 0, **kw: Any) -> fx.Node:
    return t.emit("cat", list(tensors), axis(kw.get("axis", dim), out))


@rule("stack")
def _stack(t: Tracer, out: Tensor, tensors: Any, dim: int = 0) -> fx.Node:
    return t.emit("stack", list(tensors), axis(dim, out))


@rule("split", "chunk", "tensor_split", "split_with_sizes", "unsafe_split", "unsafe_chunk", "unsafe_split_with_sizes")
def _split(t: Tracer, out: Any, x: Tensor, _count: Any = None, dim: int = 0, **_: Any) -> fx.Node:
    dim = axis(dim, x)
    return t.emit("split", x, [part.shape[dim] for part in out], dim)


@rule("unbind")
def _unbind(t: Tracer, out: Any, x: Tensor, dim: int = 0) -> fx.Node:
    return t.emit("unbind", x, axis(dim, x))


@rule("__getitem__")
def _getitem(t: Tracer, out: Tensor, x: Tensor, index: Any) -> fx.Node:
    return t.emit("getitem", x, index)


@rule("select")
def _select(t: Tracer, out: Tensor, x: Tensor, dim: int, index: int) -> fx.Node:
    return t.emit("getitem", x, (slice(None),) * axis(dim, x) + (index,))


@rule("narrow")
def _narrow(t: Tracer, out: Tensor, x: Tensor, dim: int, start: int, length: int) -> fx.Node:
    return t.emit("getitem", x, (slice(None),) * axis(dim, x) + (slice(start, start + length),))


@rule("slice")
def _slice(t: Tracer, out: Tensor, x: Tensor, dim: int = 0, start: Any = None, end: Any = None, step: int = 1) -> Any:
    if out.shape == x.shape:
        return Alias(x)
    start = None if start == 0 else start
    end = None if end is not None and end >= x.shape[dim] else end
    return t.emit("getitem", x, (slice(None),) * axis(dim, x) + (slice(start, end, None if step == 1 else step),))


@rule("slice_scatter", "select_scatter")
def _scatter(t: Tracer, out: Tensor, x: Tensor, source: Any, dim: int = 0, *args: Any, **kw: Any) -> fx.Node:
    lead = (slice(None),) * axis(dim, x)
    if t.last_operation == "select_scatter":
        return t.emit("assign", x, (*lead, kw.get("index", args[0] if args else None)), source)
    start, end, step = (*args, *(None,) * 3)[:3]
    start, end, step = kw.get("start", start), kw.get("end", end), kw.get("step", step)
    end = None if end is not None and end >= x.shape[axis(dim, x)] else end
    return t.emit("assign", x, (*lead, slice(start, end, step)), source)


@rule("index")
def _index(t: Tracer, out: Tensor, x: Tensor, indices: Any) -> fx.Node:
    return t.emit("getitem", x, tuple(slice(None) if index is None else index for index in indices))


@rule("index_put")
def _index_put(t: Tracer, out: Tensor, x: Tensor, indices: Any, values: Any, accumulate: bool = False) -> fx.Node:
    if accumulate:
        raise Untraceable("index_put with accumulate is not supported.")
    return t.emit("assign", x, tuple(slice(None) if index is None else index for index in indices), values)


@rule("index_select")
def _index_select(t: Tracer, out: Tensor, x: Any, dim: int, index: Any) -> fx.Node:
    return t.emit("index_select", x, axis(dim, x), index)


@rule("gather")
def _gather(t: Tracer, out: Tensor, x: Any, dim: int, index: Any, **_: Any) -> fx.Node:
    return t.emit("gather", x, axis(dim, x), index)


@rule("roll")
def _roll(t: Tracer, out: Tensor, x: Tensor, shifts: Any, dims: Any = ()) -> fx.Node:
    dims = flat((dims,))
    if not dims:
        raise Untraceable("roll without dimensions is not supported.")
    return t.emit("roll", x, list(flat((shifts,))), axes(dims, x))


@rule("flip", "fliplr", "flipud")
def _flip(t: Tracer, out: Tensor, x: Tensor, *dims: Any, **kw: Any) -> fx.Node:
    fixed = {"fliplr": (1,), "flipud": (0,)}.get(t.last_operation)
    return t.emit("flip", x, axes(fixed or kw.get("dims", flat(dims)), x))


@rule("pad", "constant_pad_nd")
def _pad(t: Tracer, out: Tensor, x: Tensor, pad: Any, mode: Any = "constant", value: Any = None) -> Any:
    if t.last_operation == "constant_pad_nd":
        mode, value = "constant", 0 if mode == "constant" else mode
    if not any(pad):
        return Alias(x)
    return t.emit("pad", x, list(pad), mode, (value or 0.0) if mode == "constant" else None)


def _aten_pad(mode: str) -> Rule:
    def record(t: Tracer, out: Tensor, x: Tensor, pad: Any) -> fx.Node:
        return t.emit("pad", x, list(pad), mode, None)

    return record


for _name in ("1d", "2d", "3d"):
    RULES[f"reflection_pad{_name}"] = _aten_pad("reflect")
    RULES[f"replication_pad{_name}"] = _aten_pad("replicate")


@rule("pixel_shuffle", "pixel_unshuffle")
def _pixel_shuffle(t: Tracer, out: Tensor, x: Any, factor: int = 1, **kw: Any) -> fx.Node:
    return t.emit(t.last_operation, x, next(iter(kw.values()), factor))


@rule("channel_shuffle", "native_channel_shuffle")
def _channel_shuffle(t: Tracer, out: Tensor, x: Any, groups: int) -> fx.Node:
    return t.emit("channel_shuffle", x, groups)


@rule("unfold_dim")
def _unfold_dim(t: Tracer, out: Tensor, x: Tensor, dimension: int, size: int, step: int) -> fx.Node:
    return t.emit("unfold_dim", x, axis(dimension, x), size, step)


@rule("tril", "triu")
def _triangle(t: Tracer, out: Tensor, x: Any, diagonal: int = 0) -> fx.Node:
    return t.emit(t.last_operation, x, diagonal)


@rule("diagonal")
def _diagonal(t: Tracer, out: Tensor, x: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> fx.Node:
    return t.emit("diagonal", x, offset, axis(dim1, x), axis(dim2, x))
