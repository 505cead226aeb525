"""Charts as the page gets them: one and the same chart when its figure changes, and nothing that only costs."""

import json

from starlette.requests import Request
from streamlit.testing.v1 import AppTest

from dashboard.browser_files import CHART_URL, FILES, PLOTLY_URL
from dashboard.web import _file
from tests.dashboard.conftest import charts_of


def _page() -> None:
    import json

    import streamlit as st

    from dashboard.components.charts import draw, figure

    height = st.number_input("Height", value=2)
    bar = {"type": "bar", "x": [1], "y": [height], "customdata": [["layer", "conv1"]]}
    event = draw(figure(traces=[bar]), key="chart", alt="one bar", on_select="rerun", width=300)
    st.text(json.dumps(event and event["selection"]))


def test_a_changed_figure_is_the_same_chart() -> None:
    page = AppTest.from_function(_page, default_timeout=60).run()
    before = page.get("bidi_component")[0].proto
    assert charts_of(page)["chart"]["data"][0]["y"] == [2]
    page.number_input[0].set_value(5).run()
    after = page.get("bidi_component")[0].proto
    assert charts_of(page)["chart"]["data"][0]["y"] == [5]
    assert before.id == after.id, "another id: the browser would take the chart down and make a new one"
    assert "template" not in charts_of(page)["chart"]["layout"]
    assert CHART_URL in after.js_content
    assert len(after.js_content) < 400, "it comes along at every drawing"


def test_a_click_is_handed_over() -> None:
    page = AppTest.from_function(_page, default_timeout=60).run()
    assert page.text[0].value == "null"
    click = {"points": [{"customdata": ["layer", "conv1"]}]}
    page.session_state["chart"] = {"selection": click}
    page.run()
    assert json.loads(page.text[0].value) == click


def test_the_server_has_what_the_charts_ask_for() -> None:
    for url, path in FILES.items():
        response = _file(Request({"type": "http", "path": f"/{url}", "headers": [], "query_string": b""}))
        assert response.path == path
        assert path.stat().st_size > 1000
        assert "immutable" in response.headers["cache-control"]
    assert {CHART_URL, PLOTLY_URL} == set(FILES)
