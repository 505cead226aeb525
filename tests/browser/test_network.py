"""Clicks on the drawn network, which only a real browser can make: open a part, choose layers, close it, on a phone."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from core.store import Workspace
from tests.dashboard.grouped import seed_groups

from .conftest import Site, Visit, serving

NewVisit = Callable[..., Visit]

_CHART = ".st-key-network-scroll .js-plotly-plot"
_BOXES = f"""() => {{
    const places = {{}};
    for (const trace of document.querySelector("{_CHART}").data)
        for (const [number, of] of (trace.type === "bar" && trace.customdata || []).entries())
            places[of.join(" ")] = [Number(trace.base[number]) + 12, Number(trace.y[number])];
    return places;
}}"""


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, str]]:
    """A server whose workspace holds a ResNet-20 with its groups, and the id of its session."""
    folder = tmp_path_factory.mktemp("drawn")
    workspace = Workspace.open(folder / "workspace")
    session = seed_groups(workspace, "resnet").id
    workspace.close()
    with serving(folder) as running:
        yield running, session


def _boxes(visitor: Visit) -> dict[str, tuple[float, float]]:
    """What can be clicked → where it is in the chart."""
    visitor.page.locator(f"{_CHART} .main-svg").first.wait_for()
    return dict(visitor.settle().page.evaluate(_BOXES))


def _click(visitor: Visit, what: str, expected: str) -> None:
    """Click a box and wait until the menu beside the picture says so."""
    _boxes(visitor)
    found = visitor.page.wait_for_function(f"(what) => ({_BOXES})()[what]", arg=what)  # not in an older drawing
    x, y = found.json_value()
    place: Any = visitor.page.locator(_CHART).bounding_box()
    visitor.page.mouse.click(place["x"] + x, place["y"] + y)
    menu = visitor.page.get_by_role("combobox", name="Layer or part")
    visitor.page.wait_for_function("([menu, text]) => menu.value === text", arg=[menu.element_handle(), expected])


def test_clicks_open_choose_and_close(drawn: tuple[Site, str], visit: NewVisit) -> None:
    site, session = drawn
    visitor = visit(site).go("model", session=session, view="drawing")
    visitor.page.get_by_role("radio", name="Stages").or_(
        visitor.page.get_by_role("button", name="Stages")
    ).first.click()
    visitor.page.wait_for_function(f"() => !Object.keys(({_BOXES})()).includes('layer layer1.0.conv1')")
    _click(visitor, "group layer2", "layer2")
    _click(visitor, "group layer2.1", "layer2.1")
    _click(visitor, "layer layer2.1.conv2", "layer2.1.conv2")
    visitor.sees("are added to each other")
    visitor.shot("model-drawing")
    # The same place, now and then another box: a click is never taken for the end of the one before.
    _click(visitor, "layer layer2.1.conv1", "layer2.1.conv1")
    _click(visitor, "layer layer2.1.conv2", "layer2.1.conv2")
    _click(visitor, "open layer2", "layer2")
    assert "group layer2" in _boxes(visitor)
    _click(visitor, "group layer2", "layer2")


def test_the_drawing_scrolls_inside_a_phone(drawn: tuple[Site, str], visit: NewVisit) -> None:
    site, session = drawn
    visitor = visit(site, width=390, height=844).go("model", session=session, view="drawing")
    _boxes(visitor)
    wide = visitor.page.evaluate(
        "() => { const box = document.querySelector('.st-key-network-scroll');"
        "return [box.scrollWidth > box.clientWidth, document.documentElement.scrollWidth]; }"
    )
    assert wide == [True, 390]
