"""Segmentation folders: layouts, class lists, masks that do not fit."""

from pathlib import Path

import numpy as np
import pytest

from core.data.opening import open_data
from core.data.splits import Splits
from core.errors import DataError

from .builders import build_segmentation_folder, random_images, write_image


def opened(root: Path, **fields: object) -> Splits:
    return open_data("segmentation_folder", root=root, **fields)


def build(root: Path, masks: np.ndarray, *, images: str = "images", labels: str = "masks") -> None:
    for number, pixels in enumerate(random_images(len(masks), 12, 16, 3)):
        write_image(root / images / f"{number}.png", pixels)
        write_image(root / labels / f"{number}.png", masks[number])


def test_camvid_layout_without_class_list(tmp_path: Path) -> None:
    build_segmentation_folder(tmp_path)
    splits = opened(tmp_path)
    assert [len(splits.train), len(splits.select), len(splits.test)] == [6, 4, 5]
    assert splits.class_names == ("class 0", "class 1", "class 2")
    assert splits.ignore_index == 255
    assert int((splits.test.targets == 255).sum()) == 5


def test_images_and_masks_stay_together(tmp_path: Path) -> None:
    build_segmentation_folder(tmp_path)
    for split in ("train", "val", "test"):  # each mask says which image it belongs to
        for path in (tmp_path / split).iterdir():
            pixels = np.full((12, 16, 3), 10 * int(path.stem), np.uint8)
            write_image(path, pixels)
            write_image(tmp_path / f"{split}annot" / path.name, np.full((12, 16), int(path.stem), np.uint8))
    splits = opened(tmp_path)
    for split in (splits.train, splits.select, splits.test):
        assert ((split.images[:, 0] // 10) == split.targets).all()


@pytest.mark.parametrize("labels", ["masks", "labels", "annotations"])
def test_folders_without_splits_are_divided(tmp_path: Path, labels: str) -> None:
    build(tmp_path, random_images(20, 12, 16) % 4, labels=labels)
    splits = opened(tmp_path)
    assert [len(splits.train), len(splits.select), len(splits.test)] == [13, 3, 4]
    assert splits.num_classes == 4


def test_a_class_list_names_classes_and_the_ignored_value(tmp_path: Path) -> None:
    build(tmp_path, random_images(20, 12, 16) % 4)
    (tmp_path / "classes.txt").write_text("sky\nroad\ncar\nvoid\n")
    splits = opened(tmp_path)
    assert splits.class_names == ("sky", "road", "car")
    assert splits.ignore_index == 3


@pytest.mark.parametrize("void", ["void", "Unlabelled", "ignore"])
def test_an_ignored_value_among_the_classes_keeps_its_place(tmp_path: Path, void: str) -> None:
    build(tmp_path, random_images(20, 12, 16) % 3)
    (tmp_path / "classes.txt").write_text(f"0 {void}\n1 road\n2 car\n")
    splits = opened(tmp_path)
    assert splits.num_classes == 3
    assert splits.ignore_index == 0


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("class_dict.csv", "name,r,g,b\nsky,0,0,255\nroad,128,64,128\nvoid,0,0,0\n"),
        ("label_colors.txt", "0 0 255 sky\n128 64 128\troad\n0 0 0 void\n"),
        ("classes.json", '{"sky": [0, 0, 255], "road": [128, 64, 128], "void": [0, 0, 0]}'),
    ],
)
def test_colour_masks_with_a_palette(tmp_path: Path, file: str, text: str) -> None:
    colours = np.array([[0, 0, 255], [128, 64, 128], [0, 0, 0]], np.uint8)
    indices = random_images(20, 12, 16) % 3
    build(tmp_path, colours[indices])
    (tmp_path / file).write_text(text)
    splits = opened(tmp_path)
    assert splits.class_names == ("sky", "road")
    assert splits.ignore_index == 2
    assert len(np.unique(splits.train.targets)) == 3
    found = {mask.numpy().tobytes() for split in (splits.train, splits.select, splits.test) for mask in split.targets}
    assert found == {mask.tobytes() for mask in indices}


