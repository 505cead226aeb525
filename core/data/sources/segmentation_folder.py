"""A folder of images with a mask each, as in CamVid."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
from PIL import Image

from ...errors import DataError
from ...progress import SILENT, Progress
from ..classlists import ClassList, inferred_classes, known_classes, plain_values, read_class_list
from ..decoding import LEFT_OUT, MEMORY_BYTES_AT_MOST, decode_images, fits_memory, lazy_images
from ..division import complete_splits
from ..files import BadFile, common_size, image_size_of, read_image, read_mask
from ..folders import image_files, mask_folders
from ..notes import Notes
from ..raw import LazyImages, RawData, RawSplit
from ..specs import DataSpec
from . import DATA_SOURCES
from .base import DataSource
from .image_folder import IMAGENET_MEAN, IMAGENET_STD

__all__ = ["SegmentationFolder"]

# An image and its mask.
Pair = tuple[Path, Path]


class SegmentationFolder(DataSource):
    """Segmentation folder: “train” with “trainannot” (as CamVid), or “images” with “masks”; optional class list."""

    key = "segmentation_folder"
    title = "Segmentation folder"
    task = "segmentation"
    fields: ClassVar[tuple[str, ...]] = ("root", "image_size", "mean", "std", "select_fraction", "limit", "seed")

    def matches(self, folder: Path) -> bool:
        """Whether images and masks lie in one of the known layouts."""
        return bool(mask_folders(folder))

    def read(self, spec: DataSpec, folder: Path | None, *, progress: Progress = SILENT) -> RawData:
        """See ``DataSource.read``. Images are stretched, masks resized to the nearest pixel, when sizes differ."""
        layout = {} if folder is None else mask_folders(folder)
        if folder is None or not layout:
            raise DataError(
                f"A segmentation folder must hold “train” and “trainannot” (CamVid), or “images” and “masks”; {folder} "
                "does not."
            )
        notes = Notes()
        progress.update(0, 1, "Listing files")
        pairs = complete_splits(
            {split: _pairs(*places, base=folder, notes=notes) for split, places in layout.items()},
            lambda _: 0,
            select_fraction=spec.select_fraction,
            limit=spec.limit,
            seed=spec.seed,
            notes=notes,
        )
        size = spec.image_size or _default_size([image for part in pairs.values() for image, _ in part], notes)
        listed_classes = read_class_list(folder)
        lazy = _lazily(sum(map(len, pairs.values())), size, notes)
        values: set[int] = set()
        masks: dict[str, np.ndarray] = {}
        for split, part in pairs.items():
            masks[split], kept = decode_images(
                [mask for _, mask in part],
                _mask_decoder({mask: image for image, mask in part}, listed_classes, size, values),
                shape=size,
                base=folder,
                notes=notes,
                progress=progress,
                message=f"Reading the {split} masks",
            )
            _enough(len(kept), len(part), split, notes)
            pairs[split] = [part[index] for index in kept]
        classes = listed_classes or known_classes(_stems(pairs), sorted(values)) or inferred_classes(sorted(values))
        notes.say(f"The classes are taken from {classes.origin}.")
        splits: dict[str, RawSplit] = {}
        ignore_index: int | None = None
        for split, part in pairs.items():
            images, kept = _read_images([image for image, _ in part], size, split, lazy, folder, notes, progress)
            _enough(len(kept), len(part), split, notes)
            settled, ignore_index = classes.settled(masks[split] if len(kept) == len(part) else masks[split][kept])
            splits[split] = RawSplit(images, settled)
        return RawData(
            task="segmentation",
            class_names=classes.names,
            splits=splits,
            mean=IMAGENET_MEAN,
            std=IMAGENET_STD,
            augmentation="flip",
            ignore_index=ignore_index,
            notes=notes.sentences(),
        )


def _pairs(images: Path, masks: Path, *, base: Path, notes: Notes) -> list[Pair]:
    """Images and masks of one split whose names (without suffix, below their folders) are equal."""
    by_name = {path.relative_to(masks).with_suffix(""): path for path in image_files(masks)}
    pairs = []
    for path in image_files(images, notes=notes, base=base):
        mask = by_name.pop(path.relative_to(images).with_suffix(""), None)
        if mask is None:
            notes.add("without a mask, left out", path.relative_to(base).as_posix())
        else:
            pairs.append((path, mask))
    for mask in by_name.values():
        notes.add("masks without an image, left out", mask.relative_to(base).as_posix())
    if not pairs:
        raise DataError(
            f"Masks must have the names of their images; none in {masks.relative_to(base)}/ has one in "
            f"{images.relative_to(base)}/."
        )
    return pairs


def _stems(pairs: Mapping[str, Sequence[Pair]]) -> list[str]:
    return [image.stem for part in pairs.values() for image, _ in part]


def _default_size(paths: Sequence[Path], notes: Notes) -> tuple[int, int]:
    most, only = common_size(paths)
    if most is None:
        raise DataError("None of the images can be read; the first is " + (paths[0].name if paths else "missing") + ".")
    if not only:
        notes.say(f"Images are resized to {most[0]}×{most[1]} (height × width), the size that most of them have.")
    return most


def _lazily(count: int, size: tuple[int, int], notes: Notes) -> bool:
    mask_bytes = count * size[0] * size[1]
    if mask_bytes > MEMORY_BYTES_AT_MOST:
        raise DataError(
            f"The masks need {mask_bytes / 1e9:.1f} GB at {size[0]}×{size[1]}, more than the "
            f"{MEMORY_BYTES_AT_MOST / 1e9:.1f} GB allowed; choose a smaller image size or a limit."
        )
    if fits_memory(count, size):
        return False
    notes.say("The images do not fit into memory and are decoded batch by batch; training will be slower.")
    return True


def _mask_decoder(
    image_of: Mapping[Path, Path], classes: ClassList | None, size: tuple[int, int], values: set[int]
) -> Callable[[Path], tuple[np.ndarray, list[str]]]:
    """Decodes a mask to uint8 of ``size``, and collects the values that occur when there is no class list."""

    def decode(path: Path) -> tuple[np.ndarray, list[str]]:
        raw = read_mask(path)
        expected = image_size_of(image_of[path])
        if expected is not None and raw.shape[:2] != expected:
            raise BadFile(f"the mask is {raw.shape[0]}×{raw.shape[1]}, its image {expected[0]}×{expected[1]}")
        try:
            indices = plain_values(raw) if classes is None else classes.indices(raw)
        except DataError as problem:
            raise BadFile(str(problem)) from None
        if classes is None:
            values.update(np.flatnonzero(np.bincount(indices.ravel(), minlength=256)).tolist())
        if indices.shape != size:
            indices = np.asarray(Image.fromarray(indices).resize(size[::-1], Image.Resampling.NEAREST))
        return indices, []

    return decode


def _read_images(
    paths: Sequence[Path],
    size: tuple[int, int],
    split: str,
    lazy: bool,
    base: Path,
    notes: Notes,
    progress: Progress,
) -> tuple[np.ndarray | LazyImages, np.ndarray]:
    if lazy:
        return lazy_images(paths, size=size, crop=False, base=base, notes=notes)
    return decode_images(
        paths,
        lambda path: read_image(path, size=size, crop=False),
        shape=(3, *size),
        base=base,
        notes=notes,
        progress=progress,
        message=f"Reading the {split} images",
    )


def _enough(kept: int, total: int, split: str, notes: Notes) -> None:
    if kept == 0 or kept < total / 2:
        raise DataError(
            f"Most images of {split} cannot be used ({total - kept} of {total}): {notes.named(LEFT_OUT)}. Check that "
            "masks fit their images and the class list."
        )


DATA_SOURCES.register(SegmentationFolder.key)(SegmentationFolder())
