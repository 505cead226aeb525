"""Image and mask files as uint8 arrays, read with Pillow and with no colour changed in silence.

Every oddity that was set right comes back as a remark; what cannot be read raises ``BadFile`` with the reason.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ..errors import DataError

__all__ = ["IMAGE_SUFFIXES", "PIXELS_AT_MOST", "BadFile", "common_size", "image_size_of", "read_image", "read_mask"]

IMAGE_SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
PIXELS_AT_MOST = 100_000_000
# By content, whatever the name says. Others that Pillow knows start programs (EPS) or are read by rarely used code.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
ROTATED_BY_A_QUARTER = frozenset({5, 6, 7, 8})
EXIF_ORIENTATION = 0x0112


class BadFile(DataError):  # noqa: N818 - says what it is; callers collect the reasons
    """A file that is no usable image; the message is the reason in a few words, without the file's name."""


def read_image(path: Path, *, size: tuple[int, int] | None = None, crop: bool = True) -> tuple[np.ndarray, list[str]]:
    """An image file as uint8 RGB ``[3, H, W]``, and remarks about what was converted.

    ``size`` (height, width): the image is scaled to cover it and cropped at the centre (``crop``), or stretched.
    Transparency is laid on white, 16-bit grey is scaled to 8 bits, EXIF rotation is applied, animations give their
    first frame.

    Raises:
        BadFile: when the file is empty, truncated, no image, too large, or has pixels without a defined range.
    """
    image, remarks = _opened(path)
    image = _as_rgb(image, remarks)
    if size is not None and (image.height, image.width) != size:
        image = _covering(image, size) if crop else image.resize(size[::-1], Image.Resampling.BILINEAR)
    return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1)), remarks


def read_mask(path: Path) -> np.ndarray[Any, Any]:
    """A mask file as it is: integers ``[H, W]`` (indices, also of palette images) or uint8 colours ``[H, W, 3]``.

    Raises:
        BadFile: when the file is empty, truncated, no image, too large, or not a mask by its pixel type.
    """
    image, _ = _opened(path, orient=False)
    if image.mode in ("RGBA", "RGB"):
        return np.asarray(image.convert("RGB"))
    if image.mode == "1":
        return np.asarray(image.convert("L")) // 255
    if image.mode in ("L", "P") or image.mode.startswith("I"):
        return np.asarray(image)
    raise BadFile(f"pixels of type {image.mode} are no class numbers")


def image_size_of(path: Path) -> tuple[int, int] | None:
    """(height, width) from the header, upright; None where it cannot be read."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            turned = image.getexif().get(EXIF_ORIENTATION) in ROTATED_BY_A_QUARTER
            return (image.width, image.height) if turned else (image.height, image.width)
    except Exception:  # whatever a damaged header makes Pillow raise: the reading proper will say what is wrong
        return None


def common_size(paths: Sequence[Path], *, sample: int = 400) -> tuple[tuple[int, int] | None, bool]:
    """The most frequent (height, width) among up to ``sample`` evenly spread files, and whether it is the only one."""
    step = max(1, len(paths) // sample)
    sizes = [size for size in map(image_size_of, paths[::step]) if size is not None]
    if not sizes:
        return None, False
    most = max(set(sizes), key=lambda size: (sizes.count(size), size))
    return most, len(set(sizes)) == 1


def _opened(path: Path, *, orient: bool = True) -> tuple[Image.Image, list[str]]:
    remarks: list[str] = []
    try:
        if path.stat().st_size == 0:
            raise BadFile("the file is empty")
        with Image.open(path, formats=FORMATS) as file:
            if file.width * file.height > PIXELS_AT_MOST:
                raise BadFile(f"{file.width:,}×{file.height:,} pixels are more than the {PIXELS_AT_MOST:,} allowed")
            if getattr(file, "n_frames", 1) > 1:
                remarks.append("animated: only the first frame is used")
                file.seek(0)
            file.load()
            image: Image.Image = file.copy()
            if orient and file.getexif().get(EXIF_ORIENTATION, 1) != 1:
                remarks.append("turned upright by the EXIF orientation")
                image = ImageOps.exif_transpose(file)
    except BadFile:
        raise
    except UnidentifiedImageError:
        raise BadFile("the content is no image that can be read") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise BadFile(f"more than the {PIXELS_AT_MOST:,} pixels allowed") from None
    except OSError as error:
        reason = "the file is truncated or damaged" if error.errno is None else error.strerror or str(error)
        raise BadFile(reason) from None
    except MemoryError:
        raise BadFile("it does not fit into memory") from None
    except Exception as error:  # Pillow's readers raise many kinds on damaged input (SyntaxError, struct.error, …)
        raise BadFile(f"the file is damaged ({type(error).__name__})") from None
    return image, remarks


def _as_rgb(image: Image.Image, remarks: list[str]) -> Image.Image:
    mode = image.mode
    if mode in ("L", "1"):
        remarks.append("grey, repeated to three channels")
    elif mode in ("RGBA", "LA", "PA", "RGBa", "La") or (mode == "P" and "transparency" in image.info):
        remarks.append("transparent, laid on white")
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (255, 255, 255, 255)), image)
    elif mode == "P":
        remarks.append("converted from a palette to RGB")
    elif mode.startswith("I"):
        remarks.append("16-bit grey, scaled to 8 bits and repeated to three channels")
        values = np.clip(np.asarray(image).astype(np.int64), 0, 65535)
        image = Image.fromarray(np.round(values / 257.0).astype(np.uint8))
    elif mode == "F":
        raise BadFile("floating-point pixels have no defined range")
    elif mode != "RGB":
        remarks.append(f"converted from {mode} to RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _covering(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Scale so that the image covers ``size`` and cut out the centre.

    Photographs that are shrunk to 128 pixels or more first cover ``size / 0.875``, as the published ImageNet
    accuracies are measured (resize 256, crop 224).
    """
    height, width = size
    cover = max(height / image.height, width / image.width)
    if min(size) >= 128 and cover < 0.875:
        cover /= 0.875
    scaled = (max(width, round(image.width * cover)), max(height, round(image.height * cover)))
    image = image.resize(scaled, Image.Resampling.BILINEAR)
    left, top = (scaled[0] - width) // 2, (scaled[1] - height) // 2
    return image.crop((left, top, left + width, top + height))
