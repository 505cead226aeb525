"""From a graph, layers and tensors to an ``fx.GraphModule`` with everything under its original name."""

from collections.abc import Iterable, Mapping

from torch import Tensor, fx, nn

from ..errors import ModelError

__all__ = ["assemble", "place_tensor"]


def assemble(
    graph: fx.Graph,
    layers: Mapping[str, nn.Module],
    tensors: Mapping[str, Tensor],
    *,
    temporary: Iterable[str] = (),
) -> fx.GraphModule:
    """Build the module tree and compile the graph on it.

    Args:
        graph: the captured graph.
        layers: called modules by name; a layer's name may lie below another layer's.
        tensors: parameters (``nn.Parameter``) and buffers that the graph reads itself or that layers have beside their
            own tensors, by name.
        temporary: names of buffers that stay out of the state dict.

    Raises:
        ModelError: when a name cannot be used (it hides a method of ``nn.Module``).
    """
    module = fx.GraphModule(nn.Module(), fx.Graph())
    for name in _in_order(graph, layers):
        path, _, leaf = name.rpartition(".")
        try:
            _container(module, path).add_module(leaf, layers[name])
        except (KeyError, TypeError) as error:
            raise ModelError(f"A layer cannot be named “{name}”: {error}. Rename it in the model.") from None
    unsaved = set(temporary)
    for name in sorted(tensors):
        place_tensor(module, name, tensors[name], persistent=name not in unsaved)
    module.graph = graph
    return module


def _in_order(graph: fx.Graph, layers: Mapping[str, nn.Module]) -> list[str]:
    """Layers that hold other layers first, then in order of execution: the same graph always gives the same tree."""
    called = dict.fromkeys(str(node.target) for node in graph.nodes if node.op == "call_module")
    names = [*(name for name in called if name in layers), *sorted(name for name in layers if name not in called)]
    inner = {name.rpartition(".")[0] for name in names}
    holders = {path for name in inner for path in _paths(name)} & set(names)
    return [*sorted(holders, key=lambda name: name.count(".")), *(name for name in names if name not in holders)]


def _paths(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[: count + 1]) for count in range(len(parts))]


def place_tensor(module: nn.Module, name: str, tensor: Tensor, *, persistent: bool = True) -> None:
    """Put a parameter or buffer at a dotted name, replacing the one that is there.

    Raises:
        ModelError: when the name cannot be used.
    """
    path, _, leaf = name.rpartition(".")
    owner = _container(module, path)
    try:
        if isinstance(tensor, nn.Parameter):
            owner.register_parameter(leaf, tensor)
        else:
            owner.register_buffer(leaf, tensor, persistent=persistent)
    except (KeyError, TypeError) as error:
        raise ModelError(f"A tensor cannot be named “{name}”: {error}. Rename it in the model.") from None


def _container(module: nn.Module, path: str) -> nn.Module:
    for part in path.split(".") if path else ():
        child = module._modules.get(part)
        if child is None:
            child = nn.Module()
            try:
                module.add_module(part, child)
            except (KeyError, TypeError) as error:
                raise ModelError(f"A module cannot be named “{path}”: {error}. Rename it in the model.") from None
        module = child
    return module
