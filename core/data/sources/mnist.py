"""MNIST and Fashion-MNIST: idx files, plain or gzipped, as torchvision stores them."""

import gzip
import math
import zlib
from pathlib import Path
from typing import ClassVar

import numpy as np

from ...errors import DataError
from ...progress import SILENT, Progress
from ..division import carve_select, limited
from ..download import Archive, fetch_gzip
from ..raw import Augmentation, RawData, RawSplit
from ..specs import DataSpec
from . import DATA_SOURCES
from .base import DataSource

__all__ = ["FashionMnist", "Mnist", "read_idx"]

IDX_UINT8 = 0x08


def read_idx(path: Path) -> np.ndarray:
    """An idx file of bytes (``.gz`` or plain) as a uint8 array.

    Format: two zero bytes, type 8 (unsigned byte), number of dimensions, their sizes as big-endian int32, the values
    (http://yann.lecun.com/exdb/mnist).

    Raises:
        DataError: when the file is damaged, cut off, or holds something else.
    """
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"The file {path.name} cannot be read: {error}.") from None
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] != IDX_UINT8 or not 1 <= content[3] <= 4:
        raise DataError(f"{path.name} must be an idx file of bytes; it begins with {content[:4].hex() or 'nothing'}.")
    dimensions = content[3]
    start = 4 + 4 * dimensions
    shape = np.frombuffer(content[4:start].ljust(4 * dimensions, b"\0"), ">i4").tolist()
    expected, came = math.prod(shape), len(content) - start
    if min(shape) < 0 or expected != came:
        raise DataError(f"{path.name} must hold {expected:,} bytes of shape {shape}; it holds {max(came, 0):,}.")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape).copy()


class _Idx(DataSource):
    """What MNIST and the data sets made in its form share."""

    fields: ClassVar[tuple[str, ...]] = ("root", "mean", "std", "select_fraction", "limit", "download", "seed")
    can_download: ClassVar[bool] = True
    folder_name: ClassVar[str]
    class_names: ClassVar[tuple[str, ...]]
    mean: ClassVar[tuple[float, ...]]
    std: ClassVar[tuple[float, ...]]
    augmentation: ClassVar[Augmentation]

    def matches(self, folder: Path) -> bool:
        """Whether the folder holds torchvision's ``MNIST/raw`` (or its like), or is one of these two folders.

        Bare idx files could be any data set of this form, so they count only under the right name.
        """
        named = folder.name == self.folder_name or (folder.name == "raw" and folder.parent.name == self.folder_name)
        places = [folder / self.folder_name / "raw"] + ([folder, folder / "raw"] if named else [])
        return any(_idx_file(place, "t10k-images") is not None for place in places)

    def read(self, spec: DataSpec, folder: Path | None, *, progress: Progress = SILENT) -> RawData:
        """See ``DataSource.read``; ``folder`` is torchvision's root, or the folder of the idx files itself."""
        places = [] if folder is None else [folder / self.folder_name / "raw", folder / "raw", folder]
        place = next((place for place in places if _idx_file(place, "train-images")), None)
        if place is None:
            raise DataError(
                f"{self.title} must be idx files in “{self.folder_name}/raw” (train-images-idx3-ubyte, …, plain or "
                f".gz); they are not in {folder}."
            )
        progress.update(0, 2, f"Reading {self.title}")
        train, select = carve_select(self._examples(place, "train"), fraction=spec.select_fraction, seed=spec.seed)
        progress.check()
        progress.update(1, 2, f"Reading {self.title}")
        whole = {"train": train, "select": select, "test": self._examples(place, "t10k")}
        return RawData(
            task="classification",
            class_names=self.class_names,
            splits={name: limited(part, spec.limit) for name, part in whole.items()},
            mean=self.mean,
            std=self.std,
            augmentation=self.augmentation,
        )

    def download(self, folder: Path, *, progress: Progress = SILENT) -> None:
        """Fetch the four files from the mirrors that torchvision names, and check them."""
        from torchvision import datasets

        known = {"mnist": datasets.MNIST, "fashion_mnist": datasets.FashionMNIST}[self.key]
        for filename, md5 in known.resources:
            archive = Archive(
                urls=tuple(f"{mirror}{filename}" for mirror in known.mirrors), md5=md5, title=f"{self.title} {filename}"
            )
            fetch_gzip(archive, folder / self.folder_name / "raw" / filename.removesuffix(".gz"), progress=progress)

    def _examples(self, place: Path, prefix: str) -> RawSplit:
        files = [_idx_file(place, f"{prefix}-{what}") for what in ("images", "labels")]
        if None in files:
            raise DataError(f"{self.title} must have {prefix}-images and {prefix}-labels in {place}; one is missing.")
        images, labels = (read_idx(file) for file in files if file is not None)
        if images.ndim != 3 or labels.ndim != 1 or len(images) != len(labels):
            raise DataError(
                f"{prefix} of {self.title} must be images [n, h, w] and labels [n]; they are {list(images.shape)} and "
                f"{list(labels.shape)}."
            )
        wrong = np.flatnonzero(labels >= len(self.class_names))
        if len(wrong):
            raise DataError(
                f"Labels of {self.title} must lie in 0 … {len(self.class_names) - 1}; {len(wrong)} do not, the first "
                f"is {labels[wrong[0]]} at {prefix} image {wrong[0]}."
            )
        return RawSplit(images[:, None], labels.astype(np.int64))


def _idx_file(place: Path, stem: str) -> Path | None:
    rank = "3" if stem.endswith("images") else "1"
    names = (f"{stem}-idx{rank}-ubyte", f"{stem}.idx{rank}-ubyte")
    candidates = [place / f"{name}{ending}" for name in names for ending in ("", ".gz")]
    return next((path for path in candidates if path.is_file()), None)


class Mnist(_Idx):
    """MNIST: 70,000 handwritten digits, 28×28, grey."""

    key = "mnist"
    title = "MNIST"
    folder_name = "MNIST"
    class_names = tuple("0123456789")
    mean = (0.1307,)
    std = (0.3081,)
    augmentation = "shift"


class FashionMnist(_Idx):
    """Fashion-MNIST: 70,000 pictures of clothes, 28×28, grey."""

    key = "fashion_mnist"
    title = "Fashion-MNIST"
    folder_name = "FashionMNIST"
    class_names = (
        "T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot",
    )  # fmt: skip
    mean = (0.2860,)
    std = (0.3530,)
    augmentation = "shift_flip"


DATA_SOURCES.register(Mnist.key)(Mnist())
DATA_SOURCES.register(FashionMnist.key)(FashionMnist())
