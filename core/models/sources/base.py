"""What every source of models offers, and what it hands over. Knows no torch until a model is built."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from ...errors import ModelError
from ...progress import SILENT, Progress
from ...registry import Registry
from ..specs import ModelSpec, Task, Weights

if TYPE_CHECKING:
    from torch import nn

    from ..checkpoints import Checkpoint

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "MODEL_SOURCES",
    "BuiltModel",
    "ModelSource",
    "choose_weights",
    "finish",
    "seeded",
]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class BuiltModel:
    """A module with its weights, before it is traced.

    ``mean`` and ``std`` are the normalisation per channel that the weights expect, None when nothing is known of it.
    ``notes`` are sentences that a person should read (what was unwrapped, converted, replaced, assumed).
    """

    module: nn.Module
    input_shape: tuple[int, int, int]
    task: Task
    num_classes: int
    class_names: tuple[str, ...] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    notes: tuple[str, ...] = ()

    def facts(self) -> dict[str, Any]:
        """What a traced model carries in its ``origin`` beside the spec; JSON-serialisable, known things only."""
        known: dict[str, Any] = {"notes": list(self.notes)}
        for name in ("class_names", "mean", "std"):
            value = getattr(self, name)
            if value is not None:
                known[name] = list(value)
        return known


class ModelSource(Protocol):
    """A family of models that are known by name."""

    def unavailable(self) -> str | None:
        """Why nothing can be opened from this source here, in one sentence; None when it can."""

    def names(self) -> list[str]:
        """Names of the models, without importing torch, quickly."""

    def weights(self, name: str) -> tuple[Weights, ...]:
        """The kinds of weights that can be had for a name, the usual one first."""

    def build(
        self, spec: ModelSpec, *, checkpoint: Checkpoint | None = None, progress: Progress = SILENT
    ) -> BuiltModel:
        """Build the module and give it its weights.

        ``checkpoint`` is there exactly when ``spec.weights`` is ``checkpoint``. ``spec.num_classes`` None means: what
        the weights say, else the source's default.

        Raises:
            ModelError: unknown name, weights that cannot be had, an impossible input shape or number of classes.
            CheckpointError: the checkpoint does not fit.
        """


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Inside, random weights follow ``seed``; the caller's random state is left as it was."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def choose_weights(source: ModelSource, spec: ModelSpec) -> Weights:
    """The kind of weights that a spec asks for, when the source has it.

    Raises:
        ModelError: the source has no such weights for this name.
    """
    wanted: Weights = "checkpoint" if spec.checkpoint is not None else spec.weights
    if wanted == "checkpoint" and spec.checkpoint is None:
        raise ModelError(f"“{spec.name}” is to be opened with a checkpoint, but no file was named.")
    offered = source.weights(spec.name)
    if wanted not in offered:
        raise ModelError(
            f"There are no {wanted} weights for “{spec.source}/{spec.name}”; choose one of: {', '.join(offered)}."
        )
    return wanted


def finish(module: nn.Module, spec: ModelSpec, checkpoint: Checkpoint | None) -> tuple[str, ...]:
    """Put the checkpoint into a freshly built module, or say that its weights are random."""
    from ..checkpoints import fit_checkpoint

    if checkpoint is not None:
        return (*checkpoint.notes, *fit_checkpoint(module, checkpoint))
    return (f"The weights are random (seed {spec.seed}): the network is untrained.",)


MODEL_SOURCES: Registry[ModelSource] = Registry("model source")
