"""The real data sets of shared/data: counts, classes and pixels."""

import tarfile
import time
from pathlib import Path

import numpy as np
import pytest

from core.data.discovery import discover_data
from core.data.opening import open_data
from core.data.sources.mnist import read_idx


def test_the_shared_data_are_found(shared_data: Path) -> None:
    found = {(spec.source, spec.root) for spec in discover_data(shared_data)}
    assert found == {("cifar10", "cifar10-mini"), ("mnist", "mnist"), ("segmentation_folder", "CamVid")}


def test_mnist_loads_in_seconds(shared_data: Path) -> None:
    started = time.process_time()
    splits = open_data("mnist", root=shared_data / "mnist")
    assert time.process_time() - started < 10
    assert [len(splits.train), len(splits.select), len(splits.test)] == [48_000, 12_000, 10_000]
    raw = read_idx(shared_data / "mnist" / "MNIST" / "raw" / "t10k-images-idx3-ubyte")
    assert np.array_equal(splits.test.images[:, 0].numpy(), raw)
    # The published deviations are of these pixels, so the normalised training images have mean 0 and deviation 1.
    x, _ = next(splits.train.batches(5000))
    assert abs(float(x.mean())) < 0.02
    assert abs(float(x.std()) - 1) < 0.02


def test_cifar10_keeps_its_whole_test_batch(shared_data: Path) -> None:
    splits = open_data("cifar10", root=shared_data / "cifar10-mini")
    assert len(splits.train) + len(splits.select) == 5085
    assert len(splits.test) == 1017
    assert splits.class_names[:2] == ("airplane", "automobile")
    shares = np.array([split.counts(10) for split in (splits.train, splits.select)], float)
    shares /= shares.sum(1, keepdims=True)
    assert np.abs(shares[0] - shares[1]).max() < 0.002


def test_camvid_in_eleven_classes(shared_data: Path) -> None:
    splits = open_data("segmentation_folder", root=shared_data / "CamVid")
    assert [len(splits.train), len(splits.select), len(splits.test)] == [367, 101, 233]
    assert splits.class_names[0] == "sky"
    assert splits.num_classes == 11
    assert splits.ignore_index == 11
    counts = np.sum([split.counts(12) for split in (splits.train, splits.select, splits.test)], axis=0)
    # README: shares of pixels over all 701 (in per cent), void last.
    stated = [15.8, 24.1, 1.0, 29.3, 6.7, 11.2, 1.1, 1.4, 4.6, 0.6, 0.5, 3.6]
    assert np.abs(100 * counts / counts.sum() - stated).max() < 0.06


@pytest.mark.slow
def test_cifar10_jpeg_as_an_image_folder(shared_data: Path, tmp_path: Path) -> None:
    with tarfile.open(shared_data / "cifar10-jpeg" / "cifar10-jpeg.tar.gz") as tar:
        tar.extractall(tmp_path, filter="data")
    (folder,) = {path.parent for path in tmp_path.rglob("train")}
    splits = open_data("image_folder", root=folder)
    assert [len(splits.train), len(splits.select), len(splits.test)] == [40_000, 10_000, 10_000]
    assert splits.input_shape == (3, 32, 32)
    assert splits.class_names[0] == "airplane"
    assert splits.test.counts(10) == [1000] * 10
    assert splits.notes == ()
