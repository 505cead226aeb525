"""How good a model is on a split: a score with its interval, and the result of every image for paired comparisons.

The type knows no torch, so that pages can load stored evaluations; measuring imports it.
"""

import json
import math
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import MeasurementError
from ..progress import SILENT, Progress

if TYPE_CHECKING:
    from ..data.splits import Splits

__all__ = ["Evaluation", "evaluate"]

ARRAYS = (
    "confusion",
    "indices",
    "losses",
    "agreement",
    "confidence",
    "correct",
    "predictions",
    "targets",
    "image_confusions",
)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The measured quality of a model on ``n`` images of a split.

    ``metric``: accuracy or mIoU; ``score`` and its 95 % ``interval`` as fractions (Wilson; bootstrap over images);
    ``loss``: mean cross-entropy over images, NaN if it cannot be told; ``per_class``: accuracy or IoU of every class,
    None where it does not occur; ``confusion``: int64 ``[K, K]``, rows are targets (images, or pixels).

    Per image: ``indices`` int64 (position in the split), ``losses``, ``agreement`` (1 or 0; share of right pixels)
    and ``confidence`` (largest softmax value, mean over pixels) float32. Classification: ``correct`` bool,
    ``predictions`` (−1 where the output is not finite) and ``targets`` int64. Segmentation: ``image_confusions``
    int32 ``[n, K, K]``. ``data`` is the fingerprint of the splits; ``warnings`` are sentences for people.
    """

    split: str
    data: str
    metric: str
    n: int
    score: float
    interval: tuple[float, float]
    loss: float
    per_class: list[float | None]
    confusion: np.ndarray[Any, Any]
    indices: np.ndarray[Any, Any]
    losses: np.ndarray[Any, Any]
    agreement: np.ndarray[Any, Any]
    confidence: np.ndarray[Any, Any]
    correct: np.ndarray[Any, Any] | None = None
    predictions: np.ndarray[Any, Any] | None = None
    targets: np.ndarray[Any, Any] | None = None
    image_confusions: np.ndarray[Any, Any] | None = None
    warnings: tuple[str, ...] = ()

    def summary(self) -> dict[str, Any]:
        """The small numbers: n, metric, score, low, high, loss (None if unknown), per_class, split, warnings."""
        return {
            "n": self.n,
            "metric": self.metric,
            "score": self.score,
            "low": self.interval[0],
            "high": self.interval[1],
            "loss": self.loss if math.isfinite(self.loss) else None,
            "per_class": self.per_class,
            "split": self.split,
            "warnings": list(self.warnings),
        }

    def save(self, path: Path | str) -> None:
        """Write everything to one compressed npz file, without pickle."""
        head = {**self.summary(), "data": self.data}
        arrays = {name: getattr(self, name) for name in ARRAYS if getattr(self, name) is not None}
        with Path(path).open("wb") as file:
            np.savez_compressed(file, head=np.frombuffer(json.dumps(head).encode(), np.uint8), **arrays)

    @classmethod
    def load(cls, path: Path | str) -> "Evaluation":
        """Read what ``save`` wrote.

        Raises:
            MeasurementError: when the file is missing, damaged or something else.
        """
        try:
            with Path(path).open("rb") as opened, np.load(opened, allow_pickle=False) as file:
                head = json.loads(file["head"].tobytes())
                arrays = {name: file[name] for name in ARRAYS if name in file.files}
            return cls(
                split=head["split"],
                data=head["data"],
                metric=head["metric"],
                n=head["n"],
                score=head["score"],
                interval=(head["low"], head["high"]),
                loss=math.nan if head["loss"] is None else head["loss"],
                per_class=head["per_class"],
                warnings=tuple(head["warnings"]),
                **arrays,
            )
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
            raise MeasurementError(
                f"The evaluation {Path(path).name} cannot be read ({error}); evaluate the model again."
            ) from None


def evaluate(
    model: Callable[..., Any],
    splits: "Splits",
    split: str = "test",
    *,
    batch_size: int | None = None,
    limit: int | None = None,
    progress: Progress = SILENT,
) -> Evaluation:
    """Measure a model on a split, in eval mode and without gradients; its modes are put back afterwards.

    ``model``: a TracedModel, a module or any callable from float32 ``[N, C, H, W]`` to logits ``[N, K]`` or
    ``[N, K, h, w]`` (enlarged bilinearly to the masks' size). ``limit`` takes the stratified subset
    ``Split.indices(limit)``. ``batch_size`` None: about a million pixels, at most 250 images.

    Raises:
        DataError: when the model's outputs do not fit the classes of the data.
    """
    from .scoring import measure

    return measure(model, splits, split, batch_size=batch_size, limit=limit, progress=progress)
