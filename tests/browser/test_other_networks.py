"""A segmentation in the real browser: its score is mIoU, and what changed is shown as masks."""

from collections.abc import Callable

from . import steps
from .conftest import Site, Visit

NewVisit = Callable[..., Visit]


def test_a_segmentation_shows_masks_side_by_side(site: Site, visit: NewVisit) -> None:
    visitor = visit(site).go()
    page = visitor.page
    page.get_by_role("radio", name="Samples").or_(page.get_by_role("button", name="Samples")).first.click()
    visitor.settle()
    steps.choose(visitor, "Architecture", "scenes_fcn")
    steps.fill(visitor, "Images per split at most", 60)
    page.locator(".st-key-open-model button:enabled").click()
    steps.follow(visitor, "model")
    visitor.sees("Dense mIoU, test split", timeout_s=steps.LONG_S)
    steps.plan(visitor, sparsity=60)
    steps.run_plan(visitor)
    steps.compare(visitor, "LAMP 60 %")
    assert page.locator(".esp-cmp th", has_text="mIoU").count() == 1
    page.get_by_role("tab", name="Images that changed").click()
    visitor.click("Find the images that changed")
    visitor.sees("ground truth", timeout_s=steps.LONG_S)
    visitor.settle().shot("segmentation-gallery")
    # Four rows, each with the image, the ground truth and both predictions.
    assert page.locator('.esp-masks img[alt^="Image "]').count() == 16
