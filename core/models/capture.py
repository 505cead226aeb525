"""``trace``: a model from anywhere becomes a ``TracedModel``.

The symbolic tracer comes first (fast, and exact in names); where it cannot follow, ``torch.export`` is tried, and its
graph runs through the same tracer, so both end in the same vocabulary. Every capture is checked: the graph must give
what the model gives on random input. Where both ways fail, the person reads which operation failed and where.
"""

import copy
import inspect
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

from ..errors import ModelError
from .assembly import assemble
from .exported import export_module
from .layers import build_layer, constructor_arguments
from .modularise import modularise
from .openers import OPENERS
from .recording import Untraceable, source_line
from .rules import RULES
from .specs import Task
from .traced import TracedModel, main_output
from .tracer import Tracer

__all__ = ["TOLERANCE", "relative_difference", "trace"]

TOLERANCE = 1e-4
"""Largest relative difference between model and graph that a capture may show on random input (float32)."""

_LOG = logging.getLogger(__name__)


def trace(
    module: nn.Module,
    input_shape: tuple[int, int, int],
    *,
    task: Task = "classification",
    origin: dict[str, Any] | None = None,
    verify: bool = True,
) -> TracedModel:
    """Capture ``module`` in eval mode, with the batch size free and every other size a constant.

    The traced model shares the parameters and buffers of ``module`` (``clone`` makes independent ones). Parts that run
    in training only (auxiliary heads of GoogLeNet and Inception) are left out; dropout and batch norm stay modules and
    follow ``train()`` and ``eval()``.

    Args:
        module: any vision model that takes one float tensor ``[N, C, H, W]``.
        input_shape: (C, H, W) of the images.
        task: what the main output means: ``[N, classes]``, or ``[N, classes, H, W]`` for segmentation.
        origin: where the model comes from, kept with it.
        verify: compare graph and model on a random image.

    Raises:
        ModelError: naming the operation and the source line that cannot be captured.
    """
    module = _unwrapped(module)
    input_shape = _checked_shape(module, input_shape)
    was_training = {child: child.training for child in module.modules()}
    ways: tuple[tuple[str, Callable[[], nn.Module]], ...] = (
        ("symbolic", lambda: _shadow(module)),
        ("export", lambda: export_module(module, input_shape, functional=False)),
        ("export", lambda: export_module(module, input_shape, functional=True)),
    )
    problems: list[ModelError] = []
    module.eval()
    try:
        for name, runnable in ways:
            try:
                traced = _capture(module, runnable(), input_shape, task, origin, by=name)
                if verify:
                    _verify(module, traced)
                return traced
            except ModelError as problem:
                _LOG.info("capture by %s failed: %s", name, problem)
                problems.append(problem)
                if getattr(problem, "final", not isinstance(problem, Untraceable)):
                    break
                if len(problems) == 1:
                    _run_itself(module, input_shape)  # fails in words, should the model itself fail
    finally:
        for child, mode in was_training.items():
            child.training = mode
    words = dict.fromkeys((str(problems[0]), str(problems[-1])))
    raise ModelError(f"The model cannot be captured. {' '.join(words)}") from problems[0]


def _run_itself(module: nn.Module, input_shape: tuple[int, int, int]) -> None:
    """Run the author's forward on two random images.

    Raises:
        ModelError: with the model's own reason.
    """
    like = next((p for p in module.parameters() if p.is_floating_point()), torch.empty(()))
    x = torch.randn((2, *input_shape), generator=torch.Generator().manual_seed(0)).to(like)
    try:
        with torch.no_grad(), warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
            warnings.simplefilter("ignore")
            module(x)
    except Exception as error:
        reason = f"{type(error).__name__}: {_first_line(error)}"
        raise ModelError(
            f"The model fails on images of shape {input_shape} (channels, height, width): {reason} Trace it with the "
            "shape that it was made for."
        ) from error


