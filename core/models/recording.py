"""What a capture writes: the graph, and what is known of every tensor on the way.

Sizes that follow the batch are recognised by a prime factor, constants are kept once, and in-place work is replaced by
new values: a tensor that was written stands for the new value from then on, and so does what it is a view of.
"""

import functools
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor, fx, nn

from ..errors import ModelError
from .vocabulary import FUNCTIONS

__all__ = ["BATCH", "Recorder", "Untraceable", "leaves", "map_leaves", "source_line"]

BATCH = 1_000_003
"""The batch size during capture: a prime far above any channel or token count."""

_TORCH_FOLDER = f"{Path(torch.__file__).parent}{os.sep}"
_OWN_FOLDER = Path(__file__).parent
_OWN_CODE = frozenset(str(path) for path in _OWN_FOLDER.rglob("*.py") if path.name != "cifar_resnet.py")
_BEFORE_THE_FORWARD = str(_OWN_FOLDER / "capture.py")


class Untraceable(ModelError):  # noqa: N818 - what it says of the model
    """The forward does something that this way of capturing cannot follow.

    ``final`` says that no other way of capturing can follow it either.
    """

    def __init__(self, message: str, *, final: bool = False) -> None:
        super().__init__(message)
        self.final = final


class _Traced:
    """What is known of a tensor during capture: its node, and the state of its storage when it was computed."""

    __slots__ = ("node", "stamp", "view_of")

    def __init__(self, node: fx.Node, stamp: int, view_of: tuple[Tensor, Any] | None = None) -> None:
        self.node = node
        self.stamp = stamp
        self.view_of = view_of


def source_line(frame: FrameType | None) -> str:
    """``file:line`` of the innermost frame of the model's code, outside torch and the tracing ("" without one).

    There is none in a graph of ``torch.export``; whoever asked for the capture is not the model's code.
    """
    while frame is not None:
        name = frame.f_code.co_filename
        if name == _BEFORE_THE_FORWARD:
            return ""
        if not name.startswith((_TORCH_FOLDER, "<")) and name not in _OWN_CODE:
            return f"{_known_as(name)}:{frame.f_lineno}"
        frame = frame.f_back
    return ""


@functools.cache
def _known_as(file: str) -> str:
    """A file as it is imported ("torchvision/models/resnet.py"): its folder means nothing to other people."""
    roots = [root for root in (os.path.abspath(entry) for entry in sys.path) if file.startswith(root + os.sep)]
    return os.path.relpath(file, max(roots, key=len)) if roots else os.path.basename(file)


def leaves(value: Any) -> Iterator[Any]:
    """Every leaf of nested tuples, lists, dicts and slices."""
    if isinstance(value, tuple | list):
        for item in value:
            yield from leaves(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from leaves(item)
    elif isinstance(value, slice):
        yield from (value.start, value.stop, value.step)
    else:
        yield value


def map_leaves(function: Callable[[Any], Any], value: Any) -> Any:
    """Apply a function to every leaf of nested tuples, lists, dicts and slices."""
    if isinstance(value, torch.Size):
        return tuple(function(item) for item in value)
    if isinstance(value, tuple):
        return tuple(map_leaves(function, item) for item in value)
    if isinstance(value, list):
        return [map_leaves(function, item) for item in value]
    if isinstance(value, dict):
        return {key: map_leaves(function, item) for key, item in value.items()}
    if isinstance(value, slice):
        return slice(function(value.start), function(value.stop), function(value.step))
    return function(value)


class Recorder:
    """Writes nodes into ``graph`` for a run of ``module`` on meta tensors."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        self.graph = fx.Graph()
        self.layers: dict[str, nn.Module] = {}  # modules called by the graph
        self.helpers: dict[str, nn.Module] = {}  # modules added here, e.g. for functional dropout
        self.constants: dict[str, Tensor] = {}
        self.renamed: dict[str, str] = {}  # tensor name in the graph -> name in the original state dict
        self.path: list[str] = [""]
        self.last_source = ""
        self.last_operation = ""
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
        self._input: fx.Node | None = None

    def start(self, input_shape: tuple[int, ...]) -> Tensor:
        """The one input: a meta tensor of the model's own type, ``BATCH`` images."""
        dtype = next((p.dtype for p in self.module.parameters() if p.is_floating_point()), torch.float32)
        self._input = self.graph.placeholder("x")
        return self._track(torch.empty((BATCH, *input_shape), dtype=dtype, device="meta"), self._input)

    # -- tensors and nodes --------------------------------------------------------------------------------------

    def emit(self, name: str, *args: Any, **kwargs: Any) -> fx.Node:
        """Add a node of the vocabulary. Tensors become their nodes, sizes that follow the batch become size nodes."""
        node = self.graph.call_function(
            FUNCTIONS[name].call, map_leaves(self.node_of, args), map_leaves(self.node_of, kwargs)
        )
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

    # -- layers that the model does not have ------------------------------------------------------------------------

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

    # -- words --------------------------------------------------------------------------------------------------

    def _note(self, operation: str) -> None:
        self.last_operation = operation
        self.last_source = source_line(sys._getframe(2))

    def at(self) -> str:
        """Where the forward is, for messages: source line and module."""
        where = f" in module “{self.path[-1]}”" if self.path[-1] else ""
        return f" at {self.last_source}{where}" if self.last_source else where
