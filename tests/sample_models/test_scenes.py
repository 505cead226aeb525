"""Scenes: reproducible, every class on them, masks where the digits are, and hard to break."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from sample_models.scenes import CLASS_NAMES, make_scenes


def scans(count: int = 40) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    from sklearn.datasets import load_digits

    digits = load_digits()
    return np.round(digits.images[:count] * 255 / 16).astype(np.uint8), digits.target[:count]


def test_shapes_types_and_classes() -> None:
    images, masks = make_scenes(*scans(), count=60, size=64, seed=3)
    assert images.shape == (60, 3, 64, 64)
    assert masks.shape == (60, 64, 64)
    assert images.dtype == masks.dtype == np.uint8
    assert set(np.unique(masks)) == set(range(len(CLASS_NAMES)))
    ground = (masks == 0).mean()
    assert 0.5 < ground < 0.9
    assert all((mask > 0).any() for mask in masks)


def test_same_seed_same_scenes_and_more_scenes_begin_the_same() -> None:
    first, again, longer, other = (
        make_scenes(*scans(), count=count, seed=seed) for count, seed in ((5, 0), (5, 0), (9, 0), (5, 1))
    )
    for one, two, long, different in zip(first, again, longer, other, strict=True):
        assert np.array_equal(one, two)
        assert np.array_equal(one, long[:5])
        assert not np.array_equal(one, different)


def test_only_the_given_digits_occur() -> None:
    images, labels = scans(200)
    sevens = labels == 7
    _, masks = make_scenes(images[sevens], labels[sevens], count=10)
    assert set(np.unique(masks)) == {0, 8}


def test_digits_differ_from_the_ground_around_them() -> None:
    images, masks = make_scenes(*scans(), count=50)
    contrasts = [
        np.abs(image[:, mask > 0].astype(float).mean(1) - image[:, mask == 0].mean(1)).max() / 255
        for image, mask in zip(images, masks, strict=True)
    ]
    assert np.median(contrasts) > 0.05


@pytest.mark.parametrize("size", [16, 48, 97])
def test_other_sizes(size: int) -> None:
    images, masks = make_scenes(*scans(), count=2, size=size)
    assert images.shape == (2, 3, size, size)
    assert masks.shape == (2, size, size)


@pytest.mark.parametrize("side", [4, 8, 32])
def test_scans_of_any_size(side: int) -> None:
    _, masks = make_scenes(np.full((3, side, side), 255, np.uint8), np.array([0, 1, 2]), count=4)
    assert set(np.unique(masks)) <= {0, 1, 2, 3}
    assert masks.any()


def test_blank_scans_leave_no_trace_in_the_masks() -> None:
    _, masks = make_scenes(np.zeros((2, 8, 8), np.uint8), np.array([0, 1]), count=3)
    assert not masks.any()


@pytest.mark.parametrize(
    ("digits", "labels", "size", "words"),
    [
        (np.zeros((0, 8, 8), np.uint8), np.zeros(0, np.int64), 64, "need scans"),
        (np.zeros((2, 8, 8), np.uint8), np.zeros(3, np.int64), 64, "need scans"),
        (np.zeros((2, 64), np.uint8), np.zeros(2, np.int64), 64, "need scans"),
        (np.zeros((2, 8, 8), np.uint8), np.zeros(2, np.int64), 8, "at least 16"),
    ],
)
def test_impossible_wishes(digits: NDArray[np.uint8], labels: NDArray[np.int64], size: int, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make_scenes(digits, labels, count=1, size=size)


def test_package_and_generator_know_no_torch() -> None:
    code = "import sys; from sample_models import SAMPLES, scenes; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