def test_zero_and_255_are_background_and_foreground(tmp_path: Path) -> None:
    masks = (random_images(20, 12, 16) % 2) * np.uint8(255)
    build(tmp_path, masks)
    splits = opened(tmp_path)
    assert splits.class_names == ("background", "foreground")
    assert splits.ignore_index is None
    assert splits.train.targets.max() == 1


def test_colour_masks_without_palette_are_refused(tmp_path: Path) -> None:
    build(tmp_path, random_images(20, 12, 16, 3))
    with pytest.raises(DataError, match="no palette"):
        opened(tmp_path)


def test_a_mask_outside_the_class_list_is_named_and_left_out(tmp_path: Path) -> None:
    masks = random_images(20, 12, 16) % 3
    masks[7, 2, 2] = 9
    build(tmp_path, masks)
    (tmp_path / "classes.txt").write_text("sky\nroad\ncar\n")
    splits = opened(tmp_path)
    assert sum(map(len, (splits.train, splits.select, splits.test))) == 19
    assert any("masks/7.png" in note and "[9]" in note for note in splits.notes)


def test_a_class_list_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    build(tmp_path, random_images(20, 12, 16) % 5)
    (tmp_path / "classes.txt").write_text("sky\nroad\n")
    with pytest.raises(DataError, match="among the 2 classes"):
        opened(tmp_path)


@pytest.mark.parametrize(
    ("file", "text", "reason"),
    [
        ("classes.txt", "sky\n", "2 to 255 classes"),
        ("class_dict.csv", "name,r,g,b\nsky,0,0\n", "name,r,g,b"),
        ("class_dict.csv", "sky,0,0,300\nroad,1,1,1\n", "0 … 255"),
        ("class_dict.csv", "sky,1,1,1\nroad,1,1,1\n", "its own colour"),
        ("classes.json", "{", "must be JSON"),
        ("classes.json", "3", "list of names"),
    ],
)
def test_damaged_class_lists_are_refused(tmp_path: Path, file: str, text: str, reason: str) -> None:
    build(tmp_path, random_images(20, 12, 16) % 2)
    (tmp_path / file).write_text(text)
    with pytest.raises(DataError, match=reason):
        opened(tmp_path)


def test_unpaired_files_are_named(tmp_path: Path) -> None:
    build(tmp_path, random_images(20, 12, 16) % 3)
    (tmp_path / "masks" / "3.png").unlink()
    (tmp_path / "images" / "5.png").unlink()
    notes = " ".join(opened(tmp_path).notes)
    assert "without a mask, left out: images/3.png" in notes
    assert "without an image, left out: masks/5.png" in notes


def test_a_mask_of_another_size_is_left_out(tmp_path: Path) -> None:
    build(tmp_path, random_images(20, 12, 16) % 3)
    write_image(tmp_path / "masks" / "4.png", random_images(1, 6, 8)[0] % 3)
    assert any("masks/4.png (the mask is 6×8, its image 12×16)" in note for note in opened(tmp_path).notes)


@pytest.mark.parametrize("place", ["images", "masks"])
def test_unreadable_files_are_left_out_with_their_partner(tmp_path: Path, place: str) -> None:
    build(tmp_path, random_images(20, 12, 16) % 3)
    (tmp_path / place / "11.png").write_bytes(b"")
    splits = opened(tmp_path)
    assert sum(map(len, (splits.train, splits.select, splits.test))) == 19
    assert any(f"{place}/11.png (the file is empty)" in note for note in splits.notes)


def test_masks_without_names_in_common_are_refused(tmp_path: Path) -> None:
    build(tmp_path, random_images(4, 12, 16) % 3)
    for path in (tmp_path / "masks").iterdir():
        path.rename(path.with_stem(f"mask_{path.stem}"))
    with pytest.raises(DataError, match="must have the names of their images"):
        opened(tmp_path)


def test_another_image_size_keeps_class_numbers(tmp_path: Path) -> None:
    build(tmp_path, (random_images(20, 12, 16) % 2) * np.uint8(2))
    splits = opened(tmp_path, image_size=(18, 24))
    assert splits.input_shape == (3, 18, 24)
    assert set(np.unique(splits.test.targets)) == {0, 2}
