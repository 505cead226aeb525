"""Vectorised augmentation of uint8 batches: whole batches, no loop over images, seeded.

Shapes: N images, C channels, H rows, W columns.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import DataError
from .raw import Augmentation

__all__ = ["augment_batch", "random_flip", "random_shift", "shift_padding"]


def shift_padding(height: int, width: int) -> int:
    """How far images may be shifted: 4 pixels for the 32-pixel images of CIFAR, in proportion for others."""
    return max(1, round(min(height, width) / 8))


def random_shift(x_NCHW: Tensor, *, padding: int, generator: torch.Generator | None = None) -> Tensor:
    """Pad with zeros and cut out a window of the original size at a random place, one place per image.

    He et al. 2016, *Deep Residual Learning*, §4.2 (padding 4 on CIFAR).
    """
    n, _, height, width = x_NCHW.shape
    padded = F.pad(x_NCHW, (padding, padding, padding, padding))
    top, left = torch.randint(0, 2 * padding + 1, (2, n), generator=generator)
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # a view: [N, C, top, left, H, W]
    return windows[torch.arange(n), :, top, left]


def random_flip(
    x_NCHW: Tensor, masks_NHW: Tensor | None = None, *, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor | None]:
    """Mirror about half of the images left to right, and their masks with them."""
    flipped = torch.rand(len(x_NCHW), generator=generator) < 0.5
    images = torch.where(flipped[:, None, None, None], x_NCHW.flip(-1), x_NCHW)
    masks = None if masks_NHW is None else torch.where(flipped[:, None, None], masks_NHW.flip(-1), masks_NHW)
    return images, masks


def augment_batch(
    x_NCHW: Tensor, y: Tensor, *, augmentation: Augmentation, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Apply a data set's augmentation to a uint8 batch and its targets (labels ``[N]`` or masks ``[N, H, W]``).

    Raises:
        DataError: when masks are to be shifted: only flipping is defined for images and masks together.
    """
    dense = y.ndim == 3
    if augmentation in ("flip", "shift_flip"):
        x_NCHW, masks = random_flip(x_NCHW, y if dense else None, generator=generator)
        y = y if masks is None else masks
    if augmentation in ("shift", "shift_flip"):
        if dense:
            raise DataError("Images with masks can only be flipped; use the augmentation “flip”.")
        padding = shift_padding(*x_NCHW.shape[-2:])
        x_NCHW = random_shift(x_NCHW, padding=padding, generator=generator)
    return x_NCHW, y
