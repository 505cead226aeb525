"""What a model costs: parameters, and multiply-accumulates (MACs) for one example, counted on the captured graph.

One walk over the graph on the meta device gives every shape; no memory is used and nothing is computed.
Counted are the products: convolutions and their transposes (any groups), linear layers, matrix products, attention,
einsum, bilinear. Norms, activations, pooling and additions count 0, as is usual (``torch.utils.flop_counter`` and
fvcore do the same); FLOPs = 2 × MACs. Parameters that several layers share are counted once.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, fx, nn

from ..models.layers import PRUNABLE
from ..models.shapes import Walk, walk
from ..models.traced import TracedModel
from ..models.vocabulary import arguments, name_of

__all__ = ["LayerInfo", "count_macs", "count_parameters", "layer_table", "node_macs"]


@dataclass(frozen=True)
class LayerInfo:
    """One row of the layer table.

    Attributes:
        name: module name in the model; for a parameter that the forward uses directly, the parameter's name.
        kind: class of the layer, or ``Parameter``.
        stage: the part of the model that the layer belongs to.
        prunable: whether masks can be put on its weight.
        weight_shape: shape of its weight (None: it has none).
        output_shape: shape of its output without the batch.
        parameters: parameters of this layer that no earlier row has counted.
        macs: multiply-accumulates for one example, over all its calls.
        calls: how often the forward runs it.
    """

    name: str
    kind: str
    stage: str
    prunable: bool
    weight_shape: list[int] | None
    output_shape: list[int]
    parameters: int
    macs: int
    calls: int


def layer_table(model: TracedModel) -> list[LayerInfo]:
    """Every layer and directly used parameter, in the order of first execution."""
    values = walk(model)
    macs = node_macs(model, values)
    module = model.graph_module
    seen: set[int] = set()
    rows: dict[str, LayerInfo] = {}
    for node in module.graph.nodes:
        if node.op not in ("call_module", "get_attr"):
            continue
        name = str(node.target)
        if node.op == "get_attr":
            parameter = _attribute(module, name)
            if not isinstance(parameter, nn.Parameter) or id(parameter) in seen:
                continue
            owned, kind, shape = [parameter], "Parameter", list(parameter.shape)
            cost = sum(macs[user] for user in node.users if _weight_node(user) is node)
            output = [int(length) for length in parameter.shape]
        else:
            layer = module.get_submodule(name)
            owned, kind = list(layer.parameters(recurse=False)), type(layer).__name__
            if not owned:
                continue
            weight = getattr(layer, "weight", None)
            shape = list(weight.shape) if isinstance(weight, Tensor) else None  # type: ignore[assignment]
            cost, output = macs[node], _shape_without_batch(values[node])
        if name in rows:
            row = rows[name]
            rows[name] = LayerInfo(**{**row.__dict__, "macs": row.macs + cost, "calls": row.calls + 1})
            continue
        new = [parameter for parameter in owned if id(parameter) not in seen]
        seen.update(id(parameter) for parameter in owned)
        prunable = node.op == "call_module" and isinstance(layer, PRUNABLE)
        size = sum(parameter.numel() for parameter in new)
        rows[name] = LayerInfo(name, kind, _stage(name), prunable, shape, output, size, cost, 1)
    return list(rows.values())


def count_macs(model: TracedModel) -> int:
    """Multiply-accumulates of one forward of one example, attention products included."""
    return sum(node_macs(model, walk(model)).values())


def count_parameters(model: TracedModel) -> int:
    """Number of parameters, shared ones once."""
    return sum(parameter.numel() for parameter in model.graph_module.parameters())


def node_macs(model: TracedModel, values: Walk) -> dict[fx.Node, int]:
    """MACs of every node for the batch with which ``values`` was walked."""
    return {node: _node_macs(model.graph_module, node, values) for node in model.graph_module.graph.nodes}


def _node_macs(module: nn.Module, node: fx.Node, values: Walk) -> int:
    if node.op == "call_module":
        layer = module.get_submodule(str(node.target))
        return _layer_macs(layer, values[node.args[0]], values[node])  # type: ignore[index]
    if node.op == "call_function":
        count = _COUNTS.get(name_of(node.target))
        if count is not None:
            given = {key: fx.node.map_arg(value, lambda used: values[used]) for key, value in arguments(node).items()}
            return count(given, values[node])
    return 0


def _layer_macs(layer: nn.Module, x: Any, output: Any) -> int:
    weight = getattr(layer, "weight", None)
    if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        return _convolution(weight, output)
    if isinstance(layer, nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d):
        return _transposed(weight, x)
    if isinstance(layer, nn.Linear):
        return output.numel() * layer.in_features
    if isinstance(layer, nn.Bilinear):
        return output.numel() * layer.in1_features * layer.in2_features
    return 0


def _convolution(weight: Any, output: Tensor) -> int:
    return output.numel() * math.prod(weight.shape[1:])  # each output sums over (inputs of its group) × kernel


def _transposed(weight: Any, x: Tensor) -> int:
    return x.numel() * math.prod(weight.shape[1:])  # each input is spread over (outputs of its group) × kernel


def _product(given: dict[str, Any], output: Tensor) -> int:
    return output.numel() * given["x"].shape[-1]


def _attention(given: dict[str, Any], output: Tensor) -> int:
    query, key, value = given["query"], given["key"], given["value"]
    pairs = math.prod(query.shape[:-1]) * key.shape[-2]
    return pairs * (query.shape[-1] + value.shape[-1])


def _einsum(given: dict[str, Any], output: Tensor) -> int:
    """Operands are contracted from left to right; what neither later operands nor the output need is summed away."""
    left, _, right = given["equation"].replace(" ", "").partition("->")
    operands = given["operands"]
    terms = left.split(",")
    if len(operands) < 2:
        return 0
    rank = max((operand.ndim - len(term.replace("...", "")) for term, operand in zip(terms, operands, strict=True)))
    ellipsis = "".join(chr(0x100 + i) for i in range(max(rank, 0)))
    named = [_spell(term, operand.ndim, ellipsis) for term, operand in zip(terms, operands, strict=True)]
    if right or "->" in given["equation"]:
        result = right.replace("...", ellipsis)
    else:
        joined = "".join(named)
        result = "".join(letter for letter in joined if joined.count(letter) == 1)
    sizes: dict[str, int] = {}
    for term, operand in zip(named, operands, strict=True):
        for letter, length in zip(term, operand.shape, strict=True):
            sizes[letter] = max(sizes.get(letter, 1), int(length))
    total, held = 0, set(named[0])
    for index, term in enumerate(named[1:], start=1):
        both = held | set(term)
        needed = set(result).union(*named[index + 1 :])
        if both - needed:  # without a sum it is an element-wise product
            total += math.prod(sizes[letter] for letter in both)
        held = both & needed
    return total


def _spell(term: str, ndim: int, ellipsis: str) -> str:
    if "..." not in term:
        return term
    count = ndim - len(term.replace("...", ""))
    return term.replace("...", ellipsis[len(ellipsis) - count :] if count else "")


_COUNTS: dict[str, Callable[[dict[str, Any], Any], int]] = {
    "linear": lambda given, output: output.numel() * given["x"].shape[-1],
    "bilinear": lambda given, output: output.numel() * given["x"].shape[-1] * given["y"].shape[-1],
    "matmul": _product,
    "einsum": _einsum,
    "scaled_dot_product_attention": _attention,
    **{f"conv{n}d": lambda given, output: _convolution(given["weight"], output) for n in (1, 2, 3)},
    **{f"conv_transpose{n}d": lambda given, output: _transposed(given["weight"], given["x"]) for n in (1, 2, 3)},
}


def _weight_node(node: fx.Node) -> Any:
    """The node of the weight that a functional layer uses (None for other nodes)."""
    if node.op == "call_function" and name_of(node.target) in _COUNTS:
        return arguments(node).get("weight")
    return None


def _attribute(module: nn.Module, name: str) -> Any:
    path, _, leaf = name.rpartition(".")
    return getattr(module.get_submodule(path), leaf)


def _shape_without_batch(value: Any) -> list[int]:
    while isinstance(value, tuple | list):
        value = value[0]
    return [int(length) for length in value.shape[1:]]


def _stage(name: str) -> str:
    """``layer1.0.conv1`` belongs to ``layer1``, ``features.3.block.0`` to ``features.3``, ``fc`` to itself."""
    parts = name.split(".")
    depth = 2 if len(parts) > 2 and not parts[0][-1:].isdigit() and parts[1].isdigit() else 1
    return ".".join(parts[:depth])
