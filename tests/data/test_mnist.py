"""idx files: plain or gzipped, checked before they are believed."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from core.data.opening import open_data
from core.data.sources.mnist import read_idx
from core.errors import DataError

from .builders import build_idx, idx_bytes, random_images


def test_gzipped_files_give_the_same_data(tmp_path: Path) -> None:
    build_idx(tmp_path, "mnist", "MNIST")
    plain = open_data("mnist", root=tmp_path)
    for path in (tmp_path / "MNIST" / "raw").iterdir():
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    assert open_data("mnist", root=tmp_path).fingerprint == plain.fingerprint


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "must be an idx file"),
        (b"\x89PNG....", "must be an idx file"),
        (idx_bytes(random_images(3, 4, 4))[:-1], "must hold 48 bytes"),
        (idx_bytes(random_images(3, 4, 4)) + b"x", "must hold 48 bytes"),
        (b"\0\0\x08\x03\xff\xff\xff\xff\0\0\0\1\0\0\0\1", "must hold"),
        (b"\0\0\x08\x03\x7f\xff\xff\xff\x7f\xff\xff\xff\x7f\xff\xff\xff", "must hold"),
    ],
)
def test_damaged_files_are_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(DataError, match=reason):
        read_idx(tmp_path / "file")


def test_damaged_gzip_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file.gz").write_bytes(gzip.compress(idx_bytes(random_images(30, 4, 4)))[:-20])
    with pytest.raises(DataError, match=r"file\.gz cannot be read"):
        read_idx(tmp_path / "file.gz")


@pytest.mark.row("B36")
def test_labels_out_of_range_are_refused(tmp_path: Path) -> None:
    build_idx(tmp_path, "mnist", "MNIST")
    labels = np.full(100, 3, np.uint8)
    labels[17] = 200
    (tmp_path / "MNIST" / "raw" / "train-labels-idx1-ubyte").write_bytes(idx_bytes(labels))
    with pytest.raises(DataError, match="the first is 200 at train image 17"):
        open_data("mnist", root=tmp_path)


def test_missing_labels_are_named(tmp_path: Path) -> None:
    build_idx(tmp_path, "mnist", "MNIST")
    (tmp_path / "MNIST" / "raw" / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match="t10k-labels"):
        open_data("mnist", root=tmp_path)


def test_bare_files_are_read_but_not_mistaken(tmp_path: Path) -> None:
    build_idx(tmp_path, "fashion_mnist", "FashionMNIST")
    bare = tmp_path / "FashionMNIST" / "raw"
    assert len(open_data("fashion_mnist", root=bare).test) == 30
    assert open_data("fashion_mnist", root=bare).class_names[0] == "T-shirt/top"
