"""Open a model from any source by its name. Knows no torch until a model is built."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ModelError
from ..progress import SILENT, Progress
from .sources import MODEL_SOURCES, BuiltModel
from .specs import ModelSpec, Weights

if TYPE_CHECKING:
    from .traced import TracedModel

__all__ = ["build_model", "open_model", "resolve_model"]


def resolve_model(
    spec_or_name: ModelSpec | str,
    *,
    checkpoint: str | Path | None = None,
    num_classes: int | None = None,
    input_shape: tuple[int, int, int] | None = None,
    weights: Weights | None = None,
) -> ModelSpec:
    """The complete spec for a name such as ``resnet56``, ``cifar/resnet56`` or ``torchvision/resnet50``.

    A bare name is looked up in the sources in their order: sample, cifar, torchvision, timm, python. Without
    ``weights`` a name gets the checkpoint when there is one, else the source's usual weights.

    Raises:
        ModelError: no source has the name; the message says which names are close.
    """
    if isinstance(spec_or_name, ModelSpec):
        spec = spec_or_name
        source, name = spec.source, spec.name
        if source not in MODEL_SOURCES:
            raise ModelError(f"Unknown model source “{source}”; known: {', '.join(MODEL_SOURCES)}.")
        _check_name(source, name)
    else:
        source, name = _find(spec_or_name)
        usual = next(kind for kind in MODEL_SOURCES[source].weights(name) if kind != "checkpoint")
        spec = ModelSpec(source=source, name=name, weights=usual)
    changes = {
        "checkpoint": None if checkpoint is None else str(checkpoint),
        "num_classes": num_classes,
        "input_shape": input_shape,
        "weights": weights,
    }
    given = {key: value for key, value in changes.items() if value is not None}
    spec = ModelSpec.parse({**spec.model_dump(), **given}, error=ModelError)
    if spec.checkpoint is not None and spec.weights != "checkpoint":
        if weights is not None:
            raise ModelError(f"Choose either {weights} weights or the checkpoint “{Path(spec.checkpoint).name}”.")
        spec = spec.changed(weights="checkpoint")
    return spec


def build_model(spec: ModelSpec, *, progress: Progress = SILENT) -> BuiltModel:
    """Build the module of a complete spec, with its weights, in evaluation mode.

    Raises:
        ModelError: the source cannot be used here, or the model cannot be built.
        CheckpointError: the checkpoint is damaged, unsafe or does not fit.
    """
    source = MODEL_SOURCES[spec.source]
    reason = source.unavailable()
    if reason is not None:
        raise ModelError(reason)
    checkpoint = None
    if spec.checkpoint is not None:
        from .checkpoints import load_checkpoint

        progress.update(0, 3, "Reading the checkpoint")
        checkpoint = load_checkpoint(spec.checkpoint, progress=progress)
    progress.check()
    progress.update(1, 3, f"Building {spec.name}")
    built = source.build(spec, checkpoint=checkpoint, progress=progress)
    built.module.eval()
    return built


def open_model(
    spec_or_name: ModelSpec | str,
    *,
    checkpoint: str | Path | None = None,
    num_classes: int | None = None,
    input_shape: tuple[int, int, int] | None = None,
    weights: Weights | None = None,
    progress: Progress = SILENT,
) -> TracedModel:
    """Build a model and trace it, ready for everything else.

    >>> open_model("resnet56", checkpoint="resnet56.th")           # doctest: +SKIP
    >>> open_model("torchvision/resnet50", weights="random", num_classes=10)  # doctest: +SKIP

    Args:
        spec_or_name: a ``ModelSpec``, ``source/name`` or a bare name (see ``resolve_model``).
        checkpoint: a ``.pt``, ``.pth``, ``.th`` or ``.safetensors`` file.
        num_classes: size of the head; None takes what the checkpoint or the published weights have.
        input_shape: channels, height, width; None takes what the weights were trained for.
        weights: ``random``, ``published`` or ``checkpoint``; None takes the checkpoint, else the source's usual ones.

    Returns:
        The traced model in evaluation mode. Its ``origin`` is the spec as JSON with ``notes`` and, where known,
        ``class_names``, ``mean`` and ``std``.

    Raises:
        ModelError: unknown name, weights that cannot be had, or a model that cannot be traced.
        CheckpointError: the checkpoint is damaged, unsafe or does not fit.
    """
    spec = resolve_model(
        spec_or_name, checkpoint=checkpoint, num_classes=num_classes, input_shape=input_shape, weights=weights
    )
    built = build_model(spec, progress=progress)
    from .capture import trace

    progress.check()
    progress.update(2, 3, "Tracing")
    model = trace(built.module, built.input_shape, task=built.task, origin={**spec.to_json(), **built.facts()})
    progress.update(3, 3, "Opened")
    return model


def _find(text: str) -> tuple[str, str]:
    source, slash, name = text.partition("/")
    if slash and source in MODEL_SOURCES:
        _check_name(source, name)
        return source, name
    for key, member in MODEL_SOURCES.items():
        if member.unavailable() is None and text in member.names():
            return key, text
    raise ModelError(f"No model is called “{text}”.{_close(text)} `espalier models` lists all names.")


def _check_name(source: str, name: str) -> None:
    member = MODEL_SOURCES[source]
    reason = member.unavailable()
    if reason is not None:
        raise ModelError(reason)
    # A timm name may carry the tag of its weights behind a dot.
    if name not in member.names() and name.partition(".")[0] not in member.names():
        raise ModelError(f"The source “{source}” has no model called “{name}”.{_close(name, source)}")


def _close(name: str, source: str | None = None) -> str:
    """A hint with names that are spelled nearly so."""
    members = [member for key, member in MODEL_SOURCES.items() if source in (None, key)]
    names = [name for member in members if member.unavailable() is None for name in member.names()]
    close = difflib.get_close_matches(name, names, n=3)
    return f" Did you mean {' or '.join(close)}?" if close else ""
