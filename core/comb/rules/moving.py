"""Operations that move indices: views, transpositions, slices, concatenation, padding, shuffles."""

from typing import Any

import numpy as np
from torch import fx

from ...models.tracer import BATCH
from ...models.vocabulary import arguments, name_of
from ..axes import Axis, Factor, is_free, length, plain, regroup
from ..reader import Dims, Reader, rule
from .elementwise import broadcast


def _product(dims: tuple[int, ...]) -> int:
    return int(np.prod(dims, dtype=object)) if dims else 1


@rule("reshape", "flatten", layers=("Flatten", "Unflatten"))
def reshape(reader: Reader, node: fx.Node, given: dict[str, Any]) -> Dims:
    """Splits and merges dimensions; the constants follow what survives."""
    x: Dims = given["x"]
    target = reader.shapes[node]
    factors = [factor for axis in x for factor in axis]
    axes = tuple(regroup(factors, list(target), reader.variables, reader.reason(node, "reshaped unevenly")))
    if node.op == "call_function" and "sizes" in given:
        path = reader.parameter_path(node, "sizes")
        sizes = node.args[1] if len(node.args) > 1 else node.kwargs["sizes"]
        for position, (axis, size) in enumerate(zip(axes, sizes, strict=True)):  # type: ignore[arg-type]
            if isinstance(size, int) and size != -1:
                reader.argument(node, (*path, position), axis)
            elif is_free(axis) and not isinstance(size, int):
                reader.freeze_axis(axis, reader.reason(node, "its size is computed while the network runs"))
    elif node.op == "call_module" and type(reader.layer(node)).__name__ == "Unflatten":
        _follow_unflatten(reader, node, axes)
    return axes


def _follow_unflatten(reader: Reader, node: fx.Node, axes: Dims) -> None:
    layer = reader.layer(node)
    sizes: tuple[int, ...] = tuple(layer.unflattened_size)  # type: ignore[arg-type]
    start = int(layer.dim) % (len(axes) - len(sizes) + 1)  # type: ignore[arg-type]
    for position, size in enumerate(sizes):
        if size != -1:
            reader.attribute(node, f"unflattened_size.{position}", axes[start + position])


@rule("permute")
def permute(reader: Reader, node: fx.Node, given: dict[str, Any]) -> Dims:
    """Dimensions change places."""
    return tuple(given["x"][dim] for dim in given["dims"])


@rule("squeeze")
def squeeze(reader: Reader, node: fx.Node, given: dict[str, Any]) -> Dims:
    """Dimensions of size 1 disappear."""
    x = given["x"]
    dims = given.get("dims", list(range(len(x))))
    gone = {dim for dim in (dims if isinstance(dims, list | tuple) else [dims]) if length(x[dim]) == 1}
    return tuple(axis for dim, axis in enumerate(x) if dim not in gone)


@rule("unsqueeze")
def unsqueeze(reader: Reader, node: fx.Node, given: dict[str, Any]) -> Dims:
    """A dimension of size 1 appears."""
    x, dim = given["x"], given["dim"]
    return (*x[:dim], plain(1), *x[dim:])


@rule("expand")
def expand(reader: Reader, node: fx.Node, given: dict[str, Any]) -> Dims:
    """Dimensions of size 1 are spread over as many copies as survive; the others pass."""
    x: Dims = given["x"]
    shape = reader.shapes[node]
    new = len(shape) - len(x)
    path = reader.parameter_path(node, "sizes")
    axes: list[Axis] = []
    for position, size in enumerate(shape):
        axis = x[position - new] if position >= new else plain(1)
        if length(axis) != size:
            axis = _copies(reader, node, (*path, position), size)
        elif is_free(axis) and given["sizes"][position] != -1:
            reader.argument(node, (*path, position), axis)
        axes.append(axis)
    return tuple(axes)


def _copies(reader: Reader, node: fx.Node, path: tuple[Any, ...], size: int) -> Axis:
    """Copies of one value: any of them can go when what they are joined with shrinks. Not those of an example."""
    written = node.args[path[1]][path[2]] if path[0] == "args" else node.kwargs[path[1]][path[2]]  # type: ignore[index]
    if size <= 1 or size >= BATCH or not isinstance(written, int):
        return plain(size)
    axis = (Factor(size, reader.variables.fresh(size)),)
    reader.argument(node, path, axis)
    return axis


@rule("repeat")
def repeat(reader: Reader, node: fx.Node, given: dict[str, Any]) -> Dims:
    """Whole copies along a dimension: an index goes from every copy."""
    x: Dims = given["x"]
    shape = reader.shapes[node]
    new = len(shape) - len(x)
    path = reader.parameter_path(node, "sizes")
    axes: list[Axis] = []
    for position, size in enumerate(shape):
        axis = x[position - new] if position >= new else plain(1)
        if length(axis) == 1 and size > 1:
            axes.append(_copies(reader, node, (*path, position), size))
        else:
            copies = size // length(axis)
            axes.append(axis if copies == 1 else (Factor(copies), *axis))
    return tuple(axes)


