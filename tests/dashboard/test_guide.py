"""The guide: it opens without a session, and speaks of pages that exist."""

import re

from dashboard import theme
from dashboard.catalogue import catalogue

from .conftest import OpenPage


def test_it_opens_without_a_session(open_page: OpenPage) -> None:
    page = open_page("guide")
    assert [tab.label for tab in page.tabs] == ["A tour in ten minutes", "Concepts", "Troubleshooting"]
    assert "2:4" in page.tabs[1].markdown[0].value


def test_the_tour_goes_through_pages_that_exist() -> None:
    text = (theme.ASSETS / "guide.md").read_text(encoding="utf-8")
    stations = re.findall(r"^\d+\. \*\*(\w+)\.\*\*", text, flags=re.MULTILINE)
    titles = {entry.title for entry in catalogue().values()}
    assert set(stations) <= titles | {"Run"}
    assert len(stations) == 6
