"""CIFAR-10 and CIFAR-100: python batches of any length, read without running anything that a pickle asks for."""

import io
import pickle
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ...errors import DataError
from ...progress import SILENT, Progress
from ..division import carve_select, limited
from ..download import Archive, fetch_archive
from ..raw import RawData, RawSplit
from ..specs import DataSpec
from . import DATA_SOURCES
from .base import DataSource

__all__ = ["Cifar10", "Cifar100", "read_batch"]

PIXELS = 3 * 32 * 32


class _ArraysOnly(pickle.Unpickler):
    """Builds dicts, lists, text, numbers and numpy arrays; whatever else a pickle names is refused."""

    def find_class(self, module: str, name: str) -> Any:
        if name == "_reconstruct" and module in ("numpy.core.multiarray", "numpy._core.multiarray"):
            return _empty_array
        if name == "_frombuffer" and module in ("numpy.core.numeric", "numpy._core.numeric"):  # protocol 5
            return _array_from
        if (module, name) == ("numpy", "ndarray"):
            return np.ndarray
        if (module, name) == ("numpy", "dtype"):
            return np.dtype
        if (module, name) == ("_codecs", "encode"):  # how Python 3 writes bytes into protocol 2
            return _latin1_bytes
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is no part of a CIFAR batch")


def _empty_array(*_: Any) -> np.ndarray[Any, Any]:
    """The array that the pickle then fills: whatever shape is asked for, nothing is allocated before data come."""
    return np.ndarray.__new__(np.ndarray, (0,), "b")