@rule("repeat_interleave")
def repeat_interleave(reader: Reader, node: fx.Node, given: dict[str, Any]) -> Dims:
    """Every index several times in a row."""
    x, dim, repeats = given["x"], given.get("dim"), given["repeats"]
    if not isinstance(repeats, int) or dim is None:
        return reader.unknown(node, given, reader.reason(node, "repeated by varying counts"))
    return (*x[:dim], (*x[dim], Factor(repeats)), *x[dim + 1 :])


@rule("cat")
def cat(reader: Reader, node: fx.Node, given: dict[str, Any]) -> Dims:
    """Indices side by side; the other dimensions are tied."""
    tensors: list[Dims] = [dims for dims in given["tensors"] if dims]
    dim = given.get("dim", 0)
    reason = reader.reason(node, "concatenated")
    others = [tuple(axis for position, axis in enumerate(dims) if position != dim) for dims in tensors]
    tied = list(broadcast(reader, others, reason))
    parts = [dims[dim] for dims in tensors]
    total = reader.shapes[node][dim]
    joined: Axis = plain(total)
    if any(is_free(part) for part in parts):
        joined = (Factor(total, np.concatenate([reader.flat(part) for part in parts])),)
    tied.insert(dim, joined)
    return tuple(tied)


@rule("stack")
def stack(reader: Reader, node: fx.Node, given: dict[str, Any]) -> Dims:
    """A new dimension whose indices stay; all others are tied."""
    dim = given.get("dim", 0)
    tied = list(broadcast(reader, list(given["tensors"]), reader.reason(node, "stacked")))
    tied.insert(dim, plain(len(given["tensors"])))
    return tuple(tied)


@rule("split")
def split(reader: Reader, node: fx.Node, given: dict[str, Any]) -> tuple[Dims, ...]:
    """Runs of indices; the sizes in the graph follow what survives."""
    x, sizes, dim = given["x"], given["sizes"], given.get("dim", 0)
    if not is_free(x[dim]):
        return tuple((*x[:dim], plain(size), *x[dim + 1 :]) for size in sizes)
    values = reader.flat(x[dim])
    path = reader.parameter_path(node, "sizes")
    results, start = [], 0
    for position, size in enumerate(sizes):
        part = reader.part(node, values[start : start + size], f"part {position} of a split") if size else plain(0)
        reader.argument(node, (*path, position), part)
        results.append((*x[:dim], part, *x[dim + 1 :]))
        start += size
    return tuple(results)


@rule("unbind")
def unbind(reader: Reader, node: fx.Node, given: dict[str, Any]) -> tuple[Dims, ...]:
    """Every index becomes a tensor of its own: all of them stay."""
    x, dim = given["x"], given.get("dim", 0)
    reader.freeze_axis(x[dim], reader.reason(node, "unbound into single tensors"))
    rest = (*x[:dim], *x[dim + 1 :])
    return (rest,) * length(x[dim])


@rule("getitem")
def getitem(reader: Reader, node: fx.Node, given: dict[str, Any]) -> Any:
    """One of several results, or basic indexing: an index that is picked stays, a slice follows what survives."""
    x, index = given["x"], given["index"]
    if _is_bundle(x):
        return x[index]
    raw = arguments(node)["index"]
    single = not isinstance(raw, tuple | list)
    items = [index] if single else list(index)
    if any(not (item is None or item is Ellipsis or isinstance(item, int | slice)) for item in items):
        return _gathered(reader, node, x, items)
    path = reader.parameter_path(node, "index")
    consumed = sum(1 for item in items if item is not None and item is not Ellipsis)
    result: list[Axis] = []
    dim = 0
    for position, item in enumerate(items):
        if item is None:
            result.append(plain(1))
        elif item is Ellipsis:
            passed = len(x) - consumed
            result.extend(x[dim : dim + passed])
            dim += passed
        else:
            where = path if single else (*path, position)
            result.extend(_cut(reader, node, x[dim], item, where))
            dim += 1
    return (*result, *x[dim:])


def _is_bundle(x: Any) -> bool:
    """Several tensors rather than the axes of one."""
    return isinstance(x, tuple | list) and bool(x) and isinstance(x[0], tuple) and not isinstance(x[0][0], Factor)


