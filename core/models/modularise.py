"""Functional calls that use a module's own parameters become calls of a standard layer under the module's name.

``F.conv2d(x, self.weight, …)`` in an author's convolution class, ``F.linear(x, self.qkv.weight)`` in an attention
function and every ``aten.conv2d`` of an exported graph become ``nn.Conv2d`` and ``nn.Linear`` at the path that owns the
weight, so that masks, hooks and ``train()`` reach them by name.
"""

from typing import Any

from torch import Tensor, fx, nn

from .layers import build_layer, is_layer
from .vocabulary import FUNCTIONS, arguments, name_of

__all__ = ["modularise"]

_RUNNING = ("running_mean", "running_var")


def modularise(graph: fx.Graph, original: nn.Module, layers: dict[str, nn.Module], renamed: dict[str, str]) -> None:
    """Rewrite ``graph`` in place.

    Args:
        graph: the captured graph.
        original: the author's model, which owns the tensors.
        layers: layers by name; the new ones are added, with the original's tensors in them.
        renamed: names of tensors that the original calls differently; the new ones are added.
    """
    for node in list(graph.nodes):
        if node.op != "call_function" or _packed_projection(graph, node, original, layers, renamed):
            continue
        rewrite = _REWRITES.get(name_of(node.target))
        if rewrite is not None:
            rewrite(graph, node, arguments(node), original, layers)


def _packed_projection(
    graph: fx.Graph, node: fx.Node, original: nn.Module, layers: dict[str, nn.Module], renamed: dict[str, str]
) -> bool:
    """Query, key and value projections of ``nn.MultiheadAttention`` in one product become its ``in_proj`` layer."""
    given = arguments(node) if name_of(node.target) == "linear" else {}
    weight = given.get("weight")
    if not (isinstance(weight, fx.Node) and weight.op == "get_attr"):
        return False
    path, _, leaf = str(weight.target).rpartition(".")
    source = original.get_submodule(path)
    if leaf != "in_proj_weight" or not isinstance(source, nn.MultiheadAttention):
        return False
    bias = given["bias"]
    if bias is not None and not _is_attribute(bias, path, "in_proj_bias"):
        return False
    name = f"{path}.in_proj" if path else "in_proj"
    settings = {"in_features": source.embed_dim, "out_features": 3 * source.embed_dim, "bias": bias is not None}
    layer = layers.setdefault(name, build_layer("Linear", settings))
    layer.weight, layer.bias = source.in_proj_weight, source.in_proj_bias
    for tensor in ("weight", "bias"):
        renamed[f"{name}.{tensor}"] = f"{path}.in_proj_{tensor}".lstrip(".")
    with graph.inserting_before(node):
        call = graph.create_node("call_module", name, (given["x"],))
    call.meta = dict(node.meta)
    _replace(graph, node, call)
    return True


def _owner(weight: Any) -> str | None:
    """Path of the module that owns this ``weight`` (None: it is not a plain parameter of that name)."""
    if isinstance(weight, fx.Node) and weight.op == "get_attr":
        path, _, name = str(weight.target).rpartition(".")
        if name == "weight" and path:
            return path
    return None


def _is_attribute(node: Any, path: str, name: str) -> bool:
    return isinstance(node, fx.Node) and node.op == "get_attr" and node.target == f"{path}.{name}"


def _adopt(layer: nn.Module, source: nn.Module) -> nn.Module:
    """Give the layer the tensors of ``source`` that have the same names."""
    for name, parameter in source.named_parameters(recurse=False):
        if name in layer._parameters:
            layer._parameters[name] = parameter
    for name, buffer in source.named_buffers(recurse=False):
        if name in layer._buffers:
            layer._buffers[name] = buffer
    return layer


def _same(layer: nn.Module, kind: str, settings: dict[str, Any]) -> bool:
    if type(layer).__name__ != kind:
        return False
    fresh = build_layer(kind, settings)
    return repr(fresh) == repr(layer)


def _place(
    graph: fx.Graph,
    node: fx.Node,
    path: str,
    kind: str,
    settings: dict[str, Any],
    original: nn.Module,
    layers: dict[str, nn.Module],
) -> fx.Node | None:
    """Insert a call of the layer before ``node``; None when another layer already has this name."""
    known = layers.get(path)
    if known is None:
        source = original.get_submodule(path)
        known = source if is_layer(source) and _same(source, kind, settings) else None
        layers[path] = known = known or _adopt(build_layer(kind, settings), source)
    elif not _same(known, kind, settings):
        return None
    with graph.inserting_before(node):
        call = graph.create_node("call_module", path, (node.args[0],))
    call.meta = dict(node.meta)
    return call


def _replace(graph: fx.Graph, node: fx.Node, replacement: fx.Node | None) -> None:
    if replacement is not None:
        node.replace_all_uses_with(replacement)
        graph.erase_node(node)


def _tensor(original: nn.Module, path: str, name: str) -> Tensor | None:
    return getattr(original.get_submodule(path), name, None)


