"""How folders of images are laid out: splits, classes, images and their masks. Looks at names only."""

import os
from collections.abc import Callable
from pathlib import Path

from .files import IMAGE_SUFFIXES
from .notes import Notes

__all__ = [
    "SPLIT_FOLDERS",
    "folders_below",
    "holds_images",
    "image_files",
    "mask_folders",
    "split_folders",
    "visible_folders",
]

FOLDERS_AT_MOST = 2000
SPLIT_FOLDERS: dict[str, tuple[str, ...]] = {
    "train": ("train", "training"),
    "select": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
MASK_ENDINGS = ("annot", "_annot", "_labels", "labels", "_masks", "_mask", "masks", "mask")
IMAGE_PARENTS = ("images", "imgs", "JPEGImages", "leftImg8bit")
MASK_PARENTS = ("masks", "labels", "annotations", "SegmentationClass", "gtFine")


def visible_folders(folder: Path) -> list[Path]:
    """The sub-folders whose name does not begin with a dot, sorted by name; none where it cannot be listed.

    Folders with a million images are listed too: entries are asked for their kind without a look at each file.
    """
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir()]
    except OSError:
        return []
    return [folder / name for name in sorted(names)]


def folders_below(root: Path, stop: Callable[[Path], bool], *, depth: int = 3) -> list[Path]:
    """``root`` and the visible folders below it, breadth first, at most ``FOLDERS_AT_MOST``.

    Where ``stop`` says so, the folder is listed, and what is below it is not.
    """
    found: list[Path] = []
    level = [root] if root.is_dir() else []
    for remaining in range(depth, -1, -1):
        deeper: list[Path] = []
        for folder in level:
            if len(found) == FOLDERS_AT_MOST:
                return found
            found.append(folder)
            if remaining and not stop(folder):
                deeper += visible_folders(folder)
        level = deeper
    return found


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
