"""The data sets that come without any download: digits and scenes."""

import numpy as np
import pytest

from core.data.opening import open_data
from core.data.sources.digits import digit_scans
from core.data.sources.scenes import SCENE_COUNTS


@pytest.mark.parametrize("source", ["digits", "scenes"])
def test_stated_normalisation_is_that_of_the_training_pixels(source: str) -> None:
    splits = open_data(source)
    pixels = splits.train.images.float() / 255
    assert np.allclose(splits.mean, pixels.mean((0, 2, 3)), atol=0.02)
    assert np.allclose(splits.std, pixels.std((0, 2, 3)), atol=0.02)


def test_digits_are_the_scans_of_scikit_learn() -> None:
    scans = digit_scans()
    assert sum(len(labels) for _, labels in scans.values()) == 1797
    for images, labels in scans.values():
        assert images.shape[1:] == (32, 32)
        assert images.max() == 255
        counts = np.bincount(labels, minlength=10)
        assert counts.max() - counts.min() <= 0.05 * len(labels)


def test_division_does_not_depend_on_the_specification() -> None:
    # Shipped weights were trained on the training split: nobody's seed may move a scan into select or test.
    assert open_data("digits", seed=5, select_fraction=0.5).fingerprint == open_data("digits").fingerprint


def test_scenes_have_their_counts_and_every_digit() -> None:
    splits = open_data("scenes")
    assert {name: len(splits.split(name)) for name in SCENE_COUNTS} == SCENE_COUNTS
    assert splits.class_names[0] == "ground"
    assert all(count > 0 for count in splits.test.counts(splits.num_classes))
