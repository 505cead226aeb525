"""Symbolic capture: run a model's ``forward`` once on tensors without data, and write down what it does.

The forward runs on the meta device under a ``TorchFunctionMode``, so every torch operation passes through one
handler that records it as a node, while shapes, dtypes, ``isinstance`` and python control flow are all concrete and
just work. What keeps the batch free is its size: a large prime number. A size that the prime divides is a size that
follows the batch, however the author computed it (``B * num_windows``, ``x.numel() // C``, ``x.shape[0]``); all others
are constants.

Only what depends on the input, on a parameter or on a buffer is recorded; what the forward computes from
constants alone (index grids, masks) is computed for real, and becomes a constant of the graph.
"""

import inspect
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FunctionType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.overrides import TorchFunctionMode

from .layers import is_layer, known_shape
from .recording import BATCH, Recorder, Untraceable, leaves, map_leaves

__all__ = ["Alias", "First", "Tracer"]

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
_DIVIDING = frozenset(("unbind", "split", "chunk", "tensor_split", "split_with_sizes", "unsafe_split", "unsafe_chunk"))
_TRACING = threading.RLock()  # while a capture patches torch, no other thread may begin one
_ASSERTIONS = frozenset(("_assert", "_assert_scalar", "_assert_tensor_metadata", "_assert_async"))