def _cut(reader: Reader, node: fx.Node, axis: Axis, item: int | slice, path: tuple[Any, ...]) -> list[Axis]:
    size = length(axis)
    if isinstance(item, int):
        if is_free(axis):
            values = reader.flat(axis)
            reason = reader.reason(node, "picked by its number")
            reader.variables.freeze(values[[item % size]], reason)
            if item:
                reader.bound(node, path, values, item % size)
        return []
    bounds = (
        range(size)[item] if all(b is None or isinstance(b, int) for b in (item.start, item.stop, item.step)) else None
    )
    if bounds is None or not is_free(axis):
        kept = len(bounds) if bounds is not None else size
        if bounds is None:
            reader.freeze_axis(axis, reader.reason(node, "cut at a place computed while the network runs"))
        return [axis if kept == size and item.step in (None, 1) else plain(kept)]
    if bounds.step != 1 or not bounds:
        reader.freeze_axis(axis, reader.reason(node, "every n-th index is taken" if bounds else "nothing is taken"))
        return [plain(len(bounds))]
    values = reader.flat(axis)
    if item.start not in (None, 0):
        reader.bound(node, (*path, "start"), values, bounds.start)
    if item.stop is not None and (bounds.stop < size or item.stop < 0):
        reader.bound(node, (*path, "stop"), values, bounds.stop)
    if len(bounds) == size:
        return [axis]
    return [reader.part(node, values[bounds.start : bounds.stop], f"the slice {bounds.start}:{bounds.stop}")]


def _gathered(reader: Reader, node: fx.Node, x: Dims, items: list[Any]) -> Dims:
    """Indexing by tensors: the dimensions that are looked up stay; those behind them pass."""
    if any(item is None or item is Ellipsis for item in items):
        return reader.unknown(node, [x, items], reader.reason(node, "indexed by a tensor"))
    shape = reader.shapes[node]
    leading = all(not isinstance(item, int | slice) for item in items)
    for axis in x[: len(items)] if leading else x:
        reader.freeze_axis(axis, reader.reason(node, "looked up by number"))
    reader.unknown_tensors(items, reader.reason(node, "numbers of other indices"))
    if not leading:
        return reader.result(node)
    rest = x[len(items) :]
    return (*(plain(size) for size in shape[: len(shape) - len(rest)]), *rest)


@rule("index_select", "gather")
def index_select(reader: Reader, node: fx.Node, given: dict[str, Any]) -> Dims:
    """The dimension that is looked up stays."""
    x, dim = given["x"], given["dim"]
    reason = reader.reason(node, "looked up by number")
    if name_of(node.target) == "gather":
        return reader.unknown(node, given, reason)
    reader.freeze_axis(x[dim], reason)
    return (*x[:dim], plain(reader.shapes[node][dim]), *x[dim + 1 :])


@rule("assign")
def assign(reader: Reader, node: fx.Node, given: dict[str, Any]) -> Dims:
    """A number written into a slice: the slice follows what survives. Any other overwriting fixes what it touches."""
    x, index = given["x"], arguments(node)["index"]
    items = list(index) if isinstance(index, tuple | list) else [index]
    if not isinstance(given["value"], int | float) or not all(isinstance(item, slice) for item in items):
        reader.unknown_tensors(given, reader.reason(node, "a part of it is overwritten"))
        return reader.result(node)
    path = reader.parameter_path(node, "index")
    for position, item in enumerate(items):
        where = (*path, position) if isinstance(index, tuple | list) else path
        _cut(reader, node, x[position], item, where)
    return x


@rule("roll")
def roll(reader: Reader, node: fx.Node, given: dict[str, Any]) -> Dims:
    """Rolling moves indices by a fixed number: those dimensions stay whole."""
    dims = given.get("dims")
    every = range(len(given["x"]))
    for dim in dims if isinstance(dims, list | tuple) and dims else every if not isinstance(dims, int) else [dims]:
        reader.freeze_axis(given["x"][dim], reader.reason(node, "rolled"))
    return given["x"]


@rule("flip")
def flip(reader: Reader, node: fx.Node, given: dict[str, Any]) -> Dims:
    """Reversed order."""
    axes = list(given["x"])
    for dim in given["dims"]:
        if is_free(axes[dim]):
            values = reader.flat(axes[dim])[::-1].copy()
            axes[dim] = (Factor(len(values), values),)
    return tuple(axes)