def _unwrapped(module: nn.Module) -> nn.Module:
    """The author's model inside ``torch.compile`` and ``DataParallel``."""
    while True:
        inner = getattr(module, "_orig_mod", None)
        if inner is None and isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
            inner = module.module
        if not isinstance(inner, nn.Module):
            return module
        module = inner


def _checked_shape(module: nn.Module, input_shape: Any) -> tuple[int, int, int]:
    try:
        channels, height, width = (int(length) for length in input_shape)
    except (TypeError, ValueError):
        raise ModelError(f"The input shape must be (channels, height, width), got {input_shape!r}.") from None
    if min(channels, height, width) < 1:
        raise ModelError(f"The input shape must be positive, got {(channels, height, width)}.")
    if isinstance(module, torch.jit.ScriptModule):
        raise ModelError("A TorchScript module has no python code to capture; build the model from its python class.")
    needed = [
        name
        for name, parameter in inspect.signature(module.forward).parameters.items()
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    if len(needed) > 1:
        raise ModelError(
            f"The model's forward needs {len(needed)} inputs ({', '.join(needed)}); it must take one batch of images."
        )
    lazy = [n for n, p in module.named_parameters() if nn.parameter.is_lazy(p)]
    if lazy:
        raise ModelError(f"“{lazy[0]}” has no shape yet: run the model once on an example before tracing it.")
    return channels, height, width


def _capture(
    original: nn.Module,
    runnable: nn.Module,
    input_shape: tuple[int, int, int],
    task: Task,
    origin: dict[str, Any] | None,
    *,
    by: str,
) -> TracedModel:
    tracer = Tracer(runnable, rules=RULES, openers=OPENERS)
    graph = _run(tracer, input_shape)
    dropout = _attention_dropout(original, runnable, tracer, input_shape)
    if dropout:
        tracer = Tracer(runnable, rules=RULES, openers=OPENERS, attention_dropout=dropout)
        graph = _run(tracer, input_shape)
    layers: dict[str, nn.Module] = {**tracer.layers, **tracer.helpers}
    modularise(graph, original, layers, tracer.renamed)
    _remove_dead_nodes(graph)
    called = {str(node.target) for node in graph.nodes if node.op == "call_module"}
    shells = {name: _shell(layer) for name, layer in layers.items() if name in called}
    constants = {node.target for node in graph.nodes if node.op == "get_attr"} & set(tracer.constants)
    extra = {name: tracer.constants[name] for name in tracer.constants if name in constants}
    held = {
        f"{name}.{leaf}"
        for name, shell in shells.items()
        for leaf in (*(n for n, _ in shell.named_parameters()), *(n for n, _ in shell.named_buffers()))
    }
    own = dict([*original.named_buffers(remove_duplicate=False), *original.named_parameters(remove_duplicate=False)])
    temporary = set(constants)
    for node in graph.nodes:
        if node.op == "get_attr" and node.target not in extra and node.target not in held:
            extra[node.target] = own[node.target]
            if not _is_persistent(original, str(node.target)):
                temporary.add(node.target)
    graph.lint()
    assembled = assemble(graph, shells, extra, temporary=temporary)
    names = _original_names(original, assembled, tracer.renamed)
    traced = TracedModel(
        assembled, input_shape=input_shape, task=task, origin=origin, captured_by=by, original_names=names
    )
    notes = _notes(original, traced, tracer)
    if notes:
        traced.origin["notes"] = [*traced.origin.get("notes", []), *notes]
    return traced.eval()


def _notes(original: nn.Module, traced: TracedModel, tracer: Tracer) -> list[str]:
    """What a person should know of the difference between the model and its graph."""
    notes = []
    kept = traced.state_dict()
    missing = [name for name in original.state_dict() if name not in kept]
    if missing:
        parts = list(dict.fromkeys(name.split(".")[0] for name in missing))
        notes.append(f"Not used when the model predicts, and left out: {', '.join(parts[:6])}.")
    drops = {name for name, child in original.named_modules() if isinstance(child, _DROPOUT) and child.p > 0}
    called = {node.target for node in traced.graph_module.graph.nodes if node.op == "call_module"}
    if drops and traced.captured_by == "export" and not any("dropout" in str(name) for name in called):
        notes.append("Dropout is not part of the captured graph; further training runs without it.")
    for name in sorted(tracer.custom_gradients):
        notes.append(f"The gradient that “{name}” defines itself is replaced by that of its forward.")
    return notes


_DROPOUT = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)


