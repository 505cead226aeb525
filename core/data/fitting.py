"""Making images fit a model: channels repeated or merged, size changed, batch by batch."""

import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import DataError

__all__ = ["fit_images", "fit_masks", "fitted_normalisation"]

# ITU-R BT.601, as Pillow's conversion to "L".
GREY_WEIGHTS = (0.299, 0.587, 0.114)


def fit_images(x_NCHW: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """uint8 images ``[N, C, H, W]`` as uint8 ``[N, *shape]``: grey repeated to RGB, RGB weighed to grey, resized
    bilinearly with anti-aliasing.

    Raises:
        DataError: when the numbers of channels are not 1 and 3.
    """
    channels, height, width = shape
    came = x_NCHW.shape[1]
    if came != channels:
        if (came, channels) == (1, 3):
            x_NCHW = x_NCHW.expand(-1, 3, -1, -1)
        elif (came, channels) == (3, 1):
            weights = torch.tensor(GREY_WEIGHTS).view(1, 3, 1, 1)
            x_NCHW = (x_NCHW.float() * weights).sum(1, keepdim=True).round().to(torch.uint8)
        else:
            raise DataError(
                f"The model must get images with {channels} channel{'s' if channels != 1 else ''}, the data have "
                f"{came}; only grey (1) and RGB (3) can be turned into each other."
            )
    if x_NCHW.shape[-2:] != (height, width):
        resized = F.interpolate(
            x_NCHW.float(), size=(height, width), mode="bilinear", align_corners=False, antialias=True
        )
        x_NCHW = resized.round_().clamp_(0, 255).to(torch.uint8)
    return x_NCHW


def fit_masks(y_NHW: Tensor, size: tuple[int, int]) -> Tensor:
    """Masks ``[N, H, W]`` at another size, by the nearest pixel: no class is invented between two others."""
    if tuple(y_NHW.shape[-2:]) == size:
        return y_NHW
    return F.interpolate(y_NHW[:, None], size=size, mode="nearest-exact")[:, 0]


def fitted_normalisation(values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    """Mean or deviation per channel for another number of channels: repeated, or averaged."""
    if len(values) == channels:
        return values
    if channels == 1:
        return (sum(values) / len(values),)
    return values[:1] * channels
