"""Reading a traced graph once, node by node: which variables does every dimension of every tensor carry?

The reader holds what the rules need: the axes of every node's value, the axes of parameters and buffers, and the list
of *rewrites*, the constants in the graph and the attributes of layers that follow the number of surviving indices.
The rules themselves, one per operation, are in ``rules/``.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor, fx, nn

from ..models.traced import TracedModel
from ..models.vocabulary import FUNCTIONS, arguments, name_of
from .axes import FOLDED, MOST, Axis, Factor, flat, freeze_axis, is_free, length, plain, tie_axes
from .variables import VarArray, Variables

__all__ = ["LAYER_RULES", "RULES", "Constant", "Contraction", "Dims", "Reader", "Rewrite", "rule"]

_LOG = logging.getLogger(__name__)

Dims = tuple[Axis, ...]
"""The axes of one tensor."""

Rule = Callable[["Reader", fx.Node, dict[str, Any]], Any]
RULES: dict[str, Rule] = {}
LAYER_RULES: dict[str, Rule] = {}


def rule(*names: str, layers: tuple[str, ...] = ()) -> Callable[[Rule], Rule]:
    """File a rule under canonical names of functions and under type names of layers.

    A rule is called as ``rule(reader, node, arguments)``, with the axes of a tensor (``Dims``) in place of each tensor
    argument, and returns the axes of the result (a tuple of them for several results).
    """

    def add(function: Rule) -> Rule:
        for name in names:
            assert name not in RULES, name
            RULES[name] = function
        for layer in layers:
            assert layer not in LAYER_RULES, layer
            LAYER_RULES[layer] = function
        return function

    return add


@dataclass(frozen=True, eq=False)
class Rewrite:
    """A number in the graph that counts surviving indices.

    ``target`` is a node's name and ``place`` the path to one of its arguments (``("args", 1, 2)``), or ``target`` is a
    layer's name and ``place`` an attribute (``("layer", "groups")``). The number becomes what is left of
    ``axis``.
    """

    target: str
    place: tuple[Any, ...]
    axis: Axis


@dataclass(frozen=True, eq=False)
class Constant:
    """An argument that a function derives from a size: once ``axis`` loses an index, ``value`` is written out.

    The scale of an attention is that of the dense head width: a narrower head must not change it.
    """

    target: str
    place: tuple[Any, ...]
    value: Any
    axis: Axis


@dataclass(frozen=True, eq=False)
class Contraction:
    """Here a dimension is summed over: what a removed index would have contributed ends here.

    ``place`` is where the tensor stands among the node's arguments. ``normed`` says that the node is a norm, which
    takes its statistics over the dimension.
    """

    node: fx.Node
    place: tuple[Any, ...]
    dim: int
    axis: Axis
    normed: bool = False


class Reader:
    """One pass over a traced model. After ``read``: ``variables``, ``tensors``, ``rewrites``, ``contractions``.

    Args:
        model: the traced model; it is only read.
        shapes: shape of every tensor in the graph by node (nested tuples for several results), integers for sizes.
    """

    def __init__(self, model: TracedModel, shapes: dict[fx.Node, Any]) -> None:
        self.model = model
        self.shapes = shapes
        self.variables = Variables()
        self.values: dict[fx.Node, Any] = {}
        self._node: fx.Node | None = None  # the one that is being read
        self.rewrites: list[Rewrite] = []
        self.constants: list[Constant] = []
        self.contractions: list[Contraction] = []
        self.parts: dict[str, VarArray] = {}  # parts of a dimension that are used by themselves, in words
        self.normed: list[VarArray] = []  # variables over which a norm takes its statistics
        self.roles: dict[str, list[VarArray]] = {"heads": [], "head_width": []}
        self._layers = dict(model.graph_module.named_modules(remove_duplicate=False))
        self._canonical, self._shapes = _tensor_names(model.graph_module)
        self.tensors: dict[str, list[Axis | None]] = {name: [None] * len(s) for name, s in self._shapes.items()}

    def read(self, after: Callable[[fx.Node], None] | None = None) -> None:
        """Apply the rule of every node; what no rule knows is frozen with a reason that names it.

        ``after`` is called when a node has been read.
        """
        for node in self.model.graph_module.graph.nodes:
            self._node = node
            self.values[node] = self._value(node)
            if after is not None:
                after(node)

    def _value(self, node: fx.Node) -> Any:
        if node.op == "placeholder":
            return tuple(plain(size) for size in self.shapes[node])
        if node.op == "get_attr":
            return self.tensor(str(node.target))
        if node.op == "output":
            for dims in _tensors(self._resolve(node.args)):
                self.freeze(dims, "it is an output of the network")
            return None
        if node.op == "call_module":
            layer = self._layers[str(node.target)]
            found = LAYER_RULES.get(type(layer).__name__)
            given = {"x": node.args[0], "others": node.args[1:], **node.kwargs}
            name = type(layer).__name__
        else:
            name = name_of(node.target)
            found = RULES.get(name)
            given = arguments(node)
        given = {key: self._resolve(value) for key, value in given.items()}
        if not isinstance(self.shapes[node], tuple):  # an integer: a size that follows the batch
            self.unknown_tensors(given, self.reason(node, "its size is computed while the network runs"))
            return self.shapes[node]
        if found is None:
            return self.unknown(node, given, f"“{name}” is not understood{_at(node)}")
        try:
            result = found(self, node, given)
            if _fits(result, self.shapes[node]):
                return result
            _LOG.warning("comb: the rule of “%s” gave another shape%s", name, _at(node))
        except (LookupError, TypeError, ValueError, AttributeError) as error:  # a form that the rule did not foresee
            _LOG.warning("comb: the rule of “%s” failed%s: %r", name, _at(node), error)
        return self.unknown(node, given, f"“{name}” is used in a way that is not understood{_at(node)}")

    def _resolve(self, value: Any) -> Any:
        if isinstance(value, fx.Node):
            return self.values[value]
        if isinstance(value, tuple):
            return tuple(self._resolve(item) for item in value)
        if isinstance(value, list):
            return [self._resolve(item) for item in value]
        if isinstance(value, dict):
            return {key: self._resolve(item) for key, item in value.items()}
        if isinstance(value, slice):
            return slice(*(self._resolve(item) for item in (value.start, value.stop, value.step)))
        return value

    # -- for rules ----------------------------------------------------------------------------------------------

    def layer(self, node: fx.Node) -> nn.Module:
        """The layer that a ``call_module`` node calls."""
        return self._layers[str(node.target)]

    def result(self, node: fx.Node) -> Dims:
        """Axes without variables of the node's result."""
        return tuple(plain(size) for size in self.shapes[node])

    def unknown(self, node: fx.Node, given: Any, reason: str) -> Any:
        """Freeze every tensor among the arguments; the result has nothing to remove."""
        self.unknown_tensors(given, reason)
        if node.op == "call_module":
            layer = self.layer(node)
            for name, _ in [*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)]:
                self.freeze(self.tensor(f"{node.target}.{name}"), reason)
        return _plain_like(self.shapes[node])

    def freeze(self, dims: Dims, reason: str) -> None:
        """Never remove anything from these dimensions."""
        for axis in dims:
            self.freeze_axis(axis, reason)

    def freeze_axis(self, axis: Axis, reason: str) -> None:
        """Never remove anything from this dimension."""
        freeze_axis(axis, self.variables, reason)

    def tensor(self, name: str) -> Dims:
        """Axes of a parameter, buffer or constant; dimensions seen for the first time get fresh variables."""
        return tuple(self.produce(name, dim) for dim in range(len(self._shapes[self._canonical[name]])))

    def produce(self, name: str, dim: int) -> Axis:
        """The axis of a tensor's dimension."""
        name = self._canonical[name]
        axis = self.tensors[name][dim]
        if axis is None:
            size = self._shapes[name][dim]
            axis = plain(1) if size == 1 else (Factor(size, self.variables.fresh(size)),)
            self.tensors[name][dim] = axis
        return axis

    def consume(self, name: str, dim: int, axis: Axis, reason: str) -> None:
        """The tensor's dimension loses the same indices as ``axis``."""
        name = self._canonical[name]
        known = self.tensors[name][dim]
        if known is None:
            if length(axis) != self._shapes[name][dim]:
                raise ValueError(f"{name} has {self._shapes[name][dim]} indices, {length(axis)} were read")
            self.tensors[name][dim] = axis
        else:
            self.tensors[name][dim] = tie_axes(known, axis, self.variables, reason)

    def canonical(self, name: str) -> str:
        """The one name under which a tensor's axes are kept; tied tensors share it."""
        return self._canonical[name]

    def has(self, node: fx.Node, name: str) -> bool:
        """Whether the layer has this parameter or buffer."""
        return f"{node.target}.{name}" in self._canonical

    def attribute(self, node: fx.Node, name: str, axis: Axis) -> None:
        """The layer's attribute (``in_channels``, ``groups``) is the number of surviving indices of ``axis``."""
        self.rewrites.append(Rewrite(str(node.target), ("layer", *name.split(".")), axis))

    def argument(self, node: fx.Node, path: tuple[Any, ...], axis: Axis) -> None:
        """The argument at ``path`` is the number of surviving indices of ``axis``."""
        if not is_free(axis):
            return
        if isinstance(_written(node, path), fx.Node):
            self.freeze_axis(axis, self.reason(node, "its size is computed while the network runs"))
        else:
            self.rewrites.append(Rewrite(node.name, path, axis))

    def bound(self, node: fx.Node, path: tuple[Any, ...], variables: VarArray, index: int) -> None:
        """The argument at ``path`` is a position: the number of surviving indices before ``index``."""
        self.rewrites.append(Rewrite(node.name, path, (Factor(index, variables[:index]),)))

    def in_space(self, node: fx.Node, x: Dims, *, but: tuple[int, ...]) -> None:
        """The node works on positions along all dimensions except the examples and ``but``: those stay whole."""
        for dim, axis in enumerate(x):
            if dim and dim not in but:
                self.freeze_axis(axis, self.reason(node, "a position in space"))

    def part(self, node: fx.Node, values: VarArray, what: str) -> Axis:
        """A run of indices of a dimension, used by itself: at least one of them stays, and a single one stays."""
        if len(values) == 1:
            self.variables.freeze(values, self.reason(node, "a single index, taken by itself"))
            return plain(1)
        self.parts[f"{what}{_at(node)}"] = values
        return (Factor(len(values), values),)

    def contract(self, node: fx.Node, place: tuple[Any, ...], dim: int, axis: Axis, *, normed: bool = False) -> None:
        """The node sums over (``normed``: takes statistics over) dimension ``dim`` of its argument at ``place``."""
        if is_free(axis):
            self.contractions.append(Contraction(node, place, dim, axis, normed))
            if normed:
                self.normed.append(self.flat(axis))

    def unknown_tensors(self, given: Any, reason: str) -> None:
        """Freeze every tensor among the arguments."""
        for dims in _tensors(given):
            self.freeze(dims, reason)

    def parameter_path(self, node: fx.Node, name: str) -> tuple[Any, ...]:
        """Where a named argument of a function node stands."""
        function = FUNCTIONS[name_of(node.target)]
        if name in node.kwargs:
            return ("kwargs", name)
        return ("args", function.parameters.index(name))

    def flat(self, axis: Axis) -> VarArray:
        """Variables of every index of an axis."""
        called = self._node is not None and self._node.op.startswith("call") and length(axis) > MOST
        return flat(axis, self.variables, self.reason(self._node, FOLDED) if called and self._node else FOLDED)

    def reason(self, node: fx.Node, what: str) -> str:
        """A reason that names the operation, the layer and the line."""
        if node.op != "call_module":
            return f"{what} (“{name_of(node.target)}”{_at(node)})"
        return f"{what} (“{type(self.layer(node)).__name__}” {node.target}{_source(node)})"


