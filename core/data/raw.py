"""What a data source returns: plain numpy arrays, divided into three splits. Knows no torch, so sources start fast."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..errors import DataError
from ..models.specs import Task

__all__ = ["SPLIT_NAMES", "Augmentation", "LazyImages", "RawData", "RawSplit", "decoding_threads"]

SPLIT_NAMES = ("train", "select", "test")
Augmentation = Literal["none", "shift", "flip", "shift_flip"]


def decoding_threads() -> ThreadPoolExecutor:
    """A small pool for decoding: Pillow releases the interpreter lock while it decodes."""
    return ThreadPoolExecutor(max_workers=4, thread_name_prefix="decode")


class LazyImages:
    """Images that stay in their files and are decoded when a batch asks for them.

    ``decode`` maps a path to uint8 ``[C, H, W]`` of exactly ``shape``; it raises ``DataError`` naming a damaged file.
    """

    def __init__(
        self, paths: Sequence[Path], decode: Callable[[Path], np.ndarray], *, shape: tuple[int, int, int]
    ) -> None:
        self.paths = tuple(paths)
        self.decode = decode
        self.image_shape = shape

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """N, C, H, W."""
        return (len(self.paths), *self.image_shape)

    def take(self, indices: Sequence[int]) -> np.ndarray:
        """Decode some images: uint8 ``[len(indices), C, H, W]``."""
        chosen = [self.paths[index] for index in indices]
        images = np.empty((len(chosen), *self.image_shape), np.uint8)
        with decoding_threads() as threads:
            for row, pixels in enumerate(threads.map(self.decode, chosen)):
                images[row] = pixels
        return images


@dataclass(frozen=True, eq=False)
class RawSplit:
    """``images``: uint8 ``[N, C, H, W]`` or lazy; ``targets``: int64 ``[N]``, or uint8 ``[N, H, W]`` for masks."""

    images: np.ndarray[Any, Any] | LazyImages
    targets: np.ndarray[Any, Any]

    def __post_init__(self) -> None:
        if len(self.images) != len(self.targets):
            raise DataError(f"There must be one target per image; got {len(self.images)} and {len(self.targets)}.")

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True, eq=False)
class RawData:
    """A data set as its source read it: three disjoint splits (train, select, test) and what belongs to them.

    ``mean`` and ``std`` are the data set's usual normalisation, per channel, on a scale of 0 to 1.
    ``augmentation`` says what training may do to an image without changing its label.
    """

    task: Task
    class_names: tuple[str, ...]
    splits: Mapping[str, RawSplit]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    augmentation: Augmentation = "none"
    ignore_index: int | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if tuple(self.splits) != SPLIT_NAMES:
            raise DataError(f"The splits must be {', '.join(SPLIT_NAMES)} in this order; got {', '.join(self.splits)}.")
