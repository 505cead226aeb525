"""The program that draws the charts, by itself: no server, one chart on an empty page."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest

from dashboard.browser_files import CHART_URL, FILES
from dashboard.components.chart_frame import content_of
from dashboard.components.training_charts import layers_figure, loss_figure, score_figure
from tests.dashboard.training_seed import training_history

_PAGE = f"""<meta charset="utf-8"><section data-testid="stMain"><div id="place"></div></section><script type="module">
    import draw from "./{CHART_URL}";
    window.clicks = [];
    const setTriggerValue = (name, value) => clicks.push(value);
    const parentElement = document.getElementById("place");
    window.show = (data) => {{ window.leave = draw({{ parentElement, data, setTriggerValue }}); }};
</script>"""
_DRAWN = "() => document.querySelector('.esp-plot .main-svg') && !document.querySelector('[aria-busy]')"


@pytest.fixture
def page(chromium: Any) -> Iterator[Any]:
    """A page with nothing but the program. Fails at the end when it logged an error."""
    context = chromium.new_context()
    page, problems = context.new_page(), []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: message.type == "error" and problems.append(message.text))
    _open(page, FILES)
    yield page
    context.close()
    assert not problems, problems


def _open(page: Any, files: Mapping[str, Path]) -> None:
    page.route("**/*", lambda route: route.abort())
    page.route("**/page", lambda route: route.fulfill(body=_PAGE, content_type="text/html"))
    for url, path in files.items():
        page.route(f"**/{url}", partial(_hand_out, path))
    page.goto("http://charts.test/page")
    page.wait_for_function("() => window.show")


def _hand_out(path: Path, route: Any) -> None:
    route.fulfill(path=path, content_type="text/javascript")


def _show(page: Any, figure: go.Figure, *, place_px: int = 600) -> None:
    page.evaluate("(width) => document.getElementById('place').style.width = `${width}px`", place_px)
    page.evaluate("(data) => show(data)", content_of(figure, alt="a chart", width="stretch", clicks=True))
    page.wait_for_function(_DRAWN)


@pytest.mark.parametrize("make", [score_figure, loss_figure, lambda history: layers_figure(history, dark=False)])
def test_a_column_that_is_still_opening(page: Any, make: Callable[[Any], go.Figure]) -> None:
    """Charts are drawn at any width, and again when the width changes."""
    for width in (14, 30, 600):
        _show(page, make(training_history()), place_px=width)
        page.wait_for_function("(width) => document.querySelector('.main-svg').clientWidth === width", arg=width)


def test_a_chart_changes_in_place_and_is_taken_away(page: Any) -> None:
    _show(page, score_figure(training_history()))
    page.evaluate("() => window.before = document.querySelector('.main-svg')")
    _show(page, loss_figure(training_history()))
    assert page.evaluate("() => window.before === document.querySelector('.main-svg')")
    page.evaluate("() => leave()")
    page.wait_for_function("() => !document.querySelector('.esp-plot')")


def test_ticks_and_hover_texts_are_in_words_of_ours(page: Any) -> None:
    _show(page, score_figure(training_history()))
    page.evaluate("() => Plotly.Fx.hover(document.querySelector('.esp-plot'), [{curveNumber: 1, pointNumber: 2}])")
    page.wait_for_function("() => document.querySelector('.hoverlayer text')")
    texts = page.evaluate("() => [...document.querySelectorAll('.esp-plot text')].map((text) => text.textContent)")
    per_cent = [text for text in texts if "%" in text]
    assert "100 %" in per_cent
    assert all("%" not in text.replace(" %", "") for text in per_cent), per_cent


def test_a_click_is_told_once(page: Any) -> None:
    figure = go.Figure({"data": [{"type": "bar", "x": ["conv1"], "y": [1], "customdata": [["layer", "conv1"]]}]})
    figure.update_layout(height=300)
    _show(page, figure)
    _show(page, figure)
    page.locator(".esp-plot").click()
    page.wait_for_function("() => clicks.length")
    assert page.evaluate("() => clicks") == [{"points": [{"customdata": ["layer", "conv1"]}]}]


def test_without_its_library_a_chart_says_so(chromium: Any) -> None:
    context = chromium.new_context()
    page = context.new_page()
    _open(page, {CHART_URL: FILES[CHART_URL]})
    data = content_of(score_figure(training_history()), alt="a chart", width="stretch", clicks=False)
    page.evaluate("(data) => show(data)", data)
    page.get_by_text("could not be drawn").wait_for()
    context.close()
