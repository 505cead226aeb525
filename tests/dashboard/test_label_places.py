"""Names of points: they keep off one another, whatever the points."""

from hypothesis import example, given
from hypothesis import strategies as st

from dashboard.components.label_places import _PLACES, _box, _meet, label_places

SPOTS = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=12)


@given(SPOTS)
def test_no_two_names_lie_on_each_other(spots: list[tuple[float, float]]) -> None:
    texts = [f"variant {number}" for number in range(len(spots))]
    places = label_places(spots, texts, x_range=(0, 1), y_range=(0, 1), width_px=400, height_px=300)
    boxes = [
        _box(400 * x, 300 * y, 6.4 * len(text), *_PLACES[place])
        for (x, y), text, place in zip(spots, texts, places, strict=True)
        if place is not None
    ]
    assert not any(_meet(one, other) for number, one in enumerate(boxes) for other in boxes[:number])


def test_points_far_from_each_other_are_all_named() -> None:
    assert None not in label_places(
        [(0.1, 0.1), (0.5, 0.9), (0.6, 0.2)], ["a", "b", "c"], x_range=(0, 1), y_range=(0, 1)
    )


def test_one_value_on_an_axis_is_no_fault() -> None:
    assert label_places([(1.0, 1.0)], ["only"], x_range=(1.0, 1.0), y_range=(1.0, 1.0)) == ["top right"]


@given(SPOTS)
@example([(0.6875, 0.0), (1.0, 0.0), (0.734375, 0.0)])
def test_a_place_on_a_phone_is_free_in_every_wider_picture(spots: list[tuple[float, float]]) -> None:
    texts = [f"variant {number}" for number in range(len(spots))]
    phone = label_places(spots, texts, x_range=(0, 1), y_range=(0, 1), width_px=285)
    wide = label_places(spots, texts, x_range=(0, 1), y_range=(0, 1), width_px=430, kept=phone)
    assert all(kept in (None, place) for kept, place in zip(phone, wide, strict=True))
    boxes = [
        _box(430 * x, 250 * y, 6.4 * len(text), *_PLACES[place])
        for (x, y), text, place in zip(spots, texts, wide, strict=True)
        if place is not None
    ]
    assert not any(_meet(one, other) for number, one in enumerate(boxes) for other in boxes[:number])
