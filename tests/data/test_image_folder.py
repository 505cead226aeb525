"""Image folders: layouts, odd pixels, bad files (ROBUSTNESS.md B36, B37)."""

import io
import itertools
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.data import decoding
from core.data.opening import open_data
from core.data.splits import Splits
from core.errors import DataError

from .builders import build_image_folder, random_images, write_image

RED = (200, 30, 40)


def fill(root: Path, *, classes: tuple[str, ...] = ("ant", "bee"), count: int = 10, seed: int = 0) -> None:
    for label in classes:
        seed += 1
        for number, pixels in enumerate(random_images(count, 16, 16, 3, seed=seed)):
            write_image(root / label / f"{number:02}.png", pixels)


def opened(root: Path, **fields: object) -> Splits:
    return open_data("image_folder", root=root, **fields)


def image_named(splits: Splits, root: Path, colour: tuple[int, int, int]) -> bool:
    """Whether an image of this one colour is in some split."""
    images = [split.image(k) for split in (splits.train, splits.select, splits.test) for k in range(len(split))]
    return any(np.abs(image.astype(int) - colour).max() <= 3 for image in images)


def test_all_splits_given(tmp_path: Path) -> None:
    for seed, name in enumerate(("train", "val", "test")):
        fill(tmp_path / name, count=4 + seed, seed=10 * seed)
    splits = opened(tmp_path)
    assert [len(splits.train), len(splits.select), len(splits.test)] == [8, 10, 12]
    assert splits.class_names == ("ant", "bee")
    assert splits.notes == ()


def test_class_numbers_follow_the_training_folders(tmp_path: Path) -> None:
    fill(tmp_path / "train", classes=("ant", "bee", "cat"))
    fill(tmp_path / "test", classes=("cat", "ant"), seed=50)
    splits = opened(tmp_path)
    assert splits.test.counts(3) == [10, 0, 10]
    assert any("no images of bee in test" in note for note in splits.notes)


def odd_files(folder: Path) -> dict[str, str]:
    """Write one file of each odd kind; returns file name → what the note must say."""
    folder.mkdir(parents=True, exist_ok=True)
    red = Image.new("RGB", (16, 16), RED)
    red.convert("CMYK").save(folder / "cmyk.jpg", quality=100)
    red.convert("P", palette=Image.Palette.ADAPTIVE).save(folder / "palette.png")
    red.convert("L").save(folder / "grey.png")
    Image.new("RGBA", (16, 16), (*RED, 0)).save(folder / "alpha.png")
    Image.fromarray(np.full((16, 16), 51400, np.uint16)).save(folder / "sixteen.png")
    red.save(folder / "moving.gif", save_all=True, append_images=[Image.new("RGB", (16, 16), (0, 0, 0))])
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(random_images(1, 16, 16, 3)[0]).save(folder / "turned.jpg", exif=exif)
    return {
        "cmyk.jpg": "converted from CMYK",
        "palette.png": "converted from a palette",
        "grey.png": "grey, repeated",
        "alpha.png": "transparent, laid on white",
        "sixteen.png": "16-bit grey, scaled",
        "moving.gif": "only the first frame",
        "turned.jpg": "turned upright",
    }


@pytest.mark.row("B37")
def test_odd_pixels_are_converted_and_said(tmp_path: Path) -> None:
    fill(tmp_path, classes=("bee",))
    expected = odd_files(tmp_path / "ant")
    splits = opened(tmp_path)
    for name, remark in expected.items():
        assert any(remark in note and f"ant/{name}" in note for note in splits.notes), name
    # The colours are right, not only present: red stays red, clear is white, 51400 of 65535 is 200 of 255.
    for colour in (RED, (255, 255, 255), (200, 200, 200)):
        assert image_named(splits, tmp_path, colour)


def png_that_claims(width: int, height: int) -> bytes:
    """A few bytes of PNG whose head announces an enormous picture."""
    small = io.BytesIO()
    Image.new("L", (1, 1)).save(small, "PNG")
    head = b"IHDR" + struct.pack(">II", width, height) + small.getvalue()[24:29]
    return small.getvalue()[:12] + head + struct.pack(">I", zlib.crc32(head)) + small.getvalue()[33:]


