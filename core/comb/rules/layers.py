"""Convolutions, linear layers, norms, pooling: what consumes one channel dimension and creates another."""

import re
from typing import Any

from torch import fx

from ...models.vocabulary import name_of
from ..axes import Axis, Factor, is_free, length, plain, regroup, tie_axes
from ..reader import Dims, Reader, rule


class _Weights:
    """The tensors of a layer, or the tensor arguments of a function, under one set of names."""

    def __init__(self, reader: Reader, node: fx.Node, given: dict[str, Any], renamed: dict[str, str] | None = None):
        self.reader, self.node, self.given = reader, node, given
        self.renamed = renamed or {}

    def has(self, name: str) -> bool:
        if self.node.op == "call_module":
            return self.reader.has(self.node, name)
        return self.given.get(name) is not None

    def produce(self, name: str, dim: int) -> Axis:
        if self.node.op == "call_module":
            return self.reader.produce(f"{self.node.target}.{name}", dim)
        return self.given[name][dim]

    def consume(self, name: str, dim: int, axis: Axis, reason: str) -> Axis:
        """Tie a dimension of the tensor to ``axis``; returns what both are now."""
        if self.node.op == "call_module":
            full = f"{self.node.target}.{name}"
            self.reader.consume(full, dim, axis, reason)
            return axis if is_free(axis) else self.reader.produce(full, dim)
        return tie_axes(axis, self.given[name][dim], self.reader.variables, reason)

    def freeze_kernel(self, reason: str) -> None:
        """Positions of the kernel of a weight that the graph computes itself stay."""
        if self.node.op != "call_module":
            for axis in self.given["weight"][2:]:
                self.reader.freeze_axis(axis, reason)

    def follow(self, attribute: str, axis: Axis) -> None:
        """An attribute of the layer, or an argument of the function, counts the survivors of ``axis``."""
        if self.node.op == "call_module":
            self.reader.attribute(self.node, attribute, axis)
        elif attribute in self.given:
            self.reader.argument(self.node, self.reader.parameter_path(self.node, attribute), axis)


