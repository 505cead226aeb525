"""What a criterion is: a rule that says how important each single weight is. Importing this needs no torch."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ...errors import PlanError
from ...progress import SILENT, Progress
from ...registry import Registry

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["CRITERIA", "CalibrationContext", "Criterion", "Scope", "score_layers"]

Scope = Literal["layer", "row"]


@dataclass(frozen=True)
class CalibrationContext:
    """What a criterion may look at besides the weights: some training images, and a seed.

    ``splits`` may be ``None`` for criteria that need no data.
    """

    splits: Any = None
    images: int = 128
    batch_size: int = 32
    seed: int = 0
    progress: Progress = SILENT

    def batches(self) -> Iterator["Tensor"]:
        """Normalised images [N, C, H, W]: the training split's stratified subset of ``images``, ordered by ``seed``.

        Raises:
            PlanError: when there are no data.
        """
        if self.splits is None or len(self.splits.train) == 0:
            raise PlanError("This criterion looks at activations and needs training images, but no data were given.")
        import torch

        draw = torch.Generator().manual_seed(self.seed)
        total, done = min(self.images, len(self.splits.train)), 0
        for x, _ in self.splits.train.batches(self.batch_size, shuffle=True, generator=draw, limit=total):
            self.progress.check()
            yield x
            done += len(x)
            self.progress.update(done, total, "Looking at calibration images")


class Criterion(ABC):
    """A criterion; a class that is never instantiated, so that listing criteria costs nothing.

    ``scope`` says among which weights its scores are compared: those of a ``layer``, or those of one output ``row``
    (then every row of a layer loses the same share).
    """

    title: ClassVar[str]
    needs_data: ClassVar[bool] = False
    scope: ClassVar[Scope] = "layer"

    @classmethod
    @abstractmethod
    def score(cls, model: Any, layer_names: Sequence[str], context: CalibrationContext) -> dict[str, "Tensor"]:
        """Importance of every weight: layer name → tensor of the weight's shape, float32, finite and at least 0.

        ``model`` is a ``TracedModel`` in any mode; it comes back unchanged.
        """


CRITERIA: Registry[type[Criterion]] = Registry("criterion")


def score_layers(
    name: str, model: Any, layer_names: Sequence[str], context: CalibrationContext
) -> Mapping[str, "Tensor"]:
    """Scores of a registered criterion, refused where they would mean nothing.

    Raises:
        PlanError: on an unknown criterion, on weights that are NaN or infinite (names the layers), and when the
            activations make the scores NaN or infinite.
    """
    import torch

    if name not in CRITERIA:
        raise PlanError(f"Unknown criterion “{name}”; known: {', '.join(CRITERIA)}.")
    modules = model.prunable()
    broken = [layer for layer in layer_names if not bool(torch.isfinite(modules[layer].weight).all())]
    if broken:
        raise PlanError(
            f"Weights must be finite to be ranked, but {_listed(broken)} hold NaN or infinite values. "
            "Load a sound checkpoint, or protect these layers."
        )
    scores = CRITERIA[name].score(model, layer_names, context)
    odd = [layer for layer, score in scores.items() if not bool(torch.isfinite(score).all())]
    if odd:
        raise PlanError(
            f"The criterion “{name}” gave scores that are NaN or infinite in {_listed(odd)}: the activations there "
            "overflow. Check the normalisation of the data, or choose the criterion “magnitude”."
        )
    return scores


def _listed(names: Sequence[str], most: int = 5) -> str:
    shown = ", ".join(f"“{name}”" for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