def _written(node: fx.Node, path: tuple[Any, ...]) -> Any:
    """What stands at a path of a node's arguments."""
    value: Any = node.args if path[0] == "args" else node.kwargs
    for step in path[1:]:
        value = getattr(value, step) if isinstance(value, slice) else value[step]
    return value


def _at(node: fx.Node) -> str:
    return _source(node) or f" at node “{node.name}”"


def _source(node: fx.Node) -> str:
    source = node.meta.get("source", "")
    return f" at {source}" if source else ""


def _tensor_names(module: nn.Module) -> tuple[dict[str, str], dict[str, tuple[int, ...]]]:
    """Canonical name of every tensor (tied ones share one), and shapes by canonical name."""
    first: dict[int, str] = {}
    canonical: dict[str, str] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    named = [*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False)]
    for name, tensor in named:
        canonical[name] = first.setdefault(id(tensor), name)
        if canonical[name] == name:
            shapes[name] = tuple(tensor.shape)
    return canonical, shapes


def _fits(result: Any, shape: Any) -> bool:
    """Whether axes have the lengths that were seen when the graph ran."""
    if isinstance(shape, tuple) and all(isinstance(size, int) for size in shape):
        return _is_dims(result) and tuple(map(length, result)) == shape
    return len(result) == len(shape) and all(map(_fits, result, shape))


def _is_dims(value: Any) -> bool:
    return isinstance(value, tuple) and all(
        isinstance(axis, tuple) and bool(axis) and all(isinstance(f, Factor) for f in axis) for axis in value
    )


def _tensors(value: Any) -> Iterator[Dims]:
    if isinstance(value, Tensor | str | int | float) or value is None:
        return
    if _is_dims(value):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _tensors(item)
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _tensors(item)


def _plain_like(shape: Any) -> Any:
    if isinstance(shape, tuple) and all(isinstance(size, int) for size in shape):
        return tuple(plain(size) for size in shape)
    if isinstance(shape, tuple | list):
        return tuple(_plain_like(item) for item in shape)
    return shape
