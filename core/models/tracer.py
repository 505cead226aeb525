"""Symbolic capture: run a model's ``forward`` once on tensors without data, and write down what it does.

The forward runs on the meta device under a ``TorchFunctionMode``, so every torch operation passes through one
handler that records it as a node, while shapes, dtypes, ``isinstance`` and python control flow are all concrete and
just work. What keeps the batch free is its size: a large prime number. A size that the prime divides is a size that
follows the batch, however the author computed it (``B * num_windows``, ``x.numel() // C``, ``x.shape[0]``); all others
are constants.

Only what depends on the input, on a parameter or on a buffer is recorded; what the forward computes from
constants alone (index grids, masks) is computed for real, and becomes a constant of the graph.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, FunctionType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.overrides import TorchFunctionMode

from ..errors import ModelError
from .layers import is_layer
from .vocabulary import FUNCTIONS

__all__ = ["BATCH", "Alias", "First", "Tracer", "Untraceable", "source_line"]

BATCH = 1_000_003
"""The batch size during capture: a prime far above any channel or token count."""

_TORCH_FOLDER = str(Path(torch.__file__).parent)
_OWN_FOLDER = str(Path(__file__).parent)

_CONCRETE_NAMES = """
    shape size dim ndim ndimension numel nelement element_size itemsize nbytes stride storage_offset broadcast_shapes
    dtype layout names has_names grad grad_fn requires_grad retains_grad output_nr get_device _version _is_view
    is_cuda is_cpu is_meta is_mps is_xla is_xpu is_sparse is_quantized is_nested is_mkldnn is_leaf is_contiguous
    is_floating_point is_complex is_signed is_neg is_conj is_inference is_shared is_pinned is_same_size
    __len__ __hash__ sym_size sym_stride sym_numel sym_storage_offset"""
_DATA_DEPENDENT_NAMES = """
    item tolist numpy __bool__ __int__ __float__ __index__ __complex__ __array__ nonzero argwhere unique
    unique_consecutive masked_select bincount histc equal allclose is_nonzero __contains__ _local_scalar_dense"""
_CONCRETE = frozenset(_CONCRETE_NAMES.split())
_DATA_DEPENDENT = frozenset(_DATA_DEPENDENT_NAMES.split())
_ASSERTIONS = frozenset(("_assert", "_assert_scalar", "_assert_tensor_metadata", "_assert_async"))


class Untraceable(ModelError):  # noqa: N818 - what it says of the model
    """The forward does something that this way of capturing cannot follow.

    ``final`` says that no other way of capturing can follow it either.
    """

    def __init__(self, message: str, *, final: bool = False) -> None:
        super().__init__(message)
        self.final = final


class Alias:
    """Returned by a rule: the result is the same value as this tensor, so no node is needed."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


class First:
    """Returned by a rule: the node is the first of several results; the graph has no use for the others."""

    def __init__(self, node: fx.Node) -> None:
        self.node = node


class _Traced:
    """What is known of a tensor during capture: its node, and the state of its storage when it was computed."""

    __slots__ = ("node", "stamp", "view_of")

    def __init__(self, node: fx.Node, stamp: int, view_of: tuple[Tensor, Any] | None = None) -> None:
        self.node = node
        self.stamp = stamp
        self.view_of = view_of


def source_line(frame: FrameType | None) -> str:
    """``file:line`` of the innermost frame outside torch and this package ("" when there is none)."""
    while frame is not None:
        name = frame.f_code.co_filename
        if not name.startswith((_TORCH_FOLDER, _OWN_FOLDER)) and not name.startswith("<"):
            return f"{name}:{frame.f_lineno}"
        frame = frame.f_back
    return ""


def _base_name(function: Any) -> str:
    if isinstance(function, torch._ops.OpOverload):
        return function._schema.name.split("::")[-1]
    name = getattr(function, "__name__", str(function))
    if name in ("__get__", "__set__"):
        name = getattr(getattr(function, "__self__", None), "__name__", name)
    return name


