"""Images whose prediction changed, small enough to be kept with a variant and shown by a server without torch.

Shapes: k images, H rows, W columns, C channels (1 or 3).
"""

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import MeasurementError
from .evaluation import Evaluation
from .statistics import changed_images

__all__ = ["Gallery", "flipped"]

_ARRAYS = ("indices", "images", "truth", "dense", "pruned", "changed_share", "dense_value", "pruned_value")


@dataclass(frozen=True, eq=False)
class Gallery:
    """Some of the ``changed`` images (of ``n`` that were looked at) whose prediction is not the dense model's.

    ``indices`` int64 ``[k]``: position in the split; ``images`` uint8 ``[k, H, W, C]``, perhaps made smaller.
    Classification: ``truth``, ``dense``, ``pruned`` int64 ``[k]`` (−1: the output was not finite), values are the
    confidences, ``changed_share`` is 1. Segmentation: uint8 masks ``[k, H, W]`` (255 where the truth is to be ignored),
    values are the shares of right pixels, ``changed_share`` that of pixels whose class changed; most changed first.
    """

    task: str
    split: str
    data: str
    n: int
    changed: int
    class_names: tuple[str, ...]
    indices: np.ndarray[Any, Any]
    images: np.ndarray[Any, Any]
    truth: np.ndarray[Any, Any]
    dense: np.ndarray[Any, Any]
    pruned: np.ndarray[Any, Any]
    changed_share: np.ndarray[Any, Any]
    dense_value: np.ndarray[Any, Any]
    pruned_value: np.ndarray[Any, Any]

    def __len__(self) -> int:
        return len(self.indices)

    def save(self, path: Path | str) -> None:
        """Write everything to one compressed npz file, without pickle."""
        head = {name: getattr(self, name) for name in ("task", "split", "data", "n", "changed", "class_names")}
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        with Path(path).open("wb") as file:
            np.savez_compressed(file, head=np.frombuffer(json.dumps(head).encode(), np.uint8), **arrays)

    @classmethod
    def load(cls, path: Path | str) -> "Gallery":
        """Read what ``save`` wrote.

        Raises:
            MeasurementError: when the file is missing, damaged or something else.
        """
        try:
            with Path(path).open("rb") as opened, np.load(opened, allow_pickle=False) as file:
                head = json.loads(file["head"].tobytes())
                arrays = {name: file[name] for name in _ARRAYS}
            return cls(**{**head, "class_names": tuple(head["class_names"])}, **arrays)
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
            raise MeasurementError(
                f"The stored images {Path(path).name} cannot be read ({error}); make the gallery again."
            ) from None


def flipped(dense: Evaluation, variant: Evaluation, count: int) -> tuple[np.ndarray[Any, Any], int]:
    """Rows of the evaluations whose predicted class changed, ``count`` at most, and how many there are.

    The true classes take turns, so that one class with many flips does not hide the others; within a class those whose
    loss changed most come first.

    Raises:
        MeasurementError: when the evaluations are not of the same images, or not of single labels.
    """
    changed_images(dense, variant)  # refuses what cannot be paired
    if dense.predictions is None or variant.predictions is None or dense.targets is None:
        raise MeasurementError("Flips need the predicted class of every image; evaluate both models again.")
    rows = np.flatnonzero(dense.predictions != variant.predictions)
    size = np.abs(np.nan_to_num(variant.losses[rows] - dense.losses[rows], posinf=1e9, neginf=-1e9))
    rows = rows[np.argsort(-size, kind="stable")]
    labels = dense.targets[rows]
    turn = np.zeros(len(rows), np.int64)
    for label in np.unique(labels):
        mine = labels == label
        turn[mine] = np.arange(np.count_nonzero(mine))
    return rows[np.argsort(turn, kind="stable")][:count], len(rows)
