"""Augmentation against slow references, one image at a time."""

import pytest
import torch
from torch.nn import functional as F

from core.data.augment import augment_batch, random_flip, random_shift, shift_padding
from core.errors import DataError


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_shift_equals_cropping_each_image() -> None:
    x = torch.randint(0, 256, (50, 3, 9, 7), dtype=torch.uint8)
    shifted = random_shift(x, padding=2, generator=generator())
    offsets = torch.randint(0, 5, (2, 50), generator=generator())
    for index in range(50):
        top, left = offsets[:, index].tolist()
        expected = F.pad(x[index], (2, 2, 2, 2))[:, top : top + 9, left : left + 7]
        assert torch.equal(shifted[index], expected)
    assert shifted.dtype == torch.uint8
    assert len(offsets.unique()) == 5


def test_flip_takes_masks_along() -> None:
    x = torch.randint(0, 256, (200, 1, 4, 6), dtype=torch.uint8)
    flipped, masks = random_flip(x, x[:, 0], generator=generator())
    assert masks is not None
    assert torch.equal(flipped[:, 0], masks)
    same = (flipped == x).flatten(1).all(1)
    assert torch.equal(flipped[~same], x[~same].flip(-1))
    assert 60 < int(same.sum()) < 140


@pytest.mark.parametrize("augmentation", ["none", "shift", "flip", "shift_flip"])
def test_same_seed_same_batch(augmentation: str) -> None:
    x, y = torch.randint(0, 256, (20, 3, 32, 32), dtype=torch.uint8), torch.arange(20)
    once, labels = augment_batch(x, y, augmentation=augmentation, generator=generator(3))  # type: ignore[arg-type]
    again, _ = augment_batch(x, y, augmentation=augmentation, generator=generator(3))  # type: ignore[arg-type]
    assert torch.equal(once, again)
    assert torch.equal(labels, y)
    assert torch.equal(once, x) == (augmentation == "none")


def test_masks_are_never_shifted() -> None:
    with pytest.raises(DataError, match="only be flipped"):
        augment_batch(
            torch.zeros(1, 3, 8, 8, dtype=torch.uint8), torch.zeros(1, 8, 8, dtype=torch.uint8), augmentation="shift"
        )


def test_cifar_is_padded_by_four() -> None:
    assert shift_padding(32, 32) == 4