def _walk(value: Any) -> Iterator[Any]:
    if isinstance(value, tuple | list):
        for item in value:
            yield from _walk(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _walk(item)
    elif isinstance(value, slice):
        yield from (value.start, value.stop, value.step)
    else:
        yield value


def _map(function: Callable[[Any], Any], value: Any) -> Any:
    """Apply a function to every leaf of nested tuples, lists, dicts and slices."""
    if isinstance(value, torch.Size):
        return tuple(function(item) for item in value)
    if isinstance(value, tuple):
        return tuple(_map(function, item) for item in value)
    if isinstance(value, list):
        return [_map(function, item) for item in value]
    if isinstance(value, dict):
        return {key: _map(function, item) for key, item in value.items()}
    if isinstance(value, slice):
        return slice(function(value.start), function(value.stop), function(value.step))
    return function(value)


class Tracer(TorchFunctionMode):
    """Records one forward of ``module`` into ``graph``. Use ``run``.

    Args:
        module: the model, in eval mode.
        rules: canonical rules by base name of the operation: ``rule(tracer, result, *args, **kwargs)`` emits nodes and
            returns the node of the result, or ``Alias``.
        openers: replacements of the forward of composite modules, by type.
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        rules: Mapping[str, Callable[..., Any]],
        openers: Mapping[type, Callable[..., Any]],
    ) -> None:
        super().__init__()
        self.module = module
        self.graph = fx.Graph()
        self.rules = rules
        self.openers = openers
        self.layers: dict[str, nn.Module] = {}  # modules called by the graph
        self.helpers: dict[str, nn.Module] = {}  # modules added here, e.g. for functional dropout
        self.constants: dict[str, Tensor] = {}
        self.renamed: dict[str, str] = {}  # tensor name in the graph -> name in the original state dict
        self.attention_in: set[str] = set()  # modules that call scaled_dot_product_attention themselves
        self.path: list[str] = [""]
        self.device = next((tensor.device for tensor in module.parameters()), torch.device("cpu"))
        self._names = {id(m): name for name, m in reversed(list(module.named_modules(remove_duplicate=False)))}
        self._tensors: dict[int, tuple[str, Tensor]] = {}
        for name, tensor in [
            *module.named_buffers(remove_duplicate=False),
            *module.named_parameters(remove_duplicate=False),
        ]:
            self._tensors.setdefault(id(tensor), (name, tensor))
        self._meta: dict[int, tuple[Tensor, Tensor]] = {}  # id(real) -> (real, meta twin); holds real so ids stay valid
        self._attributes: dict[str, fx.Node] = {}
        self._constant_names: dict[tuple[Any, ...], str] = {}
        self._writes: dict[int, int] = {}  # storage -> number of in-place writes
        self._storages: list[Any] = []  # keeps storages alive, so that their ids stay valid
        self._batch_nodes: dict[int, fx.Node] = {}
        self._recording = True
        self._input: fx.Node | None = None
        self.last_source = ""
        self.last_operation = ""

    # -- running ------------------------------------------------------------------------------------------------

    def run(self, input_shape: tuple[int, ...]) -> fx.Graph:
        """Capture the forward for inputs ``[N, *input_shape]``; returns the raw graph.

        Raises:
            Untraceable: with the operation and the source line that cannot be followed.
        """
        x = torch.empty((BATCH, *input_shape), device="meta")
        self._input = self.graph.placeholder("x")
        self._track(x, self._input)
        with torch.no_grad(), self._patched_calls(), self:
            output = self.module(x)
        self.graph.output(self._output(output))
        return self.graph

    def _output(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return self.node_of(value)
        if isinstance(value, tuple):  # named tuples become tuples: their type is the author's code
            return tuple(self._output(item) for item in value)
        if isinstance(value, list):
            return [self._output(item) for item in value]
        if isinstance(value, Mapping):
            return {str(key): self._output(item) for key, item in value.items() if item is not None}
        if value is None or isinstance(value, bool | int | float | str):
            return value
        raise Untraceable(
            f"The model returns a {type(value).__name__}; it must return tensors, or tuples, lists or dicts of tensors."
        )

    @contextmanager
    def _patched_calls(self) -> Iterator[None]:
        original = nn.Module.__call__

        def call(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
            return self._call_module(original, module, args, kwargs)

        nn.Module.__call__ = call  # type: ignore[method-assign]
        try:
            yield
        finally:
            nn.Module.__call__ = original  # type: ignore[method-assign]

    def _call_module(self, original: Callable[..., Any], module: nn.Module, args: Any, kwargs: Any) -> Any:
        name = self._names.get(id(module))
        if name is None or not self._recording:
            return original(module, *args, **kwargs)
        if is_layer(module):
            return self.call_layer(name, module, *args, **kwargs)
        self.path.append(name)
        try:
            opener = self.openers.get(type(module))
            if opener is not None:
                return opener(self, module, *args, **kwargs)
            return original(module, *args, **kwargs)
        finally:
            self.path.pop()

    def call_layer(self, name: str, layer: nn.Module, *args: Any, **kwargs: Any) -> Any:
        """Record a call of a standard layer under its name, and return its result."""
        self.layers.setdefault(name, layer)
        self._note(type(layer).__name__)
        with torch._C.DisableTorchFunction():
            inputs = _map(self.node_of, args), _map(self.node_of, kwargs)
        self._recording = False
        try:
            result = type(layer).forward(layer, *args, **kwargs)
        finally:
            self._recording = True
        with torch._C.DisableTorchFunction():
            node = self.graph.create_node("call_module", name, *inputs)
            node.meta["source"] = self.last_source
            if getattr(layer, "inplace", False) and args:
                self._write(args[0], node)
                return args[0]
            return self._wrap(result, node)

    def rename(self, name: str, original: str) -> None:
        """Say that the tensor ``name`` of the graph's modules is called ``original`` in the author's state dict."""
        self.renamed[name] = original

    def call_helper(self, kind: str, layer: nn.Module, x: Tensor) -> fx.Node:
        """Record a call of a layer that the original model does not have, filed inside the module being run."""
        prefix = f"{self.path[-1]}." if self.path[-1] else ""
        name = f"{prefix}{kind}"
        taken = (
            set(self._names.values()) | set(self.helpers) | {tensor_name for tensor_name, _ in self._tensors.values()}
        )
        number = 1
        while name in taken or hasattr(self._owner(), name.rpartition(".")[2]):
            number += 1
            name = f"{prefix}{kind}_{number}"
        self.helpers[name] = layer
        node = self.graph.create_node("call_module", name, (self.node_of(x),))
        node.meta["source"] = self.last_source
        return node

    def _owner(self) -> nn.Module:
        return self.module.get_submodule(self.path[-1])

    # -- the handler --------------------------------------------------------------------------------------------

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Every torch operation of the forward comes here."""
        kwargs = kwargs or {}
        tensors = [leaf for leaf in _walk((args, kwargs)) if isinstance(leaf, Tensor)]
        if not self._recording:
            if not tensors:
                return func(*args, **kwargs)
            return func(*_map(self._value, args), **_map(self._value, kwargs))
        name = _base_name(func)
        traced = [tensor for tensor in tensors if self._is_traced(tensor)]
        if name in _ASSERTIONS:
            return None
        if not traced:
            return self._constant_call(func, name, args, kwargs)
        if name == "device":
            return self.device
        if name in _CONCRETE:
            return func(*args, **kwargs)
        own = [tensor for tensor in traced if id(tensor) in self._tensors]
        if name in _DATA_DEPENDENT:
            if len(own) == len(tensors):  # only the model's own parameters and buffers: their values are known
                return func(*args, **kwargs)
            self._note(name)
            raise Untraceable(
                f"The forward depends on the values of a tensor (“{name.strip('_')}”), not only on shapes"
                f"{self.at()}; such control flow has no fixed graph.",
                final=True,
            )
        return self._record(func, name, args, kwargs)

    def _constant_call(self, func: Any, name: str, args: Any, kwargs: Any) -> Any:
        sizes = [leaf for leaf in _walk((args, kwargs)) if type(leaf) is int and leaf % BATCH == 0 and leaf]
        if not sizes:
            return func(*args, **kwargs)
        if name in ("zeros", "ones", "full", "empty"):
            return self._batched_factory(name, args, kwargs)
        if name in _CONCRETE:
            return func(*args, **kwargs)
        self._note(name)
        raise Untraceable(f"“{name}” makes a tensor whose size follows the batch{self.at()}; this is not supported.")

    def _batched_factory(self, name: str, args: Any, kwargs: Any) -> Tensor:
        value = {"zeros": 0, "ones": 1, "empty": 0}.get(name)
        if name == "full":
            *args, value = (*args, kwargs["fill_value"]) if "fill_value" in kwargs else args
        sizes = kwargs.get("size", args[0] if len(args) == 1 and isinstance(args[0], tuple | list) else args)
        dtype = kwargs.get("dtype") or torch.get_default_dtype()
        result = torch.empty(tuple(sizes), dtype=dtype, device="meta")
        assert self._input is not None
        node = self.emit("new_full", self._input, list(sizes), value, dtype)
        return self._track(result, node)

    def _record(self, func: Any, name: str, args: Any, kwargs: Any) -> Any:
        self._note(name)
        if kwargs.get("out") is not None:
            raise Untraceable(f"“{name}” with out=… is not supported{self.at()}.")
        kwargs = {key: value for key, value in kwargs.items() if key != "out"}
        if name == "__setitem__":
            return self._set_item(*args)
        base, in_place = self._rule(func, name, kwargs)
        if base is None:
            return self._descend(func, name, args, kwargs)
        self.last_operation = base
        values, keywords = _map(self._value, args), _map(self._value, kwargs)
        if "device" in keywords:
            keywords["device"] = torch.device("meta")
        result = self._evaluate(func, base, values, keywords)
        outcome = self.rules[base](
            self, result, *args, **{key: value for key, value in kwargs.items() if key != "inplace"}
        )
        if isinstance(outcome, Tensor):  # a constant computed for real
            return outcome
        if isinstance(outcome, Alias):
            if outcome.tensor is result or not isinstance(result, Tensor):
                return outcome.tensor
            return self._track(result.detach() if self._is_known(result) else result, self.node_of(outcome.tensor))
        if isinstance(outcome, First):
            return (self._wrap(result[0], outcome.node), *result[1:])
        if in_place:
            self._write(args[0], outcome, fill=args[1:2] if name == "fill_" else (0,) if name == "zero_" else None)
            return args[0]
        view = (args[0], args[1]) if name == "__getitem__" and _is_basic(args[1]) else None
        return self._wrap(result, outcome, view=view)

    @staticmethod
    def _evaluate(func: Any, base: str, values: Any, keywords: Any) -> Any:
        """Run the operation on meta tensors."""
        if base == "to":  # a device in the arguments must not move the meta twin
            values = tuple(torch.device("meta") if isinstance(v, str | torch.device) else v for v in values)
        if base == "view" and not isinstance(values[1], torch.dtype):
            # Strides on the meta device are not always those of the real kernels, which is what a view depends on.
            return torch.Tensor.reshape(*values, **keywords)
        return func(*values, **keywords)

    def _rule(self, func: Any, name: str, kwargs: Any) -> tuple[str | None, bool]:
        """Name of the rule for an operation (None: there is none), and whether the operation works in place."""
        if name == "unfold" and func is not F.unfold:
            name = "unfold_dim"
        if name in self.rules:
            return name, bool(kwargs.get("inplace"))
        if name.endswith("_") and not name.endswith("__") and name[:-1] in self.rules:
            return name[:-1], True
        if name.startswith("__i") and f"__{name[3:]}" in self.rules:
            return f"__{name[3:]}", True
        return None, False

    def _descend(self, func: Any, name: str, args: Any, kwargs: Any) -> Any:
        """Run the body of a python function of torch that has no rule of its own, so that its parts are recorded."""
        if not isinstance(func, FunctionType):
            raise Untraceable(f"The operation “{name}” is not supported{self.at()}.")
        space = func.__globals__
        checks = [key for key in space if key.startswith("has_torch_function")]
        saved = {key: space[key] for key in checks}

        def not_overridden(*_: Any) -> bool:
            space.update(saved)
            return False

        space.update(dict.fromkeys(checks, not_overridden))
        try:
            with self:
                return func(*args, **kwargs)
        finally:
            space.update(saved)

    # -- in-place work ------------------------------------------------------------------------------------------

    def _set_item(self, x: Tensor, index: Any, value: Any) -> None:
        if not self._is_known(x):
            raise Untraceable(f"A parameter, buffer or constant is overwritten in the forward{self.at()}.")
        node = self.emit("assign", x, index, value)
        self._write(x, node)

    def _write(self, x: Tensor, node: fx.Node, fill: Any = None) -> None:
        """``x`` was changed in place and is now the value of ``node``; so is what it is a view of."""
        if not self._is_known(x):
            raise Untraceable(f"A parameter, buffer or constant is changed in place in the forward{self.at()}.")
        storage = self._storage(x)
        self._writes[storage] = self._writes.get(storage, 0) + 1
        stamp = self._writes[storage]
        traced = x._traced  # type: ignore[attr-defined]
        chain: list[tuple[Tensor, Any]] = []
        view = traced.view_of
        while view is not None:
            chain.append(view)
            view = view[0]._traced.view_of
        traced.node, traced.stamp = node, stamp
        value: Any = fill[0] if fill else node
        for base, index in chain:
            known = base._traced  # type: ignore[attr-defined]
            if known.stamp != stamp - 1:
                raise Untraceable(f"A view of a tensor that has changed is written{self.at()}.")
            known.node = value = self.emit("assign", known.node, index, value)
            known.stamp = stamp

    # -- tensors and nodes --------------------------------------------------------------------------------------

    def emit(self, name: str, *args: Any, **kwargs: Any) -> fx.Node:
        """Add a node of the vocabulary. Tensors become their nodes, sizes that follow the batch become size nodes."""
        node = self.graph.call_function(FUNCTIONS[name].call, _map(self.node_of, args), _map(self.node_of, kwargs))
        node.meta["source"] = self.last_source
        return node

    def node_of(self, value: Any) -> Any:
        """The graph's form of a leaf argument."""
        if isinstance(value, Tensor):
            return self._tensor_node(value)
        if type(value) is bool or value is None or isinstance(value, fx.Node | str | torch.dtype):
            return value
        if value is Ellipsis:
            return value
        if isinstance(value, int):
            return self._size_node(int(value))
        if isinstance(value, float):
            whole = value != 0 and value % BATCH == 0  # inf and nan give nan here
            return self._size_node(int(value)) if whole else float(value)
        if hasattr(value, "item"):  # numpy scalars
            return self.node_of(value.item())
        raise Untraceable(f"An argument of type {type(value).__name__} cannot be kept in a graph{self.at()}.")

    def _size_node(self, value: int) -> Any:
        if value % BATCH == 0 and value != 0:
            return self.batch(value // BATCH)
        if abs(value) > BATCH // 16 and abs(value) < 64 * BATCH and self._near_batch(value):
            raise Untraceable(
                f"A size is computed from the batch size in a way that cannot be followed (for example a batch "
                f"divided or increased by a number){self.at()}."
            )
        return value

    @staticmethod
    def _near_batch(value: int) -> bool:
        multiples = (abs(value) % BATCH, -abs(value) % BATCH)
        fractions = [abs(abs(value) * k - BATCH) for k in range(2, 17)]
        return min(multiples) <= 64 or min(fractions) <= 16

    def batch(self, factor: int = 1) -> fx.Node:
        """Node of the batch size times ``factor``, computed once at the start of the graph."""
        assert self._input is not None
        if 1 not in self._batch_nodes:
            with self.graph.inserting_after(self._input):
                self._batch_nodes[1] = self.graph.call_function(FUNCTIONS["size"].call, (self._input, 0))
        if factor not in self._batch_nodes:
            with self.graph.inserting_after(self._batch_nodes[1]):
                self._batch_nodes[factor] = self.graph.call_function(
                    FUNCTIONS["mul"].call, (self._batch_nodes[1], factor)
                )
        return self._batch_nodes[factor]

    def sizes(self, shape: Any) -> list[Any]:
        """``shape`` for a ``reshape``: integers, with −1 for the one dimension that follows the batch."""
        following = [index for index, length in enumerate(shape) if length and length % BATCH == 0]
        return [-1 if following == [index] else int(length) for index, length in enumerate(shape)]

    def _tensor_node(self, tensor: Tensor) -> fx.Node:
        if self._is_known(tensor):
            traced = tensor._traced  # type: ignore[attr-defined]
            if traced.stamp != self._writes.get(self._storage(tensor), 0):
                raise Untraceable(f"A tensor is used after it was changed in place through a view{self.at()}.")
            return traced.node
        if id(tensor) in self._tensors:
            return self.attribute(self._tensors[id(tensor)][0])
        if tensor.device.type == "meta":
            raise Untraceable(
                f"A tensor comes from an operation that cannot be seen (a compiled function?){self.at()}."
            )
        return self._constant(tensor)

    def attribute(self, name: str) -> fx.Node:
        """Node that reads a parameter or buffer of the original model, read once at the start of the graph."""
        if name not in self._attributes:
            assert self._input is not None
            with self.graph.inserting_before(self._input):
                # no owning module: fx would warn that the attribute does not exist yet
                self._attributes[name] = self.graph.create_node("get_attr", name)
        return self._attributes[name]

    def _constant(self, tensor: Tensor) -> fx.Node:
        value = tensor.detach().contiguous().clone()
        key = (
            value.dtype,
            value.shape,
            value.cpu().flatten().view(torch.uint8).numpy().tobytes() if value.numel() else b"",
        )
        if key not in self._constant_names:
            name = f"_constant_{len(self.constants)}"
            self._constant_names[key] = name
            self.constants[name] = value
        return self.attribute(self._constant_names[key])

    def _wrap(self, result: Any, node: fx.Node, *, view: tuple[Tensor, Any] | None = None) -> Any:
        if isinstance(result, Tensor):
            if self._is_known(result):  # the very same tensor came back: give the new node a name of its own
                result = result.detach()
            return self._track(result, node, view=view)
        if isinstance(result, tuple | list):
            items = [self._wrap(item, self.graph.call_function(FUNCTIONS["getitem"].call, (node, index)))
                     for index, item in enumerate(result)]  # fmt: skip
            if isinstance(result, list):
                return items
            return type(result)(items) if hasattr(result, "n_fields") else tuple(items)
        return result

    def _track(self, tensor: Tensor, node: fx.Node, *, view: tuple[Tensor, Any] | None = None) -> Tensor:
        storage = self._storage(tensor)
        tensor._traced = _Traced(node, self._writes.get(storage, 0), view)  # type: ignore[attr-defined]
        return tensor

    def _storage(self, tensor: Tensor) -> int:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key not in self._writes:
            self._writes[key] = 0
            self._storages.append(storage)
        return key

    @staticmethod
    def _is_known(tensor: Tensor) -> bool:
        return hasattr(tensor, "_traced")

    def _is_traced(self, tensor: Tensor) -> bool:
        return hasattr(tensor, "_traced") or id(tensor) in self._tensors

    def _value(self, leaf: Any) -> Any:
        """The meta twin of a real tensor; everything else as it is."""
        if not isinstance(leaf, Tensor) or leaf.device.type == "meta":
            return leaf
        known = self._meta.get(id(leaf))
        if known is None or known[0] is not leaf:
            if leaf.ndim == 0 and id(leaf) not in self._tensors:
                return leaf  # a scalar constant mixes with any device and keeps its value
            known = (leaf, leaf.detach().to("meta"))
            self._meta[id(leaf)] = known
        return known[1]

    # -- words --------------------------------------------------------------------------------------------------

    def _note(self, operation: str) -> None:
        self.last_operation = operation
        self.last_source = source_line(sys._getframe(2))

    def at(self) -> str:
        """Where the forward is, for messages: source line and module."""
        where = f" in module “{self.path[-1]}”" if self.path[-1] else ""
        return f" at {self.last_source}{where}" if self.last_source else where


def _is_basic(index: Any) -> bool:
    return all(leaf is None or leaf is Ellipsis or isinstance(leaf, int) for leaf in _walk(index))
