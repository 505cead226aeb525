"""More ways through the product in the real browser: a bad upload, a training that stops and goes on, heads of a
transformer, a segmentation. All but the first are slow: ``uv run pytest -m slow tests/browser``.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.store import JobState, Workspace

from .conftest import Site, Visit
from .test_journey import LONG_S

NewVisit = Callable[..., Visit]


@pytest.mark.row("B08")
def test_a_bad_upload_is_refused_and_the_good_one_after_it_opens(site: Site, visit: NewVisit, tmp_path: Path) -> None:
    bad = tmp_path / "weights.pt"
    bad.write_text("these are no weights")
    visitor = visit(site).go()
    page = visitor.page
    page.locator('[data-testid="stFileUploader"] input[type="file"]').first.set_input_files(bad)
    visitor.sees("weights.pt")
    visitor.settle()
    page.locator(".st-key-open-model button:enabled").first.click()
    visitor.sees(re.compile("not a checkpoint but a text file"), timeout_s=LONG_S)  # type: ignore[arg-type]
    visitor.go()
    visitor.click("Use the demo")
    page.wait_for_url("**/model?session=*")
    visitor.sees("Dense accuracy, test split")


@pytest.mark.slow
def test_a_training_is_cancelled_and_goes_on(site: Site, visit: NewVisit) -> None:
    visitor = opened(site, visit, "Use the demo")
    plan_with(visitor, "CPD", sparsity=50)
    visitor.click("Run this plan")
    page = visitor.page
    page.get_by_role("link", name="Runs", exact=True).first.click()
    cancel = page.get_by_role("button", name="Cancel").first
    cancel.wait_for(timeout=LONG_S * 1000)
    visitor.sees(re.compile(r"epoch 2/"), timeout_s=LONG_S)  # type: ignore[arg-type]
    cancel.click()
    resume = page.get_by_role("button", name="Resume").first
    resume.wait_for(timeout=LONG_S * 1000)
    page.reload()
    visitor.settle()
    page.get_by_role("button", name="Resume").first.click()
    with Workspace.open(site.workspace) as workspace:
        for _ in range(int(2 * LONG_S)):
            (job,) = [job for job in workspace.store.jobs(session_id=visitor.session_id) if job.kind == "prune"]
            if job.state is JobState.DONE:
                break
            page.wait_for_timeout(500)
    assert job.state is JobState.DONE, job.error
    page.get_by_role("link", name="Compare", exact=True).first.click()
    page.locator(".esp-cmp").get_by_text("CPD 50 %", exact=True).wait_for()


@pytest.mark.slow
def test_heads_of_a_transformer_are_removed(site: Site, visit: NewVisit) -> None:
    visitor = opened(site, visit, "Open", card=1)
    visitor.sees(re.compile("heads"))  # type: ignore[arg-type]
    plan_with(visitor, "One-shot structured", sparsity=30)
    visitor.click("Run this plan")
    visitor.sees("is done", timeout_s=LONG_S)
    pruned = newest_layers(visitor)
    assert any(row["removed"] for name, row in pruned.items() if "qkv" in name or "attention" in name), list(pruned)


@pytest.mark.slow
def test_a_segmentation_shows_masks_side_by_side(site: Site, visit: NewVisit) -> None:
    visitor = opened(site, visit, "Open", card=2)
    plan_with(visitor, "One-shot structured", sparsity=30)
    visitor.click("Run this plan")
    visitor.sees("is done", timeout_s=LONG_S)
    page = visitor.page
    page.get_by_role("link", name="Compare", exact=True).first.click()
    visitor.settle()
    page.get_by_role("tab", name="Images that changed").click()
    visitor.settle()
    look = page.get_by_role("button", name=re.compile("images", re.IGNORECASE)).first
    if look.count():
        look.click()
    visitor.sees(re.compile("ground truth", re.IGNORECASE), timeout_s=LONG_S)  # type: ignore[arg-type]
    visitor.settle().shot("journey-segmentation")


def opened(site: Site, visit: NewVisit, label: str, *, card: int = 0) -> Visit:
    """A visitor who has opened a sample by its card."""
    visitor = visit(site).go()
    buttons: Any = visitor.page.get_by_role("button", name=label, exact=True)
    buttons.nth(max(0, card - 1)).click()
    visitor.page.wait_for_url("**/model?session=*")
    visitor.sees(re.compile("Dense (accuracy|mIoU), test split"), timeout_s=LONG_S)  # type: ignore[arg-type]
    return visitor


def plan_with(visitor: Visit, method: str, *, sparsity: int) -> None:
    """On the Plan page: a method by its name, and a sparsity."""
    page = visitor.page
    page.get_by_role("link", name="Plan", exact=True).first.click()
    page.get_by_label("Sparsity, exactly, %").wait_for()
    visitor.settle()
    box = page.locator('[data-testid="stSelectbox"]').filter(has_text=re.compile("^Method")).first
    box.locator("input").click()
    page.get_by_role("option", name=re.compile(f"^{re.escape(method)}( ·|$)")).first.click()
    visitor.settle()
    field = page.get_by_label("Sparsity, exactly, %")
    field.fill(str(sparsity))
    field.press("Enter")
    visitor.settle()


def newest_layers(visitor: Visit) -> dict[str, dict[str, Any]]:
    """The layers of the variant that was made last, read as another process."""
    with Workspace.open(visitor.site.workspace) as workspace:
        variant = workspace.store.variants(visitor.session_id or "")[-1]
    return {row["name"]: row for row in variant.layers}
