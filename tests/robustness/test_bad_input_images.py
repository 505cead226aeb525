"""Images from anywhere: judged by their content, bounded before they are unpacked, and never of a wrong colour."""

import io
import struct
import subprocess
import time
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.data.files import BadFile, image_size_of, read_image, read_mask

pytestmark = pytest.mark.row("B37")

RED = (200, 30, 40)


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_bomb(width: int, height: int) -> bytes:
    """A whole, valid picture of zeros, a thousandth of its size in the file."""
    rows = zlib.compressobj(9)
    packed = b"".join(rows.compress(bytes(1 + width)) for _ in range(height)) + rows.flush()
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", head) + png_chunk(b"IDAT", packed) + png_chunk(b"IEND", b"")


def announced(kind: str) -> bytes:
    """Headers that promise more pixels than any picture here may have."""
    if kind == "png":
        return png_bomb(12_000, 9_000)
    if kind == "gif":
        return b"GIF89a" + struct.pack("<HHBBB", 65_535, 65_535, 0, 0, 0) + b"\x2c" + bytes(64)
    if kind == "bmp":
        return (
            b"BM"
            + struct.pack("<IHHI", 1000, 0, 0, 54)
            + struct.pack("<IiiHHIIiiII", 40, 30_000, 30_000, 1, 24, 0, 0, 0, 0, 0, 0)
        )
    if kind == "ppm":
        return b"P6\n50000 50000\n255\n" + bytes(64)
    small = io.BytesIO()
    Image.new("RGB", (8, 8)).save(small, kind)
    body = bytearray(small.getvalue())
    if kind == "jpeg":
        start = body.index(b"\xff\xc0")
        body[start + 5 : start + 9] = struct.pack(">HH", 65_000, 65_000)
    return bytes(body)


@pytest.mark.parametrize("kind", ["png", "gif", "bmp", "ppm", "jpeg"])
def test_an_enormous_picture_is_refused_before_it_is_unpacked(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"bomb.{kind}"
    path.write_bytes(announced(kind))
    before = time.process_time()
    tracemalloc.start()
    try:
        with pytest.raises(BadFile, match=r"pixels|damaged|no image"):
            read_image(path)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()
    assert time.process_time() - before < 2.0


OTHER_CONTENT: dict[str, bytes] = {
    "PostScript, which would start a program": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n",
    "text": b"not an image",
    "web page": b"<!DOCTYPE html><html></html>",
    "SVG with a script": b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
    "zip": b"PK\x03\x04" + bytes(64),
    "PDF": b"%PDF-1.4\n",
    "program": b"\x7fELF" + bytes(64),
    "Photoshop": b"8BPS\0\x01" + bytes(64),
    "icon": b"\0\0\1\0\1\0" + bytes(64),
    "zeros": bytes(1000),
    "nothing": b"",
    "a head alone": b"\x89PNG\r\n\x1a\n",
}  # fmt: skip


@pytest.mark.row("B08")
@pytest.mark.parametrize("what", OTHER_CONTENT)
def test_the_content_decides_not_the_name(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("a program was started"))
    monkeypatch.setattr(subprocess, "check_call", lambda *_, **__: pytest.fail("a program was started"))
    path = tmp_path / "picture.png"
    path.write_bytes(OTHER_CONTENT[what])
    with pytest.raises(BadFile):
        read_image(path)
    with pytest.raises(BadFile):
        read_mask(path)
    assert image_size_of(path) is None


def saved(image: Image.Image, path: Path, **options: object) -> Path:
    image.save(path, **options)
    return path


ODD: dict[str, tuple[Callable[[Path], Path], str | None]] = {
    "CMYK": (lambda p: saved(Image.new("RGB", (9, 7), RED).convert("CMYK"), p / "a.jpg", quality=100), "CMYK"),
    "CMYK TIFF": (lambda p: saved(Image.new("RGB", (9, 7), RED).convert("CMYK"), p / "a.tiff"), "CMYK"),
    "YCbCr TIFF": (lambda p: saved(Image.new("RGB", (9, 7), RED).convert("YCbCr"), p / "a.tiff"), None),
    "GIF": (lambda p: saved(Image.new("RGB", (9, 7), RED).quantize(4), p / "a.gif"), "palette"),
    "palette": (lambda p: saved(Image.new("RGB", (9, 7), RED).quantize(4), p / "a.png"), "palette"),
    "palette with a clear colour": (
        lambda p: saved(Image.new("RGB", (9, 7), RED).quantize(4), p / "a.png", transparency=3),
        "transparent|palette",
    ),
    "alpha": (lambda p: saved(Image.new("RGBA", (9, 7), (*RED, 255)), p / "a.png"), "transparent"),
    "WebP": (lambda p: saved(Image.new("RGB", (9, 7), RED), p / "a.webp", lossless=True), None),
    "animated WebP": (
        lambda p: saved(
            Image.new("RGB", (9, 7), RED), p / "a.webp", lossless=True, save_all=True,
            append_images=[Image.new("RGB", (9, 7))],
        ),
        "first frame",
    ),
    "TIFF of two pages": (
        lambda p: saved(
            Image.new("RGB", (9, 7), RED), p / "a.tiff", save_all=True, append_images=[Image.new("RGB", (5, 5))]
        ),
        "first frame",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", ODD)
def test_red_stays_red(what: str, tmp_path: Path) -> None:
    make, remark = ODD[what]
    pixels, remarks = read_image(make(tmp_path))
    assert pixels.shape == (3, 7, 9)
    assert np.abs(pixels.reshape(3, -1).astype(int) - np.array(RED)[:, None]).max() <= 6
    assert (remark is None) or any(
        any(word in said for word in remark.split("|")) for said in remarks
    ), remarks  # fmt: skip


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_rotation_is_set_right(orientation: int, tmp_path: Path) -> None:
    """The picture as a person sees it: bright at the top left."""
    upright = Image.new("L", (16, 8), 0)
    upright.paste(255, (0, 0, 8, 4))
    turned = {
        1: None, 2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = upright if turned is None else upright.transpose(turned)
    path = saved(stored, tmp_path / "a.png", exif=exif)
    pixels, remarks = read_image(path)
    assert pixels.shape == (3, 8, 16)
    assert pixels[:, :4, :8].min() == 255
    assert pixels[:, 4:, :].max() == 0
    assert image_size_of(path) == (8, 16)
    assert (orientation == 1) == (not any("upright" in said for said in remarks))


def test_damage_at_any_place_is_a_bad_file_or_a_picture(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    noise = Image.fromarray(random.integers(0, 256, (24, 24, 3), np.uint8))
    for kind in ("png", "jpeg", "gif", "bmp", "tiff", "webp", "ppm"):
        whole = io.BytesIO()
        noise.save(whole, kind)
        for _ in range(40):
            body = bytearray(whole.getvalue())
            for place in random.integers(0, len(body), 3):
                body[place] = random.integers(0, 256)
            path = tmp_path / f"a.{kind}"
            path.write_bytes(body[: random.integers(1, len(body) + 1)])
            try:
                pixels, _ = read_image(path, size=(8, 8))
            except BadFile:
                continue
            assert pixels.shape == (3, 8, 8)