def _grouped(reader: Reader, axis: Axis, groups: int, reason: str) -> tuple[Axis, Axis]:
    """A channel axis as groups × channels in a group."""
    total = length(axis)
    outer, inner = regroup(list(axis), [groups, total // groups], reader.variables, reason)
    return outer, inner


@rule("conv1d", "conv2d", "conv3d", layers=("Conv1d", "Conv2d", "Conv3d"))
def convolution(reader: Reader, node: fx.Node, given: dict[str, Any]) -> Dims:
    """Consumes the input channels, creates the output channels; with groups, both are groups × channels."""
    x, weights = given["x"], _Weights(reader, node, given)
    groups = int(reader.layer(node).groups if node.op == "call_module" else given.get("groups", 1))  # type: ignore[arg-type]
    channel = len(reader.shapes[node]) - (len(_weight_shape(reader, node, given)) - 2) - 1
    weights.freeze_kernel(reader.reason(node, "positions of a kernel"))
    reader.in_space(node, x, but=(channel,))
    if groups == 1:
        weights.consume("weight", 1, x[channel], reader.reason(node, "read by a convolution"))
        out = weights.produce("weight", 0)
    else:
        out = _grouped_convolution(reader, node, weights, x[channel], groups)
        weights.follow("groups", _grouped(reader, x[channel], groups, reader.reason(node, "grouped"))[0])
    if weights.has("bias"):
        weights.consume("bias", 0, out, reader.reason(node, "a bias per channel"))
    weights.follow("in_channels", x[channel])
    weights.follow("out_channels", out)
    reader.contract(node, ("args", 0), channel, x[channel])
    result = list(reader.result(node))
    result[0], result[channel] = x[0], out
    return tuple(result)


def _grouped_convolution(reader: Reader, node: fx.Node, weights: _Weights, channels: Axis, groups: int) -> Axis:
    reason = reader.reason(node, f"a convolution in {groups} groups")
    outer, inner = _grouped(reader, channels, groups, reason)
    if is_free(inner) or length(inner) > 1:
        weights.consume("weight", 1, inner, reason)
    out_total = _weight_shape(reader, node, weights.given)[0]
    per_group = out_total // groups
    created: Axis = outer
    if per_group > 1:
        fresh = (Factor(per_group, reader.variables.fresh(per_group)),)
        created = (*outer, *fresh)
    return weights.consume("weight", 0, created, reason)


def _weight_shape(reader: Reader, node: fx.Node, given: dict[str, Any]) -> tuple[int, ...]:
    if node.op == "call_module":
        return tuple(reader.layer(node).weight.shape)  # type: ignore[arg-type]
    return tuple(length(axis) for axis in given["weight"])


@rule(
    *("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"),
    layers=("ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d"),
)
def transposed_convolution(reader: Reader, node: fx.Node, given: dict[str, Any]) -> Dims:
    """As a convolution, with the weight's first two dimensions exchanged."""
    x, weights = given["x"], _Weights(reader, node, given)
    groups = int(reader.layer(node).groups if node.op == "call_module" else given.get("groups", 1))  # type: ignore[arg-type]
    shape = _weight_shape(reader, node, given)
    channel = len(reader.shapes[node]) - (len(shape) - 2) - 1
    reason = reader.reason(node, "read by a transposed convolution")
    weights.freeze_kernel(reader.reason(node, "positions of a kernel"))
    reader.in_space(node, x, but=(channel,))
    if groups == 1:
        weights.consume("weight", 0, x[channel], reason)
        out = weights.produce("weight", 1)
    else:
        outer, _ = _grouped(reader, x[channel], groups, reason)
        weights.consume("weight", 0, x[channel], reason)
        out = (*outer, *weights.produce("weight", 1)) if shape[1] > 1 else outer
        weights.follow("groups", outer)
    if weights.has("bias"):
        weights.consume("bias", 0, out, reason)
    weights.follow("in_channels", x[channel])
    weights.follow("out_channels", out)
    reader.contract(node, ("args", 0), channel, x[channel])
    result = list(reader.result(node))
    result[0], result[channel] = x[0], out
    return tuple(result)


@rule("linear", layers=("Linear",))
def linear(reader: Reader, node: fx.Node, given: dict[str, Any]) -> Dims:
    """Consumes the last dimension, creates a new one."""
    x, weights = given["x"], _Weights(reader, node, given)
    weights.consume("weight", 1, x[-1], reader.reason(node, "read by a linear layer"))
    out = weights.produce("weight", 0)
    if weights.has("bias"):
        weights.consume("bias", 0, out, reader.reason(node, "a bias per neuron"))
    weights.follow("in_features", x[-1])
    reader.contract(node, ("args", 0), len(x) - 1, x[-1])
    weights.follow("out_features", out)
    return (*x[:-1], out)


@rule("embedding", layers=("Embedding",))
def embedding(reader: Reader, node: fx.Node, given: dict[str, Any]) -> Dims:
    """Rows are looked up by number and stay; the width is free."""
    weights = _Weights(reader, node, given)
    index = given["x"] if node.op == "call_module" else given["index"]
    reader.freeze_axis(weights.produce("weight", 0), reader.reason(node, "rows are looked up by number"))
    width = weights.produce("weight", 1)
    weights.follow("embedding_dim", width)
    return (*index, width)


def _freeze_but_channels(reader: Reader, node: fx.Node, x: Dims) -> None:
    """What the statistics of each channel are taken over stays whole."""
    for axis in (*x[:1], *x[2:]):
        reader.freeze_axis(axis, reader.reason(node, "statistics are taken over it"))


_BATCH_NORM = ("BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "SyncBatchNorm")
_INSTANCE_NORM = ("InstanceNorm1d", "InstanceNorm2d", "InstanceNorm3d")


@rule("batch_norm", "instance_norm", layers=(*_BATCH_NORM, *_INSTANCE_NORM))
def batch_norm(reader: Reader, node: fx.Node, given: dict[str, Any]) -> Dims:
    """Every channel has its own statistics, scale and shift; what the statistics are taken over stays."""
    x, weights = given["x"], _Weights(reader, node, given)
    if given.get("training") and given.get("running_mean") is None:  # a weight is standardised over what survives
        for dim in (0, *range(2, len(x))):
            reader.contract(node, ("args", 0), dim, x[dim], normed=True)
    else:
        _freeze_but_channels(reader, node, x)
    for name in ("weight", "bias", "running_mean", "running_var"):
        if weights.has(name):
            weights.consume(name, 0, x[1], reader.reason(node, "a norm per channel"))
    weights.follow("num_features", x[1])
    return x


@rule("layer_norm", "rms_norm", layers=("LayerNorm", "RMSNorm"))
def layer_norm(reader: Reader, node: fx.Node, given: dict[str, Any]) -> Dims:
    """Ties its scale and shift; its statistics are taken over what survives."""
    x, weights = given["x"], _Weights(reader, node, given)
    shape = reader.layer(node).normalized_shape if node.op == "call_module" else given["shape"]
    rank = len(shape)  # type: ignore[arg-type]
    for position in range(rank):
        axis = x[len(x) - rank + position]
        for name in ("weight", "bias"):
            if weights.has(name):
                weights.consume(name, position, axis, reader.reason(node, "a norm over it"))
        reader.contract(node, ("args", 0), len(x) - rank + position, axis, normed=True)
        if node.op == "call_module":
            reader.attribute(node, f"normalized_shape.{position}", axis)
        else:
            reader.argument(node, (*reader.parameter_path(node, "shape"), position), axis)
    return x


@rule("group_norm", layers=("GroupNorm",))
def group_norm(reader: Reader, node: fx.Node, given: dict[str, Any]) -> Dims:
    """Whole groups can go; or the same channels of every group, whose statistics then change."""
    x, weights = given["x"], _Weights(reader, node, given)
    _freeze_but_channels(reader, node, x)
    groups = int(reader.layer(node).num_groups if node.op == "call_module" else given["groups"])  # type: ignore[arg-type]
    outer, inner = _grouped(reader, x[1], groups, reader.reason(node, f"a norm in {groups} groups"))
    if is_free(inner):
        reader.contract(node, ("args", 0), 1, (Factor(length(outer)), *inner), normed=True)
    for name in ("weight", "bias"):
        if weights.has(name):
            weights.consume(name, 0, x[1], reader.reason(node, "a norm per channel"))
    weights.follow("num_groups" if node.op == "call_module" else "groups", outer)
    weights.follow("num_channels", x[1])
    return x


@rule("local_response_norm", layers=("LocalResponseNorm", "CrossMapLRN2d"))
def local_response_norm(reader: Reader, node: fx.Node, given: dict[str, Any]) -> Dims:
    """Channels are normalised by their neighbours: none can go."""
    reader.freeze_axis(given["x"][1], reader.reason(node, "normalised by neighbouring channels"))
    return given["x"]


_POOLING = [f"{kind}_pool{n}d" for kind in ("max", "avg", "adaptive_avg", "adaptive_max") for n in (1, 2, 3)]
_POOL_LAYERS = [f"{kind}Pool{n}d" for kind in ("Max", "Avg", "AdaptiveAvg", "AdaptiveMax") for n in (1, 2, 3)]
_SPATIAL = """LPPool1d LPPool2d ConstantPad1d ConstantPad2d ConstantPad3d ReflectionPad1d ReflectionPad2d
    ReflectionPad3d ReplicationPad1d ReplicationPad2d ReplicationPad3d ZeroPad1d ZeroPad2d ZeroPad3d
    Upsample UpsamplingBilinear2d UpsamplingNearest2d"""


@rule(*_POOLING, "interpolate", layers=(*_POOL_LAYERS, *_SPATIAL.split()))
def spatial(reader: Reader, node: fx.Node, given: dict[str, Any]) -> Any:
    """Works in space, channel by channel: the last dimensions (``2d``: two) stay whole."""
    name = name_of(node.target) if node.op == "call_function" else type(reader.layer(node)).__name__
    found = re.search(r"([123])d$", name)
    rank = int(found.group(1)) if found else len(given["x"]) - 2
    shape = reader.shapes[node]
    if not all(isinstance(size, int) for size in shape):
        return tuple(_kept(reader, node, given["x"], part, rank) for part in shape)
    return _kept(reader, node, given["x"], shape, rank)


def _kept(reader: Reader, node: fx.Node, x: Dims, shape: tuple[int, ...], rank: int) -> Dims:
    result = []
    for dim, (axis, size) in enumerate(zip(x, shape, strict=True)):
        if dim >= len(shape) - rank:
            reader.freeze_axis(axis, reader.reason(node, "a position in space"))
            axis = plain(size)
        result.append(axis)
    return tuple(result)


@rule("grid_sample")
def grid_sample(reader: Reader, node: fx.Node, given: dict[str, Any]) -> Dims:
    """Channels pass; positions stay."""
    reader.freeze(given["grid"], reader.reason(node, "positions of a sampling grid"))
    reader.in_space(node, given["x"], but=(1,))
    result = list(reader.result(node))
    result[0], result[1] = given["x"][0], given["x"][1]
    return tuple(result)
