"""Numbers keep their unit and three sensible digits; text cannot act as markup."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard.components import format as fmt


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (fmt.count(853), "853"),
        (fmt.count(1_234_567), "1.23 M"),
        (fmt.count(999_999), "1.00 M"),
        (fmt.count(853_018), "853 k"),
        (fmt.macs(41_480_000), "41.5 MMACs"),
        (fmt.macs(640), "640 MACs"),
        (fmt.size(3_200_000), "3.20 MB"),
        (fmt.size(0), "0 B"),
        (fmt.milliseconds(12.345), "12.3 ms"),
        (fmt.milliseconds(0.0851), "0.0851 ms"),
        (fmt.milliseconds(1234.0), "1.23 s"),
        (fmt.percent(0.9164), "91.6 %"),
        (fmt.points(-0.0121), "−1.2 points"),
        (fmt.points(0.0), "±0.0 points"),
        (fmt.interval(0.901, 0.932), "90.1–93.2 %"),
        (fmt.duration(125), "2 min 5 s"),
        (fmt.speedup(2.154), "2.15×"),
        (fmt.shape([64, 8, 8]), "64 × 8 × 8"),
        (fmt.whole(1017), "1,017"),
    ],
)
def test_numbers_read_as_expected(text: str, expected: str) -> None:
    assert text == expected


@pytest.mark.parametrize("form", [fmt.count, fmt.macs, fmt.size, fmt.milliseconds, fmt.percent, fmt.points, fmt.whole])
def test_an_absent_number_is_a_dash_and_never_zero(form) -> None:
    assert form(None) == "–"


@given(st.floats(min_value=1e3, max_value=9e11))
def test_scaled_numbers_stay_within_half_a_per_cent(value: float) -> None:
    number, unit = fmt.split_unit(fmt.size(value))
    factor = {"kB": 1e3, "MB": 1e6, "GB": 1e9}[unit]
    assert float(number) * factor == pytest.approx(value, rel=0.006)
    assert len(re.sub(r"\D", "", number)) <= 4


@pytest.mark.parametrize(
    ("name", "limit", "expected"),
    [
        ("layer3.0.conv1", 34, "layer3.0.conv1"),
        ("backbone.layer3.0.downsample.0", 26, "b.layer3.0.downsample.0"),
        ("encoder.layers.encoder_layer_10.self_attention.out_proj", 34, "e.l.e10.self_attention.out_proj"),
        ("encoder.layers.encoder_layer_10.self_attention.out_proj", 26, "e.l.e10.s.out_proj"),
        ("a_name_without_parts_that_is_long", 20, "a_name_witho…is_long"),
    ],
)
def test_a_layer_keeps_its_numbers_and_its_end(name: str, limit: int, expected: str) -> None:
    assert fmt.short_path(name, limit) == expected


@given(st.text(), st.integers(min_value=8, max_value=60))
def test_a_layer_fits(name: str, limit: int) -> None:
    assert len(fmt.short_path(name, limit)) <= limit


def test_layers_of_one_picture_are_shortened_alike() -> None:
    names = ["encoder.layers.encoder_layer_3.mlp.0", "encoder.layers.encoder_layer_3.self_attention.in_proj", "head"]
    assert fmt.short_paths(names, 30) == ["e.l.e3.mlp.0", "e.l.e3.self_attention.in_proj", "head"]
    assert fmt.short_paths(names, 26) == ["e.l.e3.mlp.0", "e.l.e3.s.in_proj", "head"]
    assert fmt.short_paths(names, 60) == names
    assert fmt.short_paths([]) == []


def test_layers_that_would_look_alike_keep_their_names() -> None:
    names = ["network.stage.block.convolution", "network.stem.block.convolution", "network.head"]
    assert fmt.short_paths(names, 22) == [*names[:2], "n.head"]
    words = fmt.menu_words(names, 22)
    assert len({words(name) for name in names}) == 3


@given(st.text())
def test_escaped_text_has_no_markup_and_one_line(text: str) -> None:
    assert "<" not in fmt.escape(text)
    assert "\n" not in fmt.escape(text)
    unescaped = re.sub(r"\\.", "", fmt.escape(text, markdown=True))
    assert not set("*_`[]<>$~|#") & set(unescaped)


@pytest.mark.parametrize("text", [":material/home:", "a :smile: b", ":+1:"])
def test_words_between_colons_stay_words(text: str) -> None:
    shown = fmt.escape(text, markdown=True).replace("\\", "")
    assert shown != text
    assert shown.replace("\u2060", "") == text


@given(st.text(min_size=1), st.integers(min_value=8, max_value=60))
def test_shortened_text_keeps_its_ends(text: str, limit: int) -> None:
    line, shown = fmt.plain(text), fmt.short(text, limit)
    assert len(shown) <= max(limit, 0)
    if len(line) > limit:
        assert shown[0] == line[0]
        assert shown[-1] == line[-1]


def test_right_to_left_overrides_are_dropped() -> None:
    assert fmt.plain("safe\u202egnp.exe") == "safe gnp.exe"


@pytest.mark.parametrize(
    ("seconds", "expected"), [(5, "just now"), (300, "5 min ago"), (7200, "2 h ago"), (100_000, "yesterday")]
)
def test_ago(seconds: float, expected: str) -> None:
    now = datetime(2026, 3, 12, 12, tzinfo=UTC)
    assert fmt.ago(now - timedelta(seconds=seconds), now=now) == expected


def test_long_ago_is_a_date() -> None:
    assert fmt.ago(datetime(2026, 1, 2, tzinfo=UTC), now=datetime(2026, 3, 12, tzinfo=UTC)) == "2 Jan 2026"


def test_a_number_and_its_per_cent_sign_stay_on_one_line() -> None:
    assert fmt.unbroken("95 % interval of 3 % images") == "95\u00a0% interval of 3\u00a0% images"
    assert fmt.unbroken("output 64 × 4 × 4 of it") == "output 64\u00a0×\u00a04\u00a0×\u00a04 of it"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (0.0059, "0.0059"),
        (2.41e-6, "2.4 × 10⁻⁶"),
        (-9.96e-5, "−1.0 × 10⁻⁴"),
        (5.9e-12, "5.9 × 10⁻¹²"),
        (-1234.5, "−1,234"),
    ],
)
def test_numbers_near_zero_are_read_as_people_write_them(value: float, text: str) -> None:
    assert fmt.signed(value, 2) == text
