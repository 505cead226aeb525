"""From one person to another in the real browser: a bundle is opened, shared, read in a private window, forked, and
withdrawn; views are shown with the arrow keys."""

from collections.abc import Callable
from pathlib import Path

from .conftest import Site, Visit

NewVisit = Callable[..., Visit]

GOLDEN = Path(__file__).resolve().parents[1] / "sharing" / "data" / "bundle-1.espalier.zip"


def test_a_session_goes_from_hand_to_hand(site: Site, visit: NewVisit) -> None:
    owner = visit(site).go()
    page = owner.page
    owner.sees("Open a bundle").click()
    page.locator('.st-key-import-file input[type="file"]').set_input_files(GOLDEN)
    owner.click("Open the bundle")
    page.wait_for_url("**/compare?session=*")
    owner.sees("A closer look")
    owner.settle()

    page.locator(".st-key-share-panel button").first.click()
    page.get_by_text("May be taken along").click()
    owner.settle().click("Create link")
    address = owner.sees("/share?token=").inner_text().strip()
    assert address.startswith(f"{site.url}/share?token=")

    # A private window: another context has none of the owner's state.
    reader = visit(site, width=390, height=844)
    reader.page.goto(address, wait_until="commit")
    reader.settle().sees("Nothing can be run here.")
    reader.sees("What each layer can spare")
    assert reader.page.get_by_role("link", name="Runs").count() == 0
    reader.shot("share-report-phone")
    reader.click("Fork")
    reader.page.wait_for_url("**/compare?session=*")
    reader.settle().sees("forked from")
    assert reader.session_id != owner.session_id

    owner.click("Withdraw")
    owner.settle()
    late = visit(site)
    late.page.goto(address, wait_until="commit")
    late.settle().sees("No report here")


def test_views_are_shown_with_the_arrow_keys(site: Site, visit: NewVisit) -> None:
    speaker = visit(site).go()
    page = speaker.page
    speaker.sees("Open a bundle").click()
    page.locator('.st-key-import-file input[type="file"]').set_input_files(GOLDEN)
    speaker.click("Open the bundle")
    page.wait_for_url("**/compare?session=*")
    speaker.sees("A closer look")
    session = speaker.settle().session_id
    assert session
    for url in ("compare", "sensitivity"):
        speaker.go(url, session=session)
        page.locator(".st-key-keep-view button").first.click()
        speaker.click("Keep this view")
        speaker.sees("Kept as")
    speaker.go("present", session=session)
    page.locator(".st-key-present-start button").click()
    page.locator(".esp-view", has_text="1 of 3").wait_for()  # one view came with the bundle
    speaker.shot("present")
    for place in ("2 of 3", "3 of 3"):
        page.locator("body").press("ArrowRight")
        page.locator(".esp-view", has_text=place).wait_for()
    page.locator("body").press("Escape")
    page.wait_for_url("**/present?session=*")
