"""Models from Python files that whoever starts the server names with ``--models``; never from anywhere else."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import json
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import ModelError
from ...progress import SILENT, Progress
from ..specs import ModelSpec, Weights
from .base import MODEL_SOURCES, BuiltModel, choose_weights, finish, seeded

if TYPE_CHECKING:
    from torch import nn

    from ..checkpoints import Checkpoint

__all__ = ["FACTORIES_VARIABLE", "PythonSource", "register_python_factory"]

FACTORIES_VARIABLE = "ESPALIER_MODEL_FACTORIES"  # JSON list of [file, callable]: how worker processes learn of them


@dataclass(frozen=True)
class _Factory:
    file: Path
    callable: str

    @property
    def name(self) -> str:
        return f"{self.file.stem}:{self.callable}"


def register_python_factory(reference: str | Path) -> tuple[str, ...]:
    """Allow the callables of a Python file to be opened as models: ``my_models.py:build``, or all of ``my_models.py``.

    The file is parsed but not run until a model is opened. The registration is also written into the environment, so
    that processes started from here have it.

    Returns:
        The names under which the models are known, as ``my_models:build``.

    Raises:
        ModelError: no such file, a syntax error, or no such callable in it.
    """
    text = str(reference)
    head, colon, wanted = text.rpartition(":")
    # “C:\models.py” has a colon that names no callable.
    file, wanted = (Path(head), wanted) if colon and wanted.isidentifier() and head else (Path(text), "")
    file = file.expanduser().resolve()
    offered = _callables(file)
    if wanted and wanted not in offered:
        known = ", ".join(name for name, is_plain in offered.items() if is_plain is not None) or "none"
        raise ModelError(f"{file.name} defines no function or class “{wanted}”; it defines: {known}.")
    chosen = [wanted] if wanted else [name for name, is_plain in offered.items() if is_plain]
    if not chosen:
        raise ModelError(f"{file.name} defines no public function that can be called without arguments; name one.")
    factories = _factories()
    for name in chosen:
        factory = _Factory(file, name)
        other = factories.get(factory.name)
        if other is not None and other.file != file:
            raise ModelError(
                f"Two files offer the model “{factory.name}”: {other.file} and {file}; rename one of them."
            )
        factories[factory.name] = factory
    os.environ[FACTORIES_VARIABLE] = json.dumps([[str(one.file), one.callable] for one in factories.values()])
    return tuple(_Factory(file, name).name for name in chosen)


def _factories() -> dict[str, _Factory]:
    pairs = json.loads(os.environ.get(FACTORIES_VARIABLE, "[]"))
    return {factory.name: factory for factory in (_Factory(Path(file), name) for file, name in pairs)}


def _callables(file: Path) -> dict[str, bool | None]:
    """Public names at the top level of a file: True for functions without required arguments, False for other functions
    and for classes, None for names that are imported or assigned and may be callable.

    Parsing, not importing: a file of models imports torch, and starting the server should not.
    """
    try:
        tree = ast.parse(file.read_text("utf-8"), file.name)
    except OSError as error:
        raise ModelError(f"The model file {file} cannot be read: {error.strerror or error}.") from None
    except SyntaxError as error:
        raise ModelError(f"{file.name}, line {error.lineno}: {error.msg}.") from None
    except ValueError as error:
        raise ModelError(f"{file.name} is not Python source: {error}.") from None
    found: dict[str, bool | None] = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            found[node.name] = not _needs(node.args)
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            found[node.name] = False
        elif isinstance(node, ast.ImportFrom | ast.Assign):
            found.update(dict.fromkeys(_bound(node)))
    return found


def _needs(arguments: ast.arguments) -> bool:
    """Whether a function has arguments without default."""
    positional = len(arguments.posonlyargs) + len(arguments.args)
    return positional > len(arguments.defaults) or None in arguments.kw_defaults


def _bound(node: ast.ImportFrom | ast.Assign) -> list[str]:
    if isinstance(node, ast.ImportFrom):
        return [alias.asname or alias.name for alias in node.names]
    return [target.id for target in node.targets if isinstance(target, ast.Name)]


class PythonSource:
    """Your own Python functions, from files named with --models when the server was started."""

    def unavailable(self) -> str | None:
        if not _factories():
            return "No Python file of models was named; start with `--models my_models.py`."
        return None

    def names(self) -> list[str]:
        return list(_factories())

    def weights(self, name: str) -> tuple[Weights, ...]:
        return ("published", "checkpoint", "random")

    def build(
        self, spec: ModelSpec, *, checkpoint: Checkpoint | None = None, progress: Progress = SILENT
    ) -> BuiltModel:
        kind = choose_weights(self, spec)
        factory = _factories()[spec.name]
        found = checkpoint.num_classes if checkpoint else None
        with seeded(spec.seed):
            made = _call(factory, spec.num_classes, found)
        parts = _parts(made, factory)
        module: nn.Module = parts["module"]
        shape = spec.input_shape or parts.get("input_shape")
        if shape is None:
            raise ModelError(
                f"{factory.name} returned only a module; give its input as (channels, height, width), or return "
                "(module, (3, 224, 224))."
            )
        shape = _shape(shape, factory)
        if kind == "published":
            notes: tuple[str, ...] = ("The weights are those that the Python function made.",)
        else:
            notes = finish(module, spec, checkpoint)
        num_classes = _count_classes(module, shape, factory)
        if spec.num_classes not in (None, num_classes):
            raise ModelError(
                f"{factory.name} makes {num_classes} classes, not {spec.num_classes}; give it an argument num_classes, "
                "or leave the number of classes empty."
            )
        return BuiltModel(
            module,
            shape,
            parts.get("task", "classification"),
            num_classes,
            class_names=_tuple(parts.get("class_names")),
            mean=_tuple(parts.get("mean")),
            std=_tuple(parts.get("std")),
            notes=notes,
        )


def _tuple(values: Any) -> tuple[Any, ...] | None:
    return None if values is None else tuple(values)


def _load(factory: _Factory) -> Callable[..., Any]:
    """Run the file as a module of its own and take the callable from it."""
    file = factory.file
    name = f"espalier_models_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ModelError(f"{file} cannot be loaded as Python; its name must end in .py.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickling inside the file look it up
    folder = str(file.parent)
    sys.path.insert(0, folder)  # its neighbours can be imported, as when it is run as a script
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise _in_words(error, file) from error
    finally:
        sys.path.remove(folder)
    made = getattr(module, factory.callable, None)
    if not callable(made):
        raise ModelError(f"{file.name} has no function or class “{factory.callable}”.")
    return made


def _call(factory: _Factory, num_classes: int | None, found: int | None) -> Any:
    """Call the factory, with ``num_classes`` when it takes such an argument and there is a number to give."""
    function = _load(factory)
    try:
        takes = "num_classes" in inspect.signature(function).parameters
    except (TypeError, ValueError):
        takes = False
    number = num_classes or found
    options = {"num_classes": number} if takes and number else {}
    try:
        return function(**options)
    except (Exception, SystemExit) as error:
        raise _in_words(error, factory.file) from error


def _in_words(error: BaseException, file: Path) -> ModelError:
    """The error with the line of the person's own file where it happened."""
    if isinstance(error, SyntaxError) and error.filename:
        return ModelError(f"{Path(error.filename).name}, line {error.lineno}: {error.msg}.")
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename) == file]
    where = f", line {frames[-1].lineno} (“{frames[-1].line}”)" if frames else ""
    return ModelError(f"{file.name}{where}: {type(error).__name__}: {error}")


def _parts(made: Any, factory: _Factory) -> dict[str, Any]:
    """A module, ``(module, input_shape)`` or a dict, as a dict with at least ``module``."""
    from torch import nn

    parts: dict[str, Any]
    if isinstance(made, Mapping):
        parts = dict(made)
    elif isinstance(made, tuple) and len(made) == 2:
        parts = {"module": made[0], "input_shape": made[1]}
    else:
        parts = {"module": made}
    allowed = {"module", "input_shape", "task", "class_names", "mean", "std"}
    if not isinstance(parts.get("module"), nn.Module):
        kind = type(parts.get("module", made)).__name__
        raise ModelError(
            f"{factory.name} must return an nn.Module, (module, input_shape) or a dict with “module”; it returned "
            f"a {kind}."
        )
    if unknown := set(parts) - allowed:
        raise ModelError(f"{factory.name} returned unknown entries {sorted(unknown)}; allowed: {sorted(allowed)}.")
    if parts.get("task", "classification") not in ("classification", "segmentation"):
        raise ModelError(f"{factory.name}: the task must be classification or segmentation; got “{parts['task']}”.")
    return parts


def _shape(shape: Any, factory: _Factory) -> tuple[int, int, int]:
    try:
        channels, height, width = (int(side) for side in shape)
    except (TypeError, ValueError):
        raise ModelError(f"{factory.name}: the input must be (channels, height, width); got {shape!r}.") from None
    if min(channels, height, width) < 1:
        raise ModelError(f"{factory.name}: the sides of the input must be at least 1; got {shape!r}.")
    return channels, height, width


def _count_classes(module: nn.Module, shape: tuple[int, int, int], factory: _Factory) -> int:
    """Size of dimension 1 of the main output, found by running the module once."""
    import torch

    module.eval()
    try:
        with torch.no_grad():
            output = module(torch.zeros(1, *shape))
    except Exception as error:
        raise ModelError(f"{_in_words(error, factory.file)} – while running it on images of {shape}.") from error
    if isinstance(output, Mapping):
        output = output.get("out", next(iter(output.values()), None))
    if isinstance(output, tuple | list) and output:
        output = output[0]
    if not isinstance(output, torch.Tensor) or output.ndim not in (2, 4):
        raise ModelError(
            f"{factory.name} must give scores [N, classes] or [N, classes, H, W]; its output is "
            f"{list(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__}."
        )
    return int(output.shape[1])


MODEL_SOURCES.register("python")(PythonSource())
