"""Pages in AppTest: a workspace of their own per test, a runner in this process, and words to look for.

``open_page("model", session=…)`` runs a page as the browser would open it; ``text_of`` is what a person can read there.
"""

import html
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest
from streamlit.util import calc_hash

from core.store import Workspace
from dashboard import backend
from dashboard.components import charts, fold

APP = Path(__file__).resolve().parents[2] / "dashboard" / "entry" / "main.py"

OpenPage = Callable[..., AppTest]


@pytest.fixture(autouse=True)
def nothing_unseen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plotly checks every figure, and folded parts are open: what is in them is drawn in every test of a page."""
    monkeypatch.setattr(charts, "CHECKED", True)
    monkeypatch.setattr(fold, "START_OPEN", True)


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    """The workspace that the pages of this test see; jobs run inline. Closed, runner and all, after the test."""
    backend.close()
    monkeypatch.setenv("ESPALIER_WORKSPACE", str(tmp_path / "workspace"))
    monkeypatch.setenv("ESPALIER_RUNNER", "inline")
    monkeypatch.delenv("ESPALIER_DATA_ROOT", raising=False)
    yield backend.workspace()
    backend.close()


@pytest.fixture
def open_page(served: Workspace) -> OpenPage:
    """Run the app at a page: ``open_page("model", session="…")``. Fails on an uncaught exception of the page.

    ``tabs``: key of tabs → name of the one that is looked at.
    """

    def run(
        url: str = "start", *, check: bool = True, tabs: Mapping[str, str] | None = None, **parameters: str
    ) -> AppTest:
        page = AppTest.from_file(str(APP), default_timeout=60)
        for key, name in (tabs or {}).items():
            page.session_state[key] = name
        for name, value in parameters.items():
            page.query_params[name] = value
        # Pages are functions: AppTest can switch to files only. The hash of a page is that of its url.
        page._page_hash = calc_hash(url)
        page.run()
        if check:
            assert not page.exception, page.exception[0].message
            faults = [item.value for item in page.error if "fault of the program" in item.value]
            assert not faults, f"{faults}\n{page.code[0].value if page.code else ''}"
        return page

    return run


def charts_of(page: AppTest) -> dict[str, dict[str, Any]]:
    """Key → figure of every chart on the page, in its order. A key ends the widget's id, after the hash."""
    drawn = (item.proto for item in page.get("bidi_component"))
    return {
        chart.id.split("-", 2)[2]: json.loads(json.loads(json.loads(chart.json))["figure"])
        for chart in drawn
        if chart.component_name == "espalier_chart"
    }


def text_of(page: AppTest) -> str:
    """Everything that a person can read on the page: markdown, HTML without tags, messages, labels, code."""
    return "\n".join(_words(node) for node in page._tree)


def _words(node: Any) -> str:
    found: list[str] = []
    proto = getattr(node, "proto", None)
    for name in ("body", "label", "value", "title", "text"):
        value = getattr(proto, name, None)
        if isinstance(value, str) and value:
            found.append(html.unescape(re.sub(r"<[^>]+>", " ", value)))
    if isinstance(getattr(node, "value", None), str):
        found.append(str(node.value))
    return re.sub(r"[ \t\xa0]+", " ", " ".join(found))
