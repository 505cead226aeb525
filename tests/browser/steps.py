"""What a visitor does on the way from a model to an ONNX file, one function per step."""

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from core.store import Job, JobState, Store, Variant, Workspace

from .conftest import Site, Visit

__all__ = [
    "LONG_S",
    "answers_of",
    "choose",
    "compare",
    "export",
    "fill",
    "follow",
    "job_of",
    "measure_latency",
    "open_sample",
    "plan",
    "run_plan",
    "runs",
    "session_with_variants",
    "start_sensitivity",
    "to",
    "until",
    "variants_of",
]

LONG_S = 600.0
"""How long a job may take, with what waits before it, on a loaded machine."""


def open_sample(visitor: Visit, name: str) -> None:
    """Open a sample model by its card, and wait until its score on the test split is there."""
    visitor.page.locator(f".st-key-open-{name} button").click()
    follow(visitor, "model")
    visitor.sees(re.compile(r"Dense (accuracy|mIoU), test split"), timeout_s=LONG_S)


def follow(visitor: Visit, page: str) -> None:
    """Wait until the address is that of a page of a session."""
    visitor.page.wait_for_url(f"**/{page}?session=*")


def to(visitor: Visit, page: str) -> None:
    """Go to a page by its link in the masthead."""
    visitor.page.get_by_role("link", name=page, exact=True).first.click()
    follow(visitor, page.lower())


def choose(visitor: Visit, label: str, option: str) -> None:
    """Choose the option of a menu that begins with these words."""
    box = visitor.page.locator('[data-testid="stSelectbox"]').filter(has_text=re.compile(f"^{label}")).first
    field = box.locator("input")
    if field.input_value() == option or box.get_by_text(option, exact=True).count():
        return
    box.evaluate("box => box.scrollIntoView({block: 'center'})")  # at the lower edge of the window no menu opens
    field.fill(option)  # a long menu holds only what is near; typing searches it
    visitor.page.get_by_role("option", name=re.compile(f"^{re.escape(option)}( ·|$)")).first.click()
    visitor.settle()


def fill(visitor: Visit, label: str, value: object) -> None:
    """Type into a field and leave it."""
    field = visitor.page.get_by_label(label, exact=True).first
    field.fill(str(value))
    field.press("Enter")
    visitor.settle()


def start_sensitivity(visitor: Visit, *, images: int, levels: str) -> None:
    """Go to the page, set a small measurement and start it."""
    to(visitor, "Sensitivity")
    page = visitor.page
    start = page.get_by_role("button", name=re.compile("^Measure (sensitivity|again)$"))
    start.wait_for()
    visitor.settle()
    page.get_by_role("button", name="Settings").click()
    fill(visitor, "Images", images)
    fill(visitor, "Sparsity levels", levels)
    page.keyboard.press("Escape")
    start.click()


def plan(visitor: Visit, *, sparsity: int, method: str | None = None) -> None:
    """Go to the Plan page and set the method, where it is not the usual one, and the sparsity in percent.

    Checks that start by themselves are switched off: one that ends draws the page anew, and closes an open menu.
    """
    to(visitor, "Plan")
    visitor.page.get_by_label("Sparsity, exactly, %").wait_for()
    visitor.settle()
    visitor.page.get_by_text("After each edit", exact=True).click()
    visitor.settle()
    if method is not None:
        choose(visitor, "Method", method)
    fill(visitor, "Sparsity, exactly, %", sparsity)


def run_plan(visitor: Visit) -> None:
    """Run the plan and wait for the variant."""
    visitor.click("Run this plan")
    visitor.sees("is done", timeout_s=LONG_S)


def runs(visitor: Visit) -> None:
    """Go to the Runs page."""
    to(visitor, "Runs")
    visitor.settle()


def compare(visitor: Visit, name: str) -> None:
    """See the variant beside the dense model."""
    to(visitor, "Compare")
    visitor.page.locator(".esp-cmp").get_by_text(name, exact=True).wait_for()
    visitor.settle()


def measure_latency(visitor: Visit) -> None:
    """Time all variants on the Compare page."""
    visitor.click("Measure")
    visitor.page.locator(".esp-cmp").get_by_text("of dense speed").first.wait_for(timeout=LONG_S * 1000)


def export(visitor: Visit, folder: Path) -> Path:
    """Export the chosen variant, see its checks pass, and download the file."""
    page = visitor.page
    visitor.settle().click("Export ONNX")
    button = page.locator(".st-key-export-card [data-testid=stDownloadButton] button")
    button.wait_for(timeout=LONG_S * 1000)
    visitor.settle()
    card = page.locator(".st-key-export-card")
    assert card.get_by_text("pass", exact=True).count() == 4, card.inner_text()
    with page.expect_download() as download:
        button.click()
    file = folder / download.value.suggested_filename
    download.value.save_as(file)
    assert file.suffix == ".onnx"
    return file


# -- what another process reads of it -------------------------------------------------------------------------------


def variants_of(visitor: Visit) -> tuple[Variant, Variant]:
    """The dense and the one pruned variant of the visitor's session."""
    with Workspace.open(visitor.site.workspace) as workspace:
        assert visitor.session_id
        dense, *others = workspace.store.variants(visitor.session_id)
    assert len(others) == 1
    return dense, others[0]


def job_of(store: Store, visitor: Visit, kind: str) -> Job | None:
    """The newest job of a kind in the visitor's session."""
    jobs = [job for job in store.jobs(session_id=visitor.session_id) if job.kind == kind]
    return max(jobs, key=lambda job: job.created, default=None)


def until(visitor: Visit, kind: str, true: Callable[[Job, dict[str, Any]], bool]) -> Job:
    """Wait until something is true of the newest job of a kind and of what it has published; fail when it fails."""
    end = time.monotonic() + LONG_S
    with Workspace.open(visitor.site.workspace) as workspace:
        while time.monotonic() < end:
            job = job_of(workspace.store, visitor, kind)
            if job is not None:
                assert job.state is not JobState.FAILED, job.error
                if true(job, workspace.store.partial(job.id) or {}):
                    return job
            visitor.page.wait_for_timeout(100)
    raise TimeoutError(f"the job “{kind}” does not come so far")


def answers_of(file: Path, data: dict[str, Any]) -> tuple[int, int]:
    """How many test images the file classifies rightly in ONNX Runtime, and of how many."""
    import onnxruntime

    from core.data.opening import open_data
    from core.data.specs import DataSpec

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    right = total = 0
    for images, targets in open_data(DataSpec.model_validate(data)).test.batches(100):
        logits = session.run(None, {session.get_inputs()[0].name: images.numpy()})[0]
        right += int(np.count_nonzero(logits.argmax(1) == targets.numpy()))
        total += len(targets)
    return right, total


def session_with_variants(site: Site) -> str | None:
    """The newest session that has a pruned variant."""
    with Workspace.open(site.workspace) as workspace:
        sessions = workspace.store.list_sessions()
        return next((item.id for item in sessions if len(workspace.store.variants(item.id)) > 1), None)