def _linear(graph: fx.Graph, node: fx.Node, given: dict[str, Any], original: nn.Module, layers: Any) -> None:
    path = _owner(given["weight"])
    if path is None:
        return
    weight, bias = _tensor(original, path, "weight"), _tensor(original, path, "bias")
    assert weight is not None
    used = given["bias"]
    if weight.ndim != 2 or (used is not None and bias is None) or (used is None and bias is not None):
        return
    settings = {"in_features": weight.shape[1], "out_features": weight.shape[0], "bias": used is not None}
    call = _place(graph, node, path, "Linear", settings, original, layers)
    if call is not None and used is not None and not _is_attribute(used, path, "bias"):
        # Another bias than the layer's own (Swin V2 zeroes a part of it): add what differs.
        with graph.inserting_before(node):
            own = graph.create_node("get_attr", f"{path}.bias")
            differs = graph.call_function(FUNCTIONS["sub"].call, (used, own))
            call = graph.call_function(FUNCTIONS["add"].call, (call, differs))
    _replace(graph, node, call)


def _convolution(graph: fx.Graph, node: fx.Node, given: dict[str, Any], original: nn.Module, layers: Any) -> None:
    path = _owner(given["weight"])
    if path is None or (given["bias"] is not None and not _is_attribute(given["bias"], path, "bias")):
        return
    if given["bias"] is None and _tensor(original, path, "bias") is not None:
        return
    weight = _tensor(original, path, "weight")
    assert weight is not None
    name = name_of(node.target)
    transposed = name.startswith("conv_transpose")
    a, b = weight.shape[:2]
    settings: dict[str, Any] = {
        "in_channels": a if transposed else b * given["groups"],
        "out_channels": b * given["groups"] if transposed else a,
        "kernel_size": tuple(weight.shape[2:]),
        "bias": given["bias"] is not None,
        **{key: given[key] for key in ("stride", "padding", "dilation", "groups", "output_padding") if key in given},
    }
    settings = {key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()}
    kind = ("ConvTranspose" if transposed else "Conv") + name[-2:]
    _replace(graph, node, _place(graph, node, path, kind, settings, original, layers))


def _batch_norm(graph: fx.Graph, node: fx.Node, given: dict[str, Any], original: nn.Module, layers: Any) -> None:
    # Only where the author's module is a BatchNorm: a norm that is frozen on purpose must not wake up in training.
    mean = given["running_mean"]
    if not (isinstance(mean, fx.Node) and mean.op == "get_attr") or given["training"]:
        return
    path = str(mean.target).rpartition(".")[0]
    source = original.get_submodule(path)
    if not isinstance(source, nn.modules.batchnorm._BatchNorm) or not _is_attribute(mean, path, "running_mean"):
        return
    affine = given["weight"] is not None
    if affine and not (_is_attribute(given["weight"], path, "weight") and _is_attribute(given["bias"], path, "bias")):
        return
    kind = next((c.__name__ for c in type(source).__mro__ if c in _BATCH_NORMS), None)
    if kind is None:
        return
    settings = {"num_features": source.num_features, "eps": given["eps"], "momentum": source.momentum, "affine": affine}
    _replace(graph, node, _place(graph, node, path, kind, settings, original, layers))


_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def _norm(graph: fx.Graph, node: fx.Node, given: dict[str, Any], original: nn.Module, layers: Any) -> None:
    path = _owner(given["weight"])
    if path is None or (given.get("bias") is not None and not _is_attribute(given["bias"], path, "bias")):
        return
    if given.get("bias") is None and _tensor(original, path, "bias") is not None:
        return
    name = name_of(node.target)
    if name == "layer_norm":
        settings = {"normalized_shape": tuple(given["shape"]), "eps": given["eps"], "bias": given["bias"] is not None}
        kind = "LayerNorm"
    elif name == "rms_norm":
        settings = {"normalized_shape": tuple(given["shape"]), "eps": given["eps"]}
        kind = "RMSNorm"
    else:
        if given["bias"] is None:
            return
        weight = _tensor(original, path, "weight")
        assert weight is not None
        settings = {"num_groups": given["groups"], "num_channels": weight.shape[0], "eps": given["eps"]}
        kind = "GroupNorm"
    _replace(graph, node, _place(graph, node, path, kind, settings, original, layers))


def _prelu(graph: fx.Graph, node: fx.Node, given: dict[str, Any], original: nn.Module, layers: Any) -> None:
    path = _owner(given["weight"])
    if path is not None:
        weight = _tensor(original, path, "weight")
        assert weight is not None
        settings = {"num_parameters": weight.numel()}
        _replace(graph, node, _place(graph, node, path, "PReLU", settings, original, layers))


_REWRITES = {
    "linear": _linear,
    **{f"conv{n}d": _convolution for n in (1, 2, 3)},
    **{f"conv_transpose{n}d": _convolution for n in (1, 2, 3)},
    "batch_norm": _batch_norm,
    "layer_norm": _norm,
    "group_norm": _norm,
    "rms_norm": _norm,
    "prelu": _prelu,
}
