"""Splits: batches, subsets, fitting to a model."""

import numpy as np
import pytest
import torch
from PIL import Image

from core.data.opening import open_data
from core.data.splits import Splits
from core.errors import DataError, RegistryError


@pytest.fixture(scope="module")
def digits() -> Splits:
    return open_data("digits")


def test_batches_are_normalised_pixels(digits: Splits) -> None:
    x, y = next(digits.test.batches(16))
    expected = (digits.test.images[:16].float() / 255 - digits.mean[0]) / digits.std[0]
    assert torch.allclose(x, expected, atol=1e-6)
    assert torch.equal(y, digits.test.targets[:16])


def test_batches_cover_every_example_once(digits: Splits) -> None:
    generator = torch.Generator().manual_seed(1)
    shuffled = torch.cat([y for _, y in digits.select.batches(50, shuffle=True, generator=generator)])
    assert len(shuffled) == len(digits.select)
    assert torch.equal(shuffled.sort().values, digits.select.targets.sort().values)
    assert not torch.equal(shuffled, digits.select.targets)


def test_same_generator_same_batches(digits: Splits) -> None:
    def epoch() -> torch.Tensor:
        generator = torch.Generator().manual_seed(7)
        batches = digits.train.batches(64, shuffle=True, augment=True, generator=generator, limit=200)
        return torch.cat([x for x, _ in batches])

    assert torch.equal(epoch(), epoch())


def test_limit_is_stratified_and_nested(digits: Splits) -> None:
    small, large = digits.test.indices(50), digits.test.indices(120)
    assert set(small) <= set(large)
    counts = np.bincount(digits.test.labels[small], minlength=10)
    assert counts.min() >= 4
    assert sum(len(y) for _, y in digits.test.batches(32, limit=50)) == 50


@pytest.mark.row("B37")
def test_grey_becomes_rgb_of_the_models_size(digits: Splits) -> None:
    fitted = digits.fitted_to((3, 48, 40))
    x, _ = next(fitted.test.batches(4))
    assert x.shape == (4, 3, 48, 40)
    assert torch.equal(x[:, 0], x[:, 2])
    assert fitted.mean == digits.mean * 3
    assert len(fitted.notes) == len(digits.notes) + 2
    assert fitted.fingerprint != digits.fingerprint
    assert fitted.test.image(0).shape == (48, 40, 3)
    assert digits.fitted_to(digits.input_shape) is digits


@pytest.mark.row("B37")
def test_rgb_becomes_grey_as_pillow_does() -> None:
    scenes = open_data("scenes", limit=20)
    fitted = scenes.fitted_to((1, 64, 64))
    for index in range(3):
        expected = np.asarray(Image.fromarray(scenes.test.image(index)).convert("L"))
        assert np.abs(fitted.test.image(index)[..., 0].astype(int) - expected).max() <= 1


def test_masks_are_resized_to_the_nearest_pixel() -> None:
    scenes = open_data("scenes", limit=20)
    fitted = scenes.fitted_to((3, 96, 96))
    x, y = next(fitted.test.batches(2))
    assert x.shape[-2:] == y.shape[-2:] == (96, 96)
    assert set(y.unique().tolist()) <= set(scenes.test.targets[:2].unique().tolist())
    down = scenes.fitted_to((3, 32, 32)).test.targets_of(np.arange(2))
    assert torch.equal(down, scenes.test.targets[:2, 1::2, 1::2])


def test_other_channel_numbers_are_refused(digits: Splits) -> None:
    with pytest.raises(DataError, match="must get images with 4 channels, the data have 1"):
        digits.fitted_to((4, 32, 32))


def test_unknown_names_are_refused(digits: Splits) -> None:
    with pytest.raises(DataError, match="train, select, test"):
        digits.split("validation")
    with pytest.raises(RegistryError, match="digits"):
        open_data("dogs")
    with pytest.raises(DataError, match="no image 359"):
        digits.test.image(359)


@pytest.mark.row("B38")
@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"mean": (0.1, 0.2, 0.3)}, "one value per channel"),
        ({"std": (0.0,)}, "above 0"),
        ({"mean": (127.0,), "std": (64.0,)}, "scale 0 to 1"),
        ({"select_fraction": 2.0}, "select_fraction"),
        ({"limit": 0}, "limit"),
    ],
)
def test_wrong_fields_are_refused(fields: dict, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        open_data("digits", **fields)