class Alias:
    """Returned by a rule: the result is the same value as this tensor, so no node is needed."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


class First:
    """Returned by a rule: the node is the first of several results; the graph has no use for the others."""

    def __init__(self, node: fx.Node) -> None:
        self.node = node


def _base_name(function: Any) -> str:
    if isinstance(function, torch._ops.OpOverload):
        return function._schema.name.split("::")[-1]
    name = getattr(function, "__name__", str(function))
    if name in ("__get__", "__set__"):
        name = getattr(getattr(function, "__self__", None), "__name__", name)
    return name


class Tracer(Recorder, TorchFunctionMode):
    """Records one forward of ``module``. Use ``run``; ``graph``, ``layers``, ``helpers``, ``constants`` are the result.

    Args:
        module: the model, in eval mode.
        rules: canonical rules by base name of the operation: ``rule(tracer, result, *args, **kwargs)`` emits nodes and
            returns the node of the result, or ``Alias``, ``First``, or a tensor that is already recorded.
        openers: replacements of the forward of composite modules, by type or by qualified name of the type.
        attention_dropout: for modules that call fused attention: the dropout of each of their calls in training.
        probing: some modules were put into training mode to learn their attention dropout; the graph is of no use.
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        rules: Mapping[str, Callable[..., Any]],
        openers: Mapping[type | str, Callable[..., Any]],
        attention_dropout: Mapping[str, list[float]] | None = None,
        probing: bool = False,
    ) -> None:
        super().__init__(module)
        self.rules = rules
        self.openers = openers
        self.probing = probing
        self.attention_calls: dict[str, list[float]] = {}  # path -> dropout of each fused attention call
        self.custom_gradients: set[str] = set()  # autograd functions, which became their forward
        self._attention_dropout = dict(attention_dropout or {})
        self._recording = True

    def run(self, input_shape: tuple[int, ...]) -> fx.Graph:
        """Capture the forward for inputs ``[N, *input_shape]``; returns the raw graph.

        Raises:
            Untraceable: with the operation and the source line that cannot be followed.
        """
        x = self.start(input_shape)
        with _TRACING, torch.no_grad(), self._patched_calls(), self:
            output = self.module(x)
        self.graph.output(self._output(output))
        return self.graph

    def attention_dropout(self, path: str, dropout: float) -> float:
        """Note a call of fused attention inside the module ``path``; returns the dropout it has in training."""
        calls = self.attention_calls.setdefault(path, [])
        calls.append(dropout)
        known = self._attention_dropout.get(path, [])
        return known[len(calls) - 1] if len(calls) <= len(known) else 0.0

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
        """Module calls and custom autograd functions of this thread come to us."""
        original_call, original_apply = nn.Module.__call__, torch.autograd.Function.__dict__["apply"]
        thread = threading.get_ident()

        def call(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
            if threading.get_ident() != thread:
                return original_call(module, *args, **kwargs)
            return self._call_module(original_call, module, args, kwargs)

        def apply(function: type, *args: Any, **kwargs: Any) -> Any:
            if threading.get_ident() == thread:
                self.custom_gradients.add(function.__name__)
            return original_apply.__func__(function, *args, **kwargs)

        nn.Module.__call__ = call  # type: ignore[method-assign]
        torch.autograd.Function.apply = classmethod(apply)
        try:
            yield
        finally:
            nn.Module.__call__ = original_call  # type: ignore[method-assign]
            torch.autograd.Function.apply = original_apply

    def _call_module(self, original: Callable[..., Any], module: nn.Module, args: Any, kwargs: Any) -> Any:
        name = self._names.get(id(module))
        if name is None or not self._recording:
            return original(module, *args, **kwargs)
        if is_layer(module):
            return self.call_layer(name, module, *args, **kwargs)
        self.path.append(name)
        try:
            kind = type(module)
            opener = self.openers.get(kind) or self.openers.get(f"{kind.__module__}.{kind.__qualname__}")
            if opener is not None:
                return opener(self, module, *args, **kwargs)
            return original(module, *args, **kwargs)
        finally:
            self.path.pop()

    def call_layer(self, name: str, layer: nn.Module, *args: Any, **kwargs: Any) -> Any:
        """Record a call of a standard layer under its name, and return its result."""
        self.layers.setdefault(name, layer)
        self._note(type(layer).__name__)
        if kwargs:
            args = inspect.signature(type(layer).forward).bind(layer, *args, **kwargs).args[1:]
        with torch._C.DisableTorchFunction():
            inputs = map_leaves(self.node_of, args)
        result = self._run_layer(layer, args)
        with torch._C.DisableTorchFunction():
            node = self.graph.create_node("call_module", name, inputs)
            node.meta["source"] = self.last_source
            if getattr(layer, "inplace", False):
                self._write(args[0], node)
                return args[0]
            return self._wrap(result, node)

    def _run_layer(self, layer: nn.Module, args: Any) -> Any:
        """The layer's result on the meta device."""
        if len(args) == 1 and not layer.training:
            with torch._C.DisableTorchFunction():
                shape = known_shape(layer, args[0])
                if shape is not None:
                    return torch.empty(shape, dtype=args[0].dtype, device="meta")
        self._recording = False
        try:
            return type(layer).forward(layer, *args)
        finally:
            self._recording = True

    # -- the handler --------------------------------------------------------------------------------------------

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Every torch operation of the forward comes here."""
        kwargs = kwargs or {}
        tensors = [leaf for leaf in leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        if not self._recording:
            if not tensors:
                return func(*args, **kwargs)
            return func(*map_leaves(self._value, args), **map_leaves(self._value, kwargs))
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
        sizes = [leaf for leaf in leaves((args, kwargs)) if type(leaf) is int and leaf % BATCH == 0 and leaf]
        if not sizes:
            return func(*args, **kwargs)
        if name in ("zeros", "ones", "full", "empty"):
            return self._batched_factory(name, args, kwargs)
        if name in _CONCRETE:
            return func(*args, **kwargs)
        if any(isinstance(leaf, Tensor) for leaf in leaves(args)):  # a constant, spread over the examples
            return self._record(func, name, args, kwargs)
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
        values, keywords = map_leaves(self._value, args), map_leaves(self._value, kwargs)
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

    def _evaluate(self, func: Any, base: str, values: Any, keywords: Any) -> Any:
        """Run the operation on meta tensors."""
        if base in _DIVIDING:
            dim = keywords.get(
                "dim", values[1 if base == "unbind" else 2] if len(values) > 1 + (base != "unbind") else 0
            )
            if values[0].shape[dim] % BATCH == 0:
                raise Untraceable(f"The forward takes the batch apart{self.at()}; this is not supported.", final=True)
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


def _is_basic(index: Any) -> bool:
    return all(leaf is None or leaf is Ellipsis or isinstance(leaf, int) for leaf in leaves(index))
