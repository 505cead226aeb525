"""A folder of images, one sub-folder per class."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from ...errors import DataError
from ...progress import SILENT, Progress
from ..decoding import LEFT_OUT, decode_images, fits_memory, lazy_images
from ..division import complete_splits
from ..files import common_size, read_image
from ..folders import holds_images, image_files, mask_folders, split_folders, visible_folders
from ..notes import Notes, listed
from ..raw import LazyImages, RawData, RawSplit
from ..specs import DataSpec
from . import DATA_SOURCES
from .base import DataSource

__all__ = ["IMAGENET_MEAN", "IMAGENET_STD", "ImageFolder"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
DEFAULT_SIDES = (224, 64, 32)


# A file and its class.
Example = tuple[Path, int]


class ImageFolder(DataSource):
    """Image folder: “class/…” or “train|val|test/class/…”, one sub-folder per class, RGB."""

    key = "image_folder"
    title = "Image folder"
    fields: ClassVar[tuple[str, ...]] = ("root", "image_size", "mean", "std", "select_fraction", "limit", "seed")

    def matches(self, folder: Path) -> bool:
        """Whether classes with images lie in the folder, or in split folders below it."""
        if mask_folders(folder):
            return False
        splits = split_folders(folder)
        if splits:
            return any(holds_images(inner) for split in splits.values() for inner in visible_folders(split))
        return sum(holds_images(inner) for inner in visible_folders(folder)) >= 2

    def read(self, spec: DataSpec, folder: Path | None, *, progress: Progress = SILENT) -> RawData:
        """See ``DataSource.read``.

        Classes are the sorted names of the training folders. Missing splits are made from the others: test from
        training (20 %) or, when only “val” is there, “val” is the test split; select from training.
        """
        if folder is None or not folder.is_dir():
            raise DataError(f"An image folder must be a folder with one sub-folder per class; {folder} is none.")
        notes = Notes()
        progress.update(0, 1, "Listing files")
        class_names, parts = _classes(folder, notes)
        listings = complete_splits(
            parts,
            lambda example: example[1],
            select_fraction=spec.select_fraction,
            limit=spec.limit,
            seed=spec.seed,
            notes=notes,
        )
        size = spec.image_size or _default_size([path for part in listings.values() for path, _ in part], notes)
        lazy = not fits_memory(sum(len(listing) for listing in listings.values()), size)
        if lazy:
            notes.say("The images do not fit into memory and are decoded batch by batch; training will be slower.")
        splits = {
            name: _read_split(listing, size, name=name, lazy=lazy, base=folder, notes=notes, progress=progress)
            for name, listing in listings.items()
        }
        return RawData(
            task="classification",
            class_names=class_names,
            splits=splits,
            mean=IMAGENET_MEAN,
            std=IMAGENET_STD,
            augmentation="shift_flip",
            notes=notes.sentences(),
        )


def _classes(folder: Path, notes: Notes) -> tuple[tuple[str, ...], dict[str, list[Example]]]:
    """Class names, and the examples of each split that the folder has (key ``all`` when it has none)."""
    folders = split_folders(folder)
    if not any(visible_folders(split) for split in folders.values()):
        folders = {"all": folder}
    elif loose := [child.name for child in visible_folders(folder) if child not in folders.values()]:
        notes.say(f"Folders beside the splits are not used: {listed(loose)}.")
    per_split = {name: _classes_in(place, base=folder, notes=notes) for name, place in folders.items()}
    reference = "train" if "train" in per_split else next(iter(per_split))
    class_names = tuple(per_split[reference])
    _check_classes(class_names, per_split, reference, folder, notes)
    parts = {
        name: [(path, class_names.index(label)) for label, files in classes.items() for path in files]
        for name, classes in per_split.items()
    }
    return class_names, parts


def _classes_in(place: Path, *, base: Path, notes: Notes) -> dict[str, list[Path]]:
    return {child.name: image_files(child, notes=notes, base=base) for child in visible_folders(place)}


def _check_classes(
    class_names: Sequence[str],
    per_split: dict[str, dict[str, list[Path]]],
    reference: str,
    folder: Path,
    notes: Notes,
) -> None:
    if len(class_names) < 2:
        found = f"only “{class_names[0]}”" if class_names else "none"
        raise DataError(
            f"There must be at least two class folders with images in {folder.name}/; found {found}. "
            "Expected: class/… or train|val|test/class/…"
        )
    if not any(per_split[reference].values()):
        raise DataError(f"There are no images in the class folders of {folder.name}/ ({listed(class_names)}).")
    for name, classes in per_split.items():
        unknown = [label for label in classes if label not in class_names]
        if unknown:
            raise DataError(
                f"Every class of {name} must also be in {reference}; {listed(unknown)} "
                f"{'is' if len(unknown) == 1 else 'are'} not. Rename, remove, or add training images."
            )
        empty = [label for label in class_names if not classes.get(label)]
        if empty:
            where = "" if name == "all" else f" in {name}"
            notes.say(f"There are no images of {listed(empty)}{where}; the numbering of classes keeps their place.")
    untrained = [label for label, files in per_split[reference].items() if not files]
    orphans = [label for label in untrained if any(classes.get(label) for classes in per_split.values())]
    if orphans:
        raise DataError(
            f"Every class with test images must have training images; {listed(orphans)} "
            f"{'has' if len(orphans) == 1 else 'have'} none. Add some, or remove the class."
        )
    if sum(bool(files) for files in per_split[reference].values()) < 2:
        raise DataError(f"Images of at least two classes are needed; only one folder of {folder.name}/ has any.")


def _default_size(paths: Sequence[Path], notes: Notes) -> tuple[int, int]:
    """The size that all images have, or a usual one near theirs."""
    most, only = common_size(paths)
    if most is None:
        return (DEFAULT_SIDES[-1], DEFAULT_SIDES[-1])  # nothing is readable: reading will name the files
    if only and max(most) <= 512:
        return most
    side = next((side for side in DEFAULT_SIDES if min(most) >= side), DEFAULT_SIDES[-1])
    notes.say(f"Images are scaled and cropped to {side}×{side}, since no image size was chosen and theirs differ.")
    return (side, side)


def _read_split(
    examples: Sequence[Example],
    size: tuple[int, int],
    *,
    name: str,
    lazy: bool,
    base: Path,
    notes: Notes,
    progress: Progress,
) -> RawSplit:
    paths = [path for path, _ in examples]
    labels = np.array([label for _, label in examples], np.int64)
    images: np.ndarray | LazyImages
    if lazy:
        images, kept = lazy_images(paths, size=size, crop=True, base=base, notes=notes)
    else:
        images, kept = decode_images(
            paths,
            lambda path: read_image(path, size=size),
            shape=(3, *size),
            base=base,
            notes=notes,
            progress=progress,
            message=f"Reading the {name} images",
        )
    if not len(kept):
        reasons = f": {notes.named(LEFT_OUT)}" if paths else ": it has none"
        raise DataError(f"No image of the {name} split could be read{reasons}.")
    return RawSplit(images, labels[kept])


DATA_SOURCES.register(ImageFolder.key)(ImageFolder())
