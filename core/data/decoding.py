"""Reading many image files at once: in threads, with bad files named and left out, or lazily when they are too many."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from ..errors import DataError
from ..progress import Progress
from .files import BadFile, image_size_of, read_image
from .notes import Notes
from .raw import LazyImages, decoding_threads

__all__ = ["LEFT_OUT", "MEMORY_BYTES_AT_MOST", "decode_images", "fits_memory", "lazy_images"]

MEMORY_BYTES_AT_MOST = 1_500_000_000
CHUNK = 128
LEFT_OUT = "could not be used and left out"

Decoder = Callable[[Path], tuple[np.ndarray, list[str]]]


def fits_memory(count: int, size: tuple[int, int]) -> bool:
    """Whether that many RGB images of (height, width) are kept in memory rather than decoded batch by batch."""
    return count * 3 * size[0] * size[1] <= MEMORY_BYTES_AT_MOST


def decode_images(
    paths: Sequence[Path],
    decode: Decoder,
    *,
    shape: tuple[int, ...],
    base: Path,
    notes: Notes,
    progress: Progress,
    message: str,
) -> tuple[np.ndarray, np.ndarray]:
    """Decode files into uint8 ``[n, *shape]``; returns it with the indices of the files that could be read.

    The others are noted by their name below ``base`` and their reason.
    """
    images = np.empty((len(paths), *shape), np.uint8)
    readable = np.zeros(len(paths), bool)

    def attempt(path: Path) -> tuple[np.ndarray, list[str]] | BadFile:
        try:
            return decode(path)
        except BadFile as problem:
            return problem

    with decoding_threads() as threads:
        for start in range(0, len(paths), CHUNK):
            progress.check()
            progress.update(start, len(paths), message)
            chunk = paths[start : start + CHUNK]
            for offset, outcome in enumerate(threads.map(attempt, chunk)):
                name = chunk[offset].relative_to(base).as_posix()
                if isinstance(outcome, BadFile):
                    notes.add(LEFT_OUT, f"{name} ({outcome})")
                else:
                    images[start + offset], remarks = outcome
                    readable[start + offset] = True
                    notes.extend(remarks, name)
    kept = np.flatnonzero(readable)
    return (images if len(kept) == len(paths) else images[kept]), kept


def lazy_images(
    paths: Sequence[Path], *, size: tuple[int, int], crop: bool, base: Path, notes: Notes
) -> tuple[LazyImages, np.ndarray]:
    """Images that stay in their files; returns them with the indices of the files whose header could be read."""
    kept = []
    for index, path in enumerate(paths):
        if image_size_of(path) is None:
            notes.add(LEFT_OUT, path.relative_to(base).as_posix())
        else:
            kept.append(index)

    def decode(path: Path) -> np.ndarray:
        try:
            return read_image(path, size=size, crop=crop)[0]
        except BadFile as problem:
            raise DataError(
                f"The image {path.relative_to(base).as_posix()} cannot be read: {problem}. Repair or remove it."
            ) from None

    lazy = LazyImages([paths[index] for index in kept], decode, shape=(3, *size))
    return lazy, np.array(kept, np.int64)
