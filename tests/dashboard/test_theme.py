"""Colours that everybody can read and tell apart: contrast in both schemes, and distance for every colour vision."""

import itertools
import re

import numpy as np
import pytest

from dashboard import theme
from dashboard.components.charts import PALETTE

SCHEMES = ("light", "dark")
TEXT, GRAPHIC = 4.5, 3.0
"""What WCAG 2.2 asks for at level AA: 1.4.3 of text, 1.4.11 of lines, marks and controls."""

# Machado, Oliveira, Fernandes, "A Physiologically-based Model for Simulation of Color Vision Deficiency" (2009),
# severity 1: what linear RGB looks like.
VISIONS = {
    "all cones": np.eye(3),
    "no L cones": np.array([[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]]),
    "no M cones": np.array([[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]]),
    "no S cones": np.array([[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]]),
}
LEAST_DISTANCE = 12.0
"""CIE76; 2.3 is what can just be seen side by side."""


def _linear(colour: str) -> np.ndarray:
    value = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def _contrast(one: str, other: str) -> float:
    light = sorted(float(_linear(colour) @ [0.2126, 0.7152, 0.0722]) + 0.05 for colour in (one, other))
    return light[1] / light[0]


def _lab(linear: np.ndarray) -> np.ndarray:
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = to_xyz @ np.clip(linear, 0, 1) / [0.9505, 1.0, 1.089]
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def _colour(scheme: str, name: str) -> str:
    return str(theme.STREAMLIT_OPTIONS[f"theme.{scheme}.{name}"])


def _mixed(colour: str, paper: str, share: float) -> str:
    pairs = [(int(colour[i : i + 2], 16), int(paper[i : i + 2], 16)) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(share * a + (1 - share) * b):02X}" for a, b in pairs)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("paper", ["backgroundColor", "secondaryBackgroundColor"])
def test_text_can_be_read(scheme: str, paper: str) -> None:
    behind, ink = _colour(scheme, paper), _colour(scheme, "textColor")
    sheet = (theme.ASSETS / "style.css").read_text(encoding="utf-8")
    pale = min(float(share) for share in re.findall(r"opacity: (\.[78]\d?)", sheet))
    for colour in (ink, _colour(scheme, "linkColor"), _mixed(ink, behind, pale)):
        assert _contrast(colour, behind) >= TEXT, (colour, behind)
    # The sheet names colours of both schemes as light-dark(light, dark), all of them for text.
    for pair in re.findall(r"light-dark\((#\w{6}), (#\w{6})\)", sheet):
        assert _contrast(pair[SCHEMES.index(scheme)], behind) >= TEXT, pair


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_accent_carries_white_and_stands_out(scheme: str) -> None:
    accent = _colour(scheme, "primaryColor")
    assert _contrast("#FFFFFF", accent) >= TEXT
    assert _contrast(accent, _colour(scheme, "backgroundColor")) >= GRAPHIC


@pytest.mark.parametrize("scheme", SCHEMES)
def test_marks_stand_out_from_the_page(scheme: str) -> None:
    for colour in PALETTE:
        assert _contrast(colour, _colour(scheme, "backgroundColor")) >= GRAPHIC, colour


@pytest.mark.parametrize("vision", list(VISIONS))
def test_any_two_colours_of_the_palette_differ(vision: str) -> None:
    seen = {colour: _lab(VISIONS[vision] @ _linear(colour)) for colour in PALETTE}
    for one, other in itertools.combinations(PALETTE, 2):
        distance = float(np.linalg.norm(seen[one] - seen[other]))
        assert distance >= LEAST_DISTANCE, (one, other, distance)
