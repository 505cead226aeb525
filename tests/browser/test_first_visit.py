"""A newcomer's first minutes in the real browser: the demo in one click, the cut line, a refresh, a phone."""

from collections.abc import Callable

import pytest

from .conftest import Site, Visit

NewVisit = Callable[..., Visit]


@pytest.mark.row("F18")
def test_the_first_page_is_never_blank_and_asks_nobody(site: Site, visit: NewVisit) -> None:
    visitor = visit(site).go()
    for text in ("What pruning costs, and what it buys", "Begin with a sample", "Open your own"):
        visitor.sees(text)
    visitor.shot("start-empty")
    visitor.go("start").sees("Begin with a sample")
    assert not visitor.page.get_by_text("Page not found").count(), "Streamlit knows the first page by / only"


@pytest.mark.row("F18")
def test_the_demo_shows_layers_accuracy_and_data(site: Site, visit: NewVisit, demo: str) -> None:
    visitor = visit(site).go("model", session=demo)
    for text in ("Dense accuracy, test split", "Weights that fall", "Layers", "Data"):
        visitor.sees(text)
    assert visitor.page.locator('[data-testid="stDataFrame"]').first.is_visible()
    assert visitor.page.locator(".esp-pictures img").count() == 10
    visitor.shot("model")


def test_slider_and_threshold_follow_each_other_and_the_plan_remembers(site: Site, visit: NewVisit, demo: str) -> None:
    visitor = visit(site).go("model", session=demo)
    page = visitor.page
    threshold = page.get_by_label("Threshold on |w|").first
    before = threshold.input_value()
    visitor.slide("Sparsity of this layer", 51.0)
    page.get_by_role("button", name="Fix at 51.0 % in the plan").wait_for()
    assert float(threshold.input_value()) > float(before)
    threshold.fill("0")
    threshold.press("Enter")
    page.get_by_role("button", name="Fix at 0.0 % in the plan").wait_for()
    visitor.slide("Sparsity of this layer", 1.0)
    page.get_by_role("button", name="Fix at 1.0 % in the plan").click()
    visitor.sees("The draft plan fixes this layer at 1.0 %.")
    page.reload()
    visitor.settle().sees("The draft plan fixes this layer at 1.0 %.")
    page.get_by_role("button", name="Free again").click()
    page.get_by_role("button", name="Free again").wait_for(state="detached")


def test_links_to_pages_keep_the_session(site: Site, visit: NewVisit, demo: str) -> None:
    visitor = visit(site).go("model", session=demo)
    links = visitor.page.locator(".st-key-masthead a")
    hrefs = [links.nth(i).get_attribute("href") or "" for i in range(links.count())]
    assert len(hrefs) >= 6
    for href in hrefs:
        assert f"session={demo}" in href, hrefs
    visitor.page.get_by_role("link", name="Plan", exact=True).first.click()
    visitor.page.wait_for_url(f"**/plan?session={demo}")


def test_an_address_of_a_deleted_session_says_so(site: Site, visit: NewVisit) -> None:
    visitor = visit(site).go("model", session="0123456789abcdef")
    visitor.sees("This session is not here")
    visitor.page.get_by_role("link", name="Go to Start").click()
    visitor.sees("Begin with a sample")


def test_a_session_can_be_renamed_and_deleted(site: Site, visit: NewVisit, demo: str) -> None:
    visitor = visit(site).go()
    page = visitor.page
    visitor.click("More")
    page.get_by_role("menuitem", name="Rename").or_(page.get_by_role("option", name="Rename")).first.click()
    field = page.get_by_role("dialog").get_by_label("Name")
    field.fill("Renamed <i>session</i>")
    field.press("Enter")
    page.get_by_role("dialog").get_by_role("button", name="Rename").click()
    visitor.sees("Renamed <i>session</i>")
    visitor.click("More")
    page.get_by_role("menuitem", name="Delete").or_(page.get_by_role("option", name="Delete")).first.click()
    page.get_by_role("dialog").get_by_role("button", name="Keep it").click()
    page.get_by_role("dialog").wait_for(state="detached")
    visitor.sees("Renamed <i>session</i>")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_everything_without_sideways_scrolling(
    site: Site, visit: NewVisit, demo: str, scheme: str
) -> None:
    visitor = visit(site, width=390, height=844, scheme=scheme)
    for address, text in (("", "Begin with a sample"), ("model", "Weights that fall")):
        visitor.go(address, session=demo).sees(text)
        visitor.shot(f"{address or 'start'}-phone-{scheme}")
        assert visitor.overflow <= 0, address
