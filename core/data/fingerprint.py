"""The identity of a data set: a hash of what was read, not of where it was read from."""

import hashlib
import json

import numpy as np

from ..progress import SILENT, Progress
from .raw import LazyImages, RawData

__all__ = ["fingerprint", "refined"]

BLOCK_BYTES = 1 << 24


def fingerprint(data: RawData, *, mean: tuple[float, ...], std: tuple[float, ...], progress: Progress = SILENT) -> str:
    """SHA-256 over images, targets, their division, classes and normalisation; the same in every process.

    Images that stay in files count with the bytes of their files.
    """
    digest = hashlib.sha256()
    header = [data.task, data.class_names, mean, std, data.ignore_index, data.augmentation]
    digest.update(json.dumps(header, ensure_ascii=True).encode())
    for name, split in data.splits.items():
        digest.update(f"{name} {split.images.shape} {split.targets.shape}".encode())
        if isinstance(split.images, LazyImages):
            for done, path in enumerate(split.images.paths):
                if done % 256 == 0:
                    progress.check()
                    progress.update(done, len(split), f"Fingerprinting the {name} images")
                with path.open("rb") as file:
                    digest.update(hashlib.file_digest(file, "sha256").digest())
        else:
            _update(digest, split.images, progress)
        _update(digest, split.targets, progress)
    return digest.hexdigest()


def refined(identity: str, change: object) -> str:
    """The identity of a view of a data set: the original's, and what was changed."""
    return hashlib.sha256(f"{identity} {json.dumps(change)}".encode()).hexdigest()


def _update(digest: "hashlib._Hash", array: np.ndarray, progress: Progress) -> None:
    flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
    for start in range(0, len(flat), BLOCK_BYTES):
        progress.check()
        digest.update(flat[start : start + BLOCK_BYTES])