def bad_files(folder: Path) -> dict[str, str]:
    folder.mkdir(parents=True, exist_ok=True)
    whole = io.BytesIO()
    Image.fromarray(random_images(1, 64, 64, 3)[0]).save(whole, "JPEG")
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "truncated.jpg").write_bytes(whole.getvalue()[: len(whole.getvalue()) // 2])
    (folder / "text.png").write_text("not an image")
    (folder / "bomb.png").write_bytes(png_that_claims(20_000, 20_000))
    Image.fromarray(np.zeros((8, 8), np.float32)).save(folder / "float.tiff")
    return {
        "empty.jpg": "the file is empty",
        "truncated.jpg": "truncated",
        "text.png": "no image",
        "bomb.png": "100,000,000",
        "float.tiff": "no defined range",
    }


@pytest.mark.row("B01", "B37")
@pytest.mark.parametrize("lazy", [False, True])
def test_bad_files_are_named_and_left_out(tmp_path: Path, lazy: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    build_image_folder(tmp_path)
    expected = bad_files(tmp_path / "ant")
    if lazy:  # only headers are read: what breaks later is named when a batch meets it
        monkeypatch.setattr(decoding, "MEMORY_BYTES_AT_MOST", 0)
        splits = opened(tmp_path, image_size=(16, 16))
        batches = itertools.chain(*(split.batches(50) for split in (splits.train, splits.select, splits.test)))
        with pytest.raises(DataError, match=r"ant/(truncated\.jpg|float\.tiff) cannot be read"):
            list(batches)
        return
    splits = opened(tmp_path)
    assert sum(map(len, (splits.train, splits.select, splits.test))) == 36
    (note,) = (note for note in splits.notes if "left out" in note)
    assert note.startswith("5 files")
    for name, reason in expected.items():
        assert f"ant/{name} (" in note
        assert reason in note


def test_many_bad_files_are_counted(tmp_path: Path) -> None:
    fill(tmp_path, count=40)
    for number in range(30):
        (tmp_path / "ant" / f"{number:02}.png").write_bytes(b"")
    (note,) = (note for note in opened(tmp_path).notes if "left out" in note)
    assert note.startswith("30 files")
    assert note.count(".png") == 20
    assert "and 10 more" in note


@pytest.mark.row("B36")
def test_nothing_readable_is_refused(tmp_path: Path) -> None:
    for label in ("ant", "bee"):
        (tmp_path / label).mkdir()
        for number in range(5):
            (tmp_path / label / f"{number}.jpg").write_bytes(b"")
    with pytest.raises(DataError, match="No image of the train split could be read: ant/"):
        opened(tmp_path)


@pytest.mark.row("B36")
@pytest.mark.parametrize(
    ("layout", "reason"),
    [
        ({}, "at least two class folders"),
        ({"ant": 5}, "only “ant”"),
        ({"ant": 5, "bee": 0}, "only one folder"),
        ({"ant": 0, "bee": 0}, "There are no images"),
        ({"ant": 1, "bee": 1}, "at least 3 usable examples"),
        (
            {"train/ant": 5, "train/bee": 5, "test/ant": 5, "test/cow": 5},
            "Every class of test must also be in train; cow",
        ),
        ({"train/ant": 5, "train/bee": 5, "train/cow": 0, "test/cow": 5}, "must have training images; cow has none"),
        ({"train/ant": 5, "train/bee": 5, "test/ant": 0, "test/bee": 0}, "test split could be read: it has none"),
    ],
)
def test_what_is_no_data_set_is_refused(tmp_path: Path, layout: dict[str, int], reason: str) -> None:
    for place, count in layout.items():
        (tmp_path / place).mkdir(parents=True)
        for number, pixels in enumerate(random_images(count, 8, 8, 3)):
            write_image(tmp_path / place / f"{number}.png", pixels)
    with pytest.raises(DataError, match=reason):
        opened(tmp_path)


def test_an_empty_class_keeps_its_number(tmp_path: Path) -> None:
    fill(tmp_path, classes=("ant", "cat"))
    (tmp_path / "bee").mkdir()
    splits = opened(tmp_path)
    assert splits.class_names == ("ant", "bee", "cat")
    assert any("no images of bee" in note for note in splits.notes)


def test_other_files_are_passed_over_and_said(tmp_path: Path) -> None:
    fill(tmp_path)
    (tmp_path / "ant" / "notes.txt").write_text("about ants")
    (tmp_path / "ant" / ".DS_Store").write_bytes(b"x")
    (note,) = opened(tmp_path).notes[1:]
    assert "ant/notes.txt" in note
    assert "DS_Store" not in note


def test_images_of_different_sizes_get_one(tmp_path: Path) -> None:
    fill(tmp_path)
    write_image(tmp_path / "ant" / "large.png", random_images(1, 300, 200, 3)[0])
    splits = opened(tmp_path)
    assert splits.input_shape == (3, 32, 32)
    assert any("32×32" in note for note in splits.notes)
    assert opened(tmp_path, image_size=(24, 40)).input_shape == (3, 24, 40)


def test_lazy_images_equal_those_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build_image_folder(tmp_path)
    eager = opened(tmp_path, image_size=(16, 16))
    monkeypatch.setattr(decoding, "MEMORY_BYTES_AT_MOST", 1000)
    lazy = opened(tmp_path, image_size=(16, 16))
    assert any("batch by batch" in note for note in lazy.notes)
    for (x, y), (expected_x, expected_y) in zip(lazy.test.batches(4), eager.test.batches(4), strict=True):
        assert (x == expected_x).all()
        assert (y == expected_y).all()
    assert opened(tmp_path, image_size=(16, 16)).fingerprint == lazy.fingerprint
    assert lazy.describe()["per_class"] == eager.describe()["per_class"]
