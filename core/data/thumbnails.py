"""A few small pictures of a data set, as PNG data URIs that fit into a row of the store."""

import base64
import io
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from .splits import Splits

__all__ = ["mask_colours", "png_data_uri", "thumbnails"]

THUMBNAILS_AT_MOST = 10
SIDE = 64
SCENE_SIDE = 96

# Okabe & Ito's colours, safe for colour-blind eyes; further classes repeat them darker.
COLOURS = ((0, 114, 178), (230, 159, 0), (0, 158, 115), (204, 121, 167), (86, 180, 233), (213, 94, 0), (240, 228, 66))


def mask_colours(num_classes: int, *, ignore_index: int | None = None) -> np.ndarray[Any, Any]:
    """uint8 ``[256, 3]``: the colour of every mask value; ignored and unknown values are grey."""
    colours = np.full((256, 3), 128, np.uint8)
    for index in range(min(num_classes, 256)):
        shade = 0.7 ** (index // len(COLOURS))
        colours[index] = [round(channel * shade) for channel in COLOURS[index % len(COLOURS)]]
    if ignore_index is not None and 0 <= ignore_index < 256:
        colours[ignore_index] = 128
    return colours


def png_data_uri(pixels_HWC: np.ndarray[Any, Any], *, side: int = SIDE) -> str:
    """A uint8 image ``[H, W, 1 or 3]`` as a PNG data URI, at most ``side`` pixels on its longer side."""
    image = Image.fromarray(pixels_HWC[..., 0] if pixels_HWC.shape[-1] == 1 else pixels_HWC)
    image.thumbnail((side, side))
    if image.mode == "RGB":
        image = image.quantize(64)  # a quarter of the bytes, and nobody sees it at this size
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def thumbnails(splits: "Splits") -> list[dict[str, str]]:
    """``[{"label", "image"}]``: one test image per class (at most 10), or 4 scenes with their masks beside them."""
    split = splits.test
    if splits.task == "classification":
        pictures = []
        for index, name in enumerate(splits.class_names[:THUMBNAILS_AT_MOST]):
            members = np.flatnonzero(split.labels == index)
            if len(members):
                pictures.append({"label": name, "image": png_data_uri(split.image(int(members[0])))})
        return pictures
    colours = mask_colours(splits.num_classes, ignore_index=splits.ignore_index)
    pictures = []
    for index in np.unique(np.linspace(0, len(split) - 1, 4).round().astype(int)):
        image = split.image(int(index))
        mask = colours[split.targets_of(np.array([index]))[0].numpy()]
        beside = np.concatenate([np.broadcast_to(image, mask.shape), mask], axis=1)
        pictures.append({"label": f"image {index} and its mask", "image": png_data_uri(beside, side=2 * SCENE_SIDE)})
    return pictures