def _attention_dropout(
    original: nn.Module, runnable: nn.Module, tracer: Tracer, input_shape: tuple[int, int, int]
) -> dict[str, list[float]]:
    """What dropout the modules that call fused attention give it in training (they pass 0 in eval mode).

    Learnt by running the forward once more with just those modules in training mode.
    """
    suspects = [path for path in tracer.attention_calls if _may_drop(runnable.get_submodule(path))]
    if not suspects or original is runnable:
        return {}
    probe = Tracer(runnable, rules=RULES, openers=OPENERS, probing=True)
    for path in suspects:
        runnable.get_submodule(path).training = True
    try:
        _run(probe, input_shape)
    except ModelError:
        return {}
    finally:
        for path in suspects:
            runnable.get_submodule(path).training = False
    return {path: calls for path, calls in probe.attention_calls.items() if any(calls)}


def _may_drop(module: nn.Module) -> bool:
    settings = [v for name, v in vars(module).items() if "drop" in name and isinstance(v, float)]
    return any(v > 0 for v in settings) or any(getattr(child, "p", 0) > 0 for child in module.children())


def _shadow(module: nn.Module) -> nn.Module:
    """A copy of the module tree around the same tensors, so that caches which a forward fills stay out of the model."""
    memo = {id(tensor): tensor for tensor in (*module.parameters(), *module.buffers())}
    try:
        shadow = copy.deepcopy(module, memo)
    except Exception:  # an attribute that cannot be copied: run the model itself
        return module
    shadow.train()  # lets modules drop what they cached in eval mode
    return shadow.eval()


def _run(tracer: Tracer, input_shape: tuple[int, int, int]) -> fx.Graph:
    try:
        with warnings.catch_warnings(), _attention_fast_path_off():
            warnings.simplefilter("ignore")  # about shapes and deprecations of the author's code, at an odd batch size
            return tracer.run(input_shape)
    except Untraceable:
        raise
    except Exception as error:
        where = _where(error) or tracer.last_source
        operation = f"“{tracer.last_operation}”" if tracer.last_operation else "the forward"
        raise Untraceable(
            f"Following the forward failed after {operation} at {where or 'an unknown line'}: "
            f"{type(error).__name__}: {_first_line(error)}"
        ) from error


def _where(error: BaseException) -> str:
    found, traceback = "", error.__traceback__
    while traceback is not None:
        line = source_line(traceback.tb_frame)
        if line and line != source_line(traceback.tb_frame.f_back):  # the frame's own line, not its caller's
            found = f"{line.rpartition(':')[0]}:{traceback.tb_lineno}"
        traceback = traceback.tb_next
    return found


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else "no message").rstrip(".") + "."


@contextmanager
def _attention_fast_path_off() -> Iterator[None]:
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)


def _remove_dead_nodes(graph: fx.Graph) -> None:
    # Every node of a captured graph is free of side effects, calls of layers included.
    for node in reversed(list(graph.nodes)):
        if node.op not in ("placeholder", "output") and not node.users:
            graph.erase_node(node)


def _shell(layer: nn.Module) -> nn.Module:
    """A standard layer like ``layer``, without hooks and in-place work, around the same tensors."""
    shell = build_layer(type(layer).__name__, constructor_arguments(layer))
    for name, parameter in layer._parameters.items():
        shell._parameters[name] = parameter
    for name, buffer in layer._buffers.items():
        shell._buffers[name] = buffer
    return shell


