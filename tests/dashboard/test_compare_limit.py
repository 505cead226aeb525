"""A limit on the cost, and where variants come from."""

from types import SimpleNamespace

import pytest

from core.store import Workspace
from dashboard.components.compare_charts import ScatterPoint
from dashboard.components.compare_limit import best_within, limit_words
from dashboard.components.compare_lineage import branches
from dashboard.components.format import milliseconds

from .conftest import OpenPage, charts_of, text_of
from .seeding import seed_measurements, seed_session


def point(name: str, cost: float, score: float, *, high: float | None = None) -> ScatterPoint:
    return ScatterPoint(
        variant_id=name, name=name, dense=False, cost=cost, cost_low=None, cost_high=high, score=score,
        low=score - 0.01, high=score + 0.01, hover="",
    )  # fmt: skip


POINTS = [point("a", 1.0, 0.9, high=1.4), point("b", 2.0, 0.95), point("c", 3.0, 0.99), point("d", 0.9, 0.895)]


@pytest.mark.parametrize(("limit", "name"), [(0.5, None), (1.0, "a"), (2.5, "b"), (3.0, "c")])
def test_the_best_within_the_limit(limit: float, name: str | None) -> None:
    best = best_within(POINTS, limit)
    assert (best.name if best else None) == name


def test_words_say_what_is_uncertain() -> None:
    said = limit_words(POINTS, 1.2, best_within(POINTS, 1.2), metric="accuracy", shown=milliseconds)
    assert "**a**" in said
    assert "beyond the limit" in said
    assert "1 other within the limit may be as good" in said
    assert "the cheapest, **d**" in limit_words(POINTS, 0.1, None, metric="accuracy", shown=milliseconds)


def row(name: str, parent: str | None) -> SimpleNamespace:
    return SimpleNamespace(variant=SimpleNamespace(id=name, parent_id=parent, name=name))


def test_the_tree_names_every_variant_once_below_its_parent() -> None:
    rows = [row("dense", None), row("x", "dense"), row("y", "x"), row("z", "dense"), row("orphan", "deleted")]
    found = [(depth, item.variant.name) for depth, item in branches(rows)]  # type: ignore[arg-type]
    assert found == [(0, "dense"), (1, "x"), (2, "y"), (1, "z"), (0, "orphan")]


def test_compare_marks_the_best_within_a_limit(open_page: OpenPage, served: Workspace) -> None:
    seeded = seed_session(served)
    seed_measurements(served, seeded)
    page = open_page("compare", session=seeded.session.id)
    assert "as it was opened" in text_of(page)
    field = next(item for item in page.number_input if item.label.startswith("At most"))
    field.set_value(1000.0).run()
    assert "Best within" in text_of(page)
    field = next(item for item in page.number_input if item.label.startswith("At most"))
    field.set_value(0.0).run()
    assert "No variant costs at most" in text_of(page)


@pytest.mark.parametrize(
    ("cost", "measured", "title"),
    [("nonzero", "nonzero", "non-zero parameters, thousands"), ("sparse", "sparse_bytes", "compressed file, kB")],
)
def test_axis_and_limit_count_in_one_unit(
    open_page: OpenPage, served: Workspace, cost: str, measured: str, title: str
) -> None:
    seeded = seed_session(served)
    page = open_page("compare", session=seeded.session.id)
    next(item for item in page.button_group if str(item.key).startswith("compare-cost")).set_value(cost).run()
    chart = charts_of(page)["compare-scatter"]
    assert chart["layout"]["xaxis"]["title"]["text"] == title
    dense = served.store.variants(seeded.session.id)[0].sizes[measured] / 1000
    assert next(trace["x"] for trace in chart["data"] if trace["name"] == "dense") == [pytest.approx(dense)]
    page.number_input(key=f"compare-limit-{cost}").set_value(dense).run()
    assert "Best within" in text_of(page)
    assert charts_of(page)["compare-scatter"]["layout"]["shapes"][0]["x0"] == pytest.approx(dense)
