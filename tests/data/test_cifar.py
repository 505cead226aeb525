"""CIFAR batches: any length, any pickle protocol, and nothing run that a pickle asks for."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from core.data.opening import open_data
from core.data.sources.cifar import read_batch
from core.errors import DataError

from .builders import build_cifar10, random_images, write_cifar_batch


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_pickle_protocol_is_read(tmp_path: Path, protocol: int) -> None:
    pixels = random_images(5, 3072)
    (tmp_path / "batch").write_bytes(pickle.dumps({"data": pixels, "labels": [0, 1, 2, 3, 4]}, protocol=protocol))
    body = read_batch(tmp_path / "batch")
    assert np.array_equal(body["data"], pixels)
    assert body["labels"] == [0, 1, 2, 3, 4]


def test_batches_of_python_2_are_read(tmp_path: Path) -> None:
    # As in the original files: byte strings as keys and names, numpy.core.multiarray, latin-1 pixels.
    pixels = random_images(2, 3072)
    constructor = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"
    dtype = b"(I1\n(I2\nI3072\ntcnumpy\ndtype\n(S'u1'\nI0\nI1\ntR(I3\nS'|'\nNNNI-1\nI-1\nI0\ntbI00\n"
    content = b"T" + len(pixels.tobytes()).to_bytes(4, "little") + pixels.tobytes() + b"tb"
    (tmp_path / "batch").write_bytes(b"(dS'labels'\n(lI3\naI7\nasS'data'\n" + constructor + dtype + content + b"s.")
    body = read_batch(tmp_path / "batch")
    assert body["labels"] == [3, 7]
    assert np.array_equal(body["data"], pixels)


class _Canary:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.system, (f"touch {self.path}",)


@pytest.mark.row("B04")
def test_code_in_a_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    build_cifar10(tmp_path)
    canary = tmp_path / "canary"
    (tmp_path / "cifar-10-batches-py" / "test_batch").write_bytes(pickle.dumps({"data": _Canary(canary)}))
    with pytest.raises(DataError, match=r"test_batch cannot be read: it asks for .*system"):
        open_data("cifar10", root=tmp_path)
    assert not canary.exists()


@pytest.mark.row("B36")
@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        ([0, 1, 10], "must lie in 0 … 9; 1 do not, the first is 10 at image 2"),
        ([0, -1, 2], "must lie in 0 … 9; 1 do not, the first is -1 at image 1"),
        ([0.0, 1.5, 2.0], "list of whole numbers"),
        ([0, [1], 2], "list of whole numbers"),
    ],
)
def test_wrong_labels_are_refused(tmp_path: Path, labels: list, reason: str) -> None:
    build_cifar10(tmp_path)
    write_cifar_batch(tmp_path / "cifar-10-batches-py" / "data_batch_2", labels)
    with pytest.raises(DataError, match="data_batch_2") as error:
        open_data("cifar10", root=tmp_path)
    assert reason in str(error.value)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (random_images(3, 784), "must have 3072 values"),
        (random_images(3, 3072).astype(np.float32), "must be a uint8 array"),
        (random_images(2, 3072), "one label per image; it has 3 for 2"),
        ("pixels", "must be a uint8 array"),
    ],
)
def test_wrong_pixels_are_refused(tmp_path: Path, data: object, reason: str) -> None:
    build_cifar10(tmp_path)
    write_cifar_batch(tmp_path / "cifar-10-batches-py" / "data_batch_1", [0, 1, 2], data=data)
    with pytest.raises(DataError, match=reason):
        open_data("cifar10", root=tmp_path)


@pytest.mark.parametrize("content", [b"", b"\x80\x04", b"not a pickle", pickle.dumps([1, 2])])
def test_damaged_batches_are_named(tmp_path: Path, content: bytes) -> None:
    build_cifar10(tmp_path)
    (tmp_path / "cifar-10-batches-py" / "data_batch_1").write_bytes(content)
    with pytest.raises(DataError, match="data_batch_1"):
        open_data("cifar10", root=tmp_path)


def test_truncated_batch_is_named(tmp_path: Path) -> None:
    build_cifar10(tmp_path)
    path = tmp_path / "cifar-10-batches-py" / "test_batch"
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(DataError, match="test_batch cannot be read"):
        open_data("cifar10", root=tmp_path)


def test_class_names_come_from_the_meta_file(tmp_path: Path) -> None:
    build_cifar10(tmp_path)
    assert open_data("cifar10", root=tmp_path).class_names[3] == "thing 3"
    (tmp_path / "cifar-10-batches-py" / "batches.meta").unlink()
    assert open_data("cifar10", root=tmp_path / "cifar-10-batches-py").class_names[3] == "class 3"