def _is_persistent(module: nn.Module, name: str) -> bool:
    path, _, leaf = name.rpartition(".")
    return leaf not in module.get_submodule(path)._non_persistent_buffers_set


def _original_names(original: nn.Module, assembled: nn.Module, renamed: dict[str, str]) -> dict[str, tuple[str, ...]]:
    """For each tensor of the graph's state dict whose original name is another, or several: those names."""
    by_id: dict[int, list[str]] = {}
    for name, tensor in [
        *original.named_parameters(remove_duplicate=False),
        *original.named_buffers(remove_duplicate=False),
    ]:
        if _is_persistent(original, name):
            by_id.setdefault(id(tensor), []).append(name)
    present = dict(
        [*assembled.named_parameters(remove_duplicate=False), *assembled.named_buffers(remove_duplicate=False)]
    )
    result: dict[str, tuple[str, ...]] = {}
    for name, tensor in present.items():
        originals = by_id.get(id(tensor), [])
        if name in renamed:
            result[name] = (renamed[name],)
        elif len(originals) > 1:
            missing = [other for other in originals if other not in present]
            if missing and not any(missing[0] in names for names in result.values()):
                result[name] = (name, *missing)
    return result


def relative_difference(a: Any, b: Any) -> float:
    """Largest |a − b| over all tensors of two equal structures, relative to the largest |b| of each tensor."""
    left, right = _tensors(a), _tensors(b)
    if len(left) != len(right) or any(x.shape != y.shape for x, y in zip(left, right, strict=True)):
        return float("inf")
    worst = 0.0
    for x, y in zip(left, right, strict=True):
        if x.numel():
            scale = max(float(y.double().abs().max()), 1e-12)
            difference = float((x.double() - y.double()).abs().max()) / scale
            worst = max(worst, difference if difference == difference else float("inf"))
    return worst


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Mapping):
        return [leaf for item in value.values() if item is not None for leaf in _tensors(item)]
    return [leaf.detach() for leaf in pytree.tree_leaves(value) if isinstance(leaf, Tensor)]


def _verify(module: nn.Module, traced: TracedModel) -> None:
    """Compare graph and model on one random image (on two, where the model treats a single one differently).

    One is enough to see a size that should have followed the batch: it stands in the graph as about ``BATCH``.
    """
    try:
        _compare(module, traced, batch=1)
    except ModelError:
        _compare(module, traced, batch=2)


def _compare(module: nn.Module, traced: TracedModel, *, batch: int) -> None:
    like = next((p for p in module.parameters() if p.is_floating_point()), torch.empty(()))
    x = torch.randn((batch, *traced.input_shape), generator=torch.Generator().manual_seed(0)).to(like)
    with torch.no_grad(), _attention_fast_path_off(), warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        try:
            expected = module(x)
        except Exception as error:
            reason = f"{type(error).__name__}: {_first_line(error)}"
            raise ModelError(f"The model fails on an image of shape {traced.input_shape}: {reason}") from error
        torch.manual_seed(0)
        try:
            found = traced(x)
        except Exception as error:
            raise Untraceable(
                f"The captured graph does not run ({type(error).__name__}: {_first_line(error)}) The forward probably "
                "uses a number computed from the batch size."
            ) from error
    difference = relative_difference(found, expected)
    finite = all(bool(torch.isfinite(leaf).all()) for leaf in _tensors(expected) if leaf.is_floating_point())
    if finite and difference > TOLERANCE:
        raise Untraceable(
            f"The captured graph does not give what the model gives (relative difference {difference:.1e}); the "
            "forward probably uses random numbers or a number computed from the batch size."
        )
    main = main_output(found)
    if main.ndim < 2:
        raise ModelError(f"The main output must be [N, classes] or [N, classes, H, W], got shape {list(main.shape)}.")