@rule("pad")
def pad(reader: Reader, node: fx.Node, given: dict[str, Any]) -> Dims:
    """Constant padding of channels can shrink with what it is added to; of positions it passes."""
    axes: list[Axis] = list(given["x"])
    amounts = given["pad"]
    constant = given.get("mode", "constant") == "constant"
    path = reader.parameter_path(node, "pad")
    for pair in range(len(amounts) // 2):
        dim = len(axes) - 1 - pair
        before, after = amounts[2 * pair], amounts[2 * pair + 1]
        if before == after == 0:
            continue
        if not is_free(axes[dim]) or not constant or before < 0 or after < 0:
            reader.freeze_axis(axes[dim], reader.reason(node, "padded"))
            axes[dim] = plain(reader.shapes[node][dim])
            continue
        front, back = reader.variables.fresh(before), reader.variables.fresh(after)
        values = np.concatenate([front, reader.flat(axes[dim]), back])
        for offset, part in ((0, front), (1, back)):
            if len(part):
                reader.argument(node, (*path, 2 * pair + offset), (Factor(len(part), part),))
        axes[dim] = (Factor(len(values), values),)
    return tuple(axes)


@rule("pixel_shuffle", layers=("PixelShuffle",))
def pixel_shuffle(reader: Reader, node: fx.Node, given: dict[str, Any]) -> Dims:
    """r² channels become the pixels of one: they go together."""
    x, result = given["x"], list(reader.result(node))
    reason = reader.reason(node, "pixels of one channel")
    reader.in_space(node, x, but=(1,))
    outer, inner = regroup(list(x[1]), [length(result[1]), length(x[1]) // length(result[1])], reader.variables, reason)
    reader.freeze_axis(inner, reason)
    result[0], result[1] = x[0], outer
    return tuple(result)


@rule("pixel_unshuffle", layers=("PixelUnshuffle",))
def pixel_unshuffle(reader: Reader, node: fx.Node, given: dict[str, Any]) -> Dims:
    """One channel becomes r² channels, which go together."""
    x, result = given["x"], list(reader.result(node))
    reader.in_space(node, x, but=(1,))
    copies = length(result[1]) // length(x[1])
    result[0], result[1] = x[0], (*x[1], Factor(copies))
    return tuple(result)


@rule("channel_shuffle", layers=("ChannelShuffle",))
def channel_shuffle(reader: Reader, node: fx.Node, given: dict[str, Any]) -> Dims:
    """Groups × channels become channels × groups."""
    x = given["x"]
    groups = int(reader.layer(node).groups if node.op == "call_module" else given["groups"])  # type: ignore[arg-type]
    outer, inner = regroup(
        list(x[1]), [groups, length(x[1]) // groups], reader.variables, reader.reason(node, "shuffled in groups")
    )
    if node.op == "call_module":
        reader.attribute(node, "groups", outer)
    else:
        reader.argument(node, reader.parameter_path(node, "groups"), outer)
    return (x[0], (*inner, *outer), *x[2:])


@rule("im2col", layers=("Unfold",))
def im2col(reader: Reader, node: fx.Node, given: dict[str, Any]) -> Dims:
    """Every channel brings its window along."""
    x, result = given["x"], list(reader.result(node))
    reader.in_space(node, x, but=(1,))
    window = length(result[1]) // length(x[1])
    result[0], result[1] = x[0], (*x[1], Factor(window))
    return tuple(result)


@rule("col2im", layers=("Fold",))
def col2im(reader: Reader, node: fx.Node, given: dict[str, Any]) -> Dims:
    """Windows are added up: those of one channel go together."""
    x, result = given["x"], list(reader.result(node))
    reason = reader.reason(node, "windows of one channel")
    channels = length(result[1])
    outer, inner = regroup(list(x[1]), [channels, length(x[1]) // channels], reader.variables, reason)
    reader.freeze_axis(inner, reason)
    reader.freeze_axis(x[2], reader.reason(node, "a position in space"))
    result[0], result[1] = x[0], outer
    return tuple(result)


@rule("unfold_dim")
def unfold_dim(reader: Reader, node: fx.Node, given: dict[str, Any]) -> Dims:
    """Sliding windows over one dimension, which stays whole."""
    x, dim = given["x"], given["dim"]
    reader.freeze_axis(x[dim], reader.reason(node, "unfolded into windows"))
    shape = reader.shapes[node]
    return (*x[:dim], plain(shape[dim]), *x[dim + 1 :], plain(shape[-1]))


@rule("tril", "triu")
def triangle(reader: Reader, node: fx.Node, given: dict[str, Any]) -> Dims:
    """The last two dimensions are told apart by number."""
    x = given["x"]
    for axis in x[-2:]:
        reader.freeze_axis(axis, reader.reason(node, "a triangle of it is kept"))
    return x


@rule("new_full")
def new_full(reader: Reader, node: fx.Node, given: dict[str, Any]) -> Dims:
    """A constant whose size follows the batch; it shrinks with what it is joined to."""
    path = reader.parameter_path(node, "sizes")
    return tuple(_copies(reader, node, (*path, dim), size) for dim, size in enumerate(reader.shapes[node]))
