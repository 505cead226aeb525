"""How folders of images are laid out: splits, classes, images and their masks. Looks at names only."""

import os
from pathlib import Path

from .files import IMAGE_SUFFIXES
from .notes import Notes

__all__ = ["SPLIT_FOLDERS", "holds_images", "image_files", "mask_folders", "split_folders", "visible_folders"]

SPLIT_FOLDERS: dict[str, tuple[str, ...]] = {
    "train": ("train", "training"),
    "select": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
MASK_ENDINGS = ("annot", "_annot", "_labels", "labels", "_masks", "_mask", "masks", "mask")
IMAGE_PARENTS = ("images", "imgs", "JPEGImages", "leftImg8bit")
MASK_PARENTS = ("masks", "labels", "annotations", "SegmentationClass", "gtFine")


def visible_folders(folder: Path) -> list[Path]:
    """The sub-folders whose name does not begin with a dot, sorted by name."""
    try:
        return sorted(child for child in folder.iterdir() if child.is_dir() and not child.name.startswith("."))
    except OSError:
        return []


def holds_images(folder: Path) -> bool:
    """Whether image files lie directly in this folder (judged by their suffix)."""
    try:
        with os.scandir(folder) as entries:
            return any(_is_image(entry.name) for entry in entries)
    except OSError:
        return False


def image_files(folder: Path, *, notes: Notes | None = None, base: Path | None = None) -> list[Path]:
    """All image files at or below ``folder``, sorted; hidden files are passed over, others that are no images noted."""
    found = []
    for place, inner, names in os.walk(folder):
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        for name in sorted(names):
            if _is_image(name):
                found.append(Path(place) / name)
            elif notes is not None and base is not None and not name.startswith((".", "Thumbs.db")):
                notes.add("passed over, no image by its name", (Path(place) / name).relative_to(base).as_posix())
    return found


def split_folders(folder: Path) -> dict[str, Path]:
    """The folders of ``folder`` that are splits by their name: some of train, select and test."""
    children = {child.name.lower(): child for child in visible_folders(folder)}
    return {
        split: next(children[name] for name in names if name in children)
        for split, names in SPLIT_FOLDERS.items()
        if any(name in children for name in names)
    }


def mask_folders(folder: Path) -> dict[str, tuple[Path, Path]]:
    """The (images, masks) folders of each split of a segmentation data set; empty when it is none.

    Known layouts: ``train`` + ``trainannot`` (CamVid; also ``train_labels``, ``train_masks``, …), ``images/train`` +
    ``masks/train`` (also ``annotations``, ``labels``), and ``images`` + ``masks`` without splits (key ``all``).
    """
    beside = {}
    for split, images in split_folders(folder).items():
        masks = next(
            (folder / f"{images.name}{end}" for end in MASK_ENDINGS if (folder / f"{images.name}{end}").is_dir()), None
        )
        if masks is not None:
            beside[split] = (images, masks)
    if beside:
        return beside
    images_parent = next((folder / name for name in IMAGE_PARENTS if (folder / name).is_dir()), None)
    masks_parent = next((folder / name for name in MASK_PARENTS if (folder / name).is_dir()), None)
    if images_parent is None or masks_parent is None:
        return {}
    masks_of = split_folders(masks_parent)
    pairs = {
        split: (images, masks_of[split]) for split, images in split_folders(images_parent).items() if split in masks_of
    }
    return pairs or {"all": (images_parent, masks_parent)}


def _is_image(name: str) -> bool:
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES
