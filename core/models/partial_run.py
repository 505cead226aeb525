"""Run a captured graph from the middle: compute the activations before a layer once, and re-run only the rest.

The rest begins at the first node that uses any parameter of the layer, so tied weights are safe. Parameters and buffers
that the graph reads itself are always read afresh. Results equal those of a whole run bit for bit: the same kernels run
on the same numbers.
"""

from collections.abc import Iterable
from typing import Any

from torch import Tensor, fx
from torch.fx.node import map_arg

from ..errors import ModelError

__all__ = ["Activations", "prefix", "resume", "suffix"]

Activations = dict[fx.Node, Any]
"""Values of the nodes before the cut that the nodes behind it use."""


def _cut(module: fx.GraphModule, layer: str) -> int:
    """Index of the first node that uses a tensor of ``layer``."""
    nodes = list(module.graph.nodes)
    if not any(node.op == "call_module" and node.target == layer for node in nodes):
        raise ModelError(f"The model calls no layer named “{layer}”.")
    tensors = {id(tensor) for tensor in module.get_submodule(layer).parameters()}
    for index, node in enumerate(nodes):
        if node.op == "call_module":
            owned = module.get_submodule(node.target).parameters()
            if node.target == layer or any(id(tensor) in tensors for tensor in owned):
                return index
        elif node.op == "get_attr" and id(_attribute(module, node.target)) in tensors:
            return min(nodes.index(user) for user in node.users)
    raise AssertionError("unreachable: the layer is called")


def suffix(module: fx.GraphModule, layer: str) -> tuple[fx.Node, ...]:
    """The nodes from the first use of the layer's parameters to the output.

    Raises:
        ModelError: when the graph calls no layer of this name.
    """
    return tuple(module.graph.nodes)[_cut(module, layer) :]


def prefix(module: fx.GraphModule, x: Tensor, layer: str) -> Activations:
    """Run the nodes before the layer on ``x`` [N, C, H, W]; only what the rest needs is kept in memory."""
    nodes = list(module.graph.nodes)
    cut = _cut(module, layer)
    values: Activations = {}
    _execute(module, nodes[:cut], values, needed=_read_by(nodes[cut:]), x=x)
    return {node: value for node, value in values.items() if node.op != "get_attr"}


def resume(module: fx.GraphModule, activations: Activations, layer: str) -> Any:
    """Run the rest; ``activations`` stay usable for the next call. Returns the model's output structure."""
    nodes = list(module.graph.nodes)
    rest = nodes[_cut(module, layer) :]
    reads = [node for node in nodes if node.op == "get_attr" and node not in activations]
    values = dict(activations)
    _execute(module, [*(node for node in reads if node not in rest), *rest], values, needed=set(), x=None)
    return values[rest[-1]]


def _read_by(nodes: Iterable[fx.Node]) -> set[fx.Node]:
    return {used for node in nodes for used in node.all_input_nodes}


def _execute(
    module: fx.GraphModule, nodes: list[fx.Node], values: Activations, *, needed: set[fx.Node], x: Any
) -> None:
    """Evaluate ``nodes`` into ``values``, forgetting a value after its last use unless it is ``needed`` later."""
    last_use: dict[fx.Node, fx.Node] = {}
    for node in nodes:
        for used in node.all_input_nodes:
            last_use[used] = node
    for node in nodes:
        values[node] = _evaluate(module, node, values, x)
        for used in node.all_input_nodes:
            if last_use[used] is node and used not in needed:
                values.pop(used, None)


def _evaluate(module: fx.GraphModule, node: fx.Node, values: Activations, x: Any) -> Any:
    if node.op == "placeholder":
        return x
    if node.op == "get_attr":
        return _attribute(module, str(node.target))
    args = map_arg(node.args, lambda used: values[used])
    kwargs = map_arg(node.kwargs, lambda used: values[used])
    if node.op == "call_module":
        return module.get_submodule(str(node.target))(*args, **kwargs)
    if node.op == "call_function":
        return node.target(*args, **kwargs)  # type: ignore[operator]
    if node.op == "output":
        return args[0]
    raise ModelError(f"The graph holds an unknown kind of node, “{node.op}”.")


def _attribute(module: fx.GraphModule, name: str) -> Any:
    path, _, leaf = name.rpartition(".")
    return getattr(module.get_submodule(path), leaf)
