"""Small scenes: digit scans of several sizes on a textured ground, with a class for every pixel.

A segmentation data set that needs no download: the objects are real scans (scikit-learn's digits), the composition is
drawn from a seed. Knows no torch.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["CLASS_NAMES", "make_scenes"]

CLASS_NAMES = ("ground", *(f"digit {digit}" for digit in range(10)))

_INK = 0.45  # a pixel belongs to a digit where the enlarged scan is at least this dark
_SIZES = (0.28, 0.62)  # side of a digit as a share of the scene's side
_DIGITS_PER_SCENE = (3, 5)
_OVERLAP = 0.1  # at most this share of a digit may lie on earlier ones, where a few tries find such a place
_TRIES = 8


def make_scenes(
    digits: NDArray[np.uint8], labels: NDArray[np.integer], *, count: int, size: int = 64, seed: int = 0
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Compose ``count`` scenes from scans of digits.

    Args:
        digits: uint8 ``[N, H, W]``, ink bright on black ground.
        labels: integers 0–9, ``[N]``.
        count: number of scenes.
        size: side of a scene in pixels, at least 16.
        seed: the same seed and scans give the same scenes.

    Returns:
        Images uint8 ``[count, 3, size, size]`` and masks uint8 ``[count, size, size]`` with 0 for the ground and
        ``1 + digit`` for the digits; of two overlapping digits the later one hides the earlier one.

    Raises:
        ValueError: when there are no scans, their number differs from that of the labels, or ``size`` is too small.
    """
    digits, labels = np.asarray(digits), np.asarray(labels)
    if digits.ndim != 3 or not len(digits) or len(digits) != len(labels):
        raise ValueError(f"Scenes need scans [N, H, W] and N labels; got {digits.shape} and {labels.shape}.")
    if size < 16:
        raise ValueError(f"A scene must be at least 16 pixels wide; got {size}.")
    images = np.empty((count, 3, size, size), np.uint8)
    masks = np.zeros((count, size, size), np.uint8)
    for index in range(count):
        # A generator per scene: the first scenes stay the same when more are asked for.
        random = np.random.default_rng((seed, index))
        canvas = _ground(random, size)
        for _ in range(random.integers(_DIGITS_PER_SCENE[0], _DIGITS_PER_SCENE[1] + 1)):
            which = random.integers(len(digits))
            _place(random, canvas, masks[index], digits[which] / 255.0, int(labels[which]))
        canvas += random.normal(0.0, 0.06, canvas.shape)
        images[index] = np.clip(canvas * 255.0, 0, 255).astype(np.uint8)
    return images, masks


def _ground(random: np.random.Generator, size: int) -> NDArray[np.float64]:
    """Textured ground ``[3, size, size]`` in 0–1: a colour gradient, soft blotches and a fine grain."""
    colour = random.uniform(0.15, 0.75, 3)[:, None, None]
    tilt = _resize(random.uniform(-0.2, 0.2, (2, 2)), size, size)
    blotches = _resize(random.normal(0.0, 0.10, (7, 7)), size, size)
    grain = _resize(random.normal(0.0, 0.08, (size // 2, size // 2)), size, size)
    return colour * (1.0 + tilt) + blotches + grain


def _place(
    random: np.random.Generator,
    canvas: NDArray[np.float64],
    mask: NDArray[np.uint8],
    scan: NDArray[np.float64],
    label: int,
) -> None:
    """Draw one scan at a random place, size and colour into canvas and mask, in place; the border may cut it a little.

    Nothing is drawn when ``_TRIES`` places all overlap earlier digits too much.
    """
    size = mask.shape[0]
    side = int(random.uniform(*_SIZES) * size)
    whole = _resize(scan, side, max(4, int(side * random.uniform(0.75, 1.1))))
    height, width = whole.shape
    for _ in range(_TRIES):
        top = int(random.integers(-height // 8, size - height + height // 8 + 1))
        left = int(random.integers(-width // 8, size - width + width // 8 + 1))
        rows = slice(max(top, 0), min(top + height, size))
        columns = slice(max(left, 0), min(left + width, size))
        ink = whole[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
        drawn = ink >= _INK
        if np.count_nonzero(mask[rows, columns][drawn]) <= _OVERLAP * np.count_nonzero(drawn):
            break
    else:
        return
    # A colour that differs from the ground under it by a modest contrast, lighter or darker, with some tint.
    under = canvas[:, rows, columns].mean((1, 2))
    contrast = random.uniform(0.25, 0.5) * random.choice((-1.0, 1.0))
    if not 0.05 <= (under + contrast).mean() <= 0.95:
        contrast = -contrast
    colour = under + contrast + random.uniform(-0.12, 0.12, 3)
    cover = np.clip((ink - _INK) / 0.3 + 0.5, 0.0, 1.0)  # half transparent where the mask begins
    canvas[:, rows, columns] += cover * (colour[:, None, None] - canvas[:, rows, columns])
    mask[rows, columns][drawn] = label + 1


def _resize(image: NDArray[np.float64], height: int, width: int) -> NDArray[np.float64]:
    """Bilinear resize of ``[H, W]`` with pixel centres at half positions (PyTorch's ``align_corners=False``)."""
    return _weights(image.shape[0], height) @ image @ _weights(image.shape[1], width).T


@lru_cache(maxsize=256)
def _weights(source: int, target: int) -> NDArray[np.float64]:
    """Interpolation matrix ``[target, source]``; rows sum to one."""
    centres = np.clip((np.arange(target) + 0.5) * source / target - 0.5, 0, source - 1)
    low = np.minimum(centres.astype(int), max(source - 2, 0))
    share = centres - low
    matrix = np.zeros((target, source))
    matrix[np.arange(target), low] = 1.0 - share
    matrix[np.arange(target), np.minimum(low + 1, source - 1)] += share
    return matrix