def _array_from(content: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray[Any, Any]:
    return np.frombuffer(content, dtype).reshape(shape, order=order)


def _latin1_bytes(text: str, _: str = "latin1") -> bytes:
    return text.encode("latin1")


def read_batch(path: Path) -> dict[str, Any]:
    """The dict of a CIFAR python batch, with text keys.

    Raises:
        DataError: when the file is damaged, or holds anything but arrays and plain values.
    """
    try:
        body = _ArraysOnly(io.BytesIO(path.read_bytes()), encoding="latin1").load()
    except Exception as error:  # a damaged pickle raises almost anything
        raise DataError(f"The CIFAR batch {path.name} cannot be read: {error or type(error).__name__}.") from None
    if not isinstance(body, dict):
        raise DataError(f"The CIFAR batch {path.name} must be a dict; it is a {type(body).__name__}.")
    return {key.decode("latin1") if isinstance(key, bytes) else str(key): value for key, value in body.items()}


class _Cifar(DataSource):
    """What the two CIFAR data sets share."""

    fields: ClassVar[tuple[str, ...]] = ("root", "mean", "std", "select_fraction", "limit", "download", "seed")
    can_download: ClassVar[bool] = True
    batches_folder: ClassVar[str]
    label_key: ClassVar[str]
    names_key: ClassVar[str]
    num_classes: ClassVar[int]
    mean: ClassVar[tuple[float, ...]]
    std: ClassVar[tuple[float, ...]]

    def train_files(self, folder: Path) -> list[Path]:
        """The batches of the training split, in order."""
        raise NotImplementedError

    def test_file(self, folder: Path) -> Path:
        """The batch of the test split."""
        raise NotImplementedError

    def meta_file(self, folder: Path) -> Path:
        """The file with the class names."""
        raise NotImplementedError

    def matches(self, folder: Path) -> bool:
        """Whether this folder is, or holds, the folder with the python batches."""
        return self._batches(folder) is not None

    def _batches(self, folder: Path) -> Path | None:
        for place in (folder / self.batches_folder, folder):
            if self.test_file(place).is_file() and self.train_files(place):
                return place
        return None

    def read(self, spec: DataSpec, folder: Path | None, *, progress: Progress = SILENT) -> RawData:
        """See ``DataSource.read``; ``folder`` is that of the batches, or the one above it."""
        place = None if folder is None else self._batches(folder)
        if place is None:
            raise DataError(
                f"{self.title} must be the python batches in “{self.batches_folder}” (training batches and a test "
                f"batch); they are not in {folder}."
            )
        files = [*self.train_files(place), self.test_file(place)]
        parts = []
        for done, path in enumerate(files):
            progress.check()
            progress.update(done, len(files), f"Reading {path.name}")
            parts.append(self._examples(path))
        joined = RawSplit(
            np.concatenate([part.images for part in parts[:-1]]), np.concatenate([part.targets for part in parts[:-1]])
        )
        train, select = carve_select(joined, fraction=spec.select_fraction, seed=spec.seed)
        whole = {"train": train, "select": select, "test": parts[-1]}
        return RawData(
            task="classification",
            class_names=self._class_names(place),
            splits={name: limited(part, spec.limit) for name, part in whole.items()},
            mean=self.mean,
            std=self.std,
            augmentation="shift_flip",
        )

    def download(self, folder: Path, *, progress: Progress = SILENT) -> None:
        """Fetch the archive that torchvision names, check it, and write its batches below ``folder``."""
        from torchvision import datasets

        known = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[self.key]
        names = [name for name, _ in [*known.train_list, *known.test_list]] + [known.meta["filename"]]
        fetch_archive(
            Archive(urls=(known.url,), md5=known.tgz_md5, title=self.title),
            {f"{known.base_folder}/{name}": folder / known.base_folder / name for name in names},
            progress=progress,
        )

    def _examples(self, path: Path) -> RawSplit:
        body = read_batch(path)
        pixels, labels = body.get("data"), body.get(self.label_key)
        if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.ndim != 2:
            raise DataError(f"“data” in {path.name} must be a uint8 array [n, {PIXELS}]; it is {_kind(pixels)}.")
        if pixels.shape[1] != PIXELS:
            raise DataError(f"Images in {path.name} must have {PIXELS} values (3×32×32); they have {pixels.shape[1]}.")
        return RawSplit(pixels.reshape(-1, 3, 32, 32), self._labels(labels, len(pixels), path))

    def _labels(self, labels: Any, count: int, path: Path) -> np.ndarray[Any, Any]:
        try:
            array = np.asarray(labels)
        except ValueError:
            array = np.array(None)
        if array.ndim != 1 or not np.issubdtype(array.dtype, np.integer):
            raise DataError(
                f"“{self.label_key}” in {path.name} must be a list of whole numbers; it is {_kind(labels)}."
            )
        if len(array) != count:
            raise DataError(f"{path.name} must have one label per image; it has {len(array)} for {count} images.")
        wrong = np.flatnonzero((array < 0) | (array >= self.num_classes))
        if len(wrong):
            raise DataError(
                f"Labels in {path.name} must lie in 0 … {self.num_classes - 1}; {len(wrong)} do not, the first is "
                f"{array[wrong[0]]} at image {wrong[0]}."
            )
        return array.astype(np.int64)

    def _class_names(self, place: Path) -> tuple[str, ...]:
        file = self.meta_file(place)
        names = read_batch(file).get(self.names_key) if file.is_file() else None
        if isinstance(names, list) and len(names) == self.num_classes:
            return tuple(name.decode("latin1") if isinstance(name, bytes) else str(name) for name in names)
        return tuple(f"class {index}" for index in range(self.num_classes))


def _kind(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {list(value.shape)}"
    return "missing" if value is None else f"a {type(value).__name__}"


class Cifar10(_Cifar):
    """CIFAR-10: 32×32 photographs in 10 classes, as python batches of any length."""

    key = "cifar10"
    title = "CIFAR-10"
    batches_folder = "cifar-10-batches-py"
    label_key = "labels"
    names_key = "label_names"
    num_classes = 10
    mean = (0.4914, 0.4822, 0.4465)
    std = (0.2470, 0.2435, 0.2616)

    def train_files(self, folder: Path) -> list[Path]:
        """``data_batch_1``, ``data_batch_2``, …: as many as there are."""
        return sorted(folder.glob("data_batch_[0-9]*"))

    def test_file(self, folder: Path) -> Path:
        """``test_batch``."""
        return folder / "test_batch"

    def meta_file(self, folder: Path) -> Path:
        """``batches.meta``."""
        return folder / "batches.meta"


class Cifar100(_Cifar):
    """CIFAR-100: 32×32 photographs in 100 classes, as python batches of any length."""

    key = "cifar100"
    title = "CIFAR-100"
    batches_folder = "cifar-100-python"
    label_key = "fine_labels"
    names_key = "fine_label_names"
    num_classes = 100
    mean = (0.5071, 0.4865, 0.4409)
    std = (0.2673, 0.2564, 0.2762)

    def train_files(self, folder: Path) -> list[Path]:
        """The file ``train``."""
        return [folder / "train"] if (folder / "train").is_file() else []

    def test_file(self, folder: Path) -> Path:
        """The file ``test``."""
        return folder / "test"

    def meta_file(self, folder: Path) -> Path:
        """The file ``meta``."""
        return folder / "meta"


DATA_SOURCES.register(Cifar10.key)(Cifar10())
DATA_SOURCES.register(Cifar100.key)(Cifar100())
