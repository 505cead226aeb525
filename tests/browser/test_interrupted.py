"""What goes wrong on the way, in the real browser: files that are refused, a measurement and a training that stop."""

import pickle
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from core.store import JobState, Workspace
from sample_models import SAMPLES

from . import steps
from .conftest import Site, Visit

NewVisit = Callable[..., Visit]


class _Touches:
    """Creates a file when it is unpickled by somebody who trusts it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.path,)


@pytest.mark.row("B02", "B04")
def test_bad_uploads_are_refused_in_a_sentence_and_the_good_one_opens(
    site: Site, visit: NewVisit, tmp_path: Path
) -> None:
    whole = SAMPLES["digits_resnet"].weights_file
    canary = tmp_path / "canary"
    hostile, half = tmp_path / "weights.pt", tmp_path / "half.safetensors"
    hostile.write_bytes(pickle.dumps(_Touches(canary)))
    half.write_bytes(whole.read_bytes()[:300_000])
    visitor = visit(site).go()
    for file, sentence in ((hostile, "plain Python pickle with code"), (half, "damaged or incomplete")):
        upload(visitor, file)
        refusal = visitor.sees(sentence, timeout_s=steps.LONG_S)
        assert refusal.inner_text().count("failed.") == 1
        visitor.settle().shot(f"refused-{file.stem}")
        assert visitor.page.locator('[data-testid="stAlert"]').count() == 1
        with Workspace.open(site.workspace) as workspace:
            assert workspace.store.variants(visitor.session_id or "") == []
        visitor.page.get_by_role("link", name="Choose another model or data set").click()
        visitor.sees("Open your own")
        visitor.settle()
    assert not canary.exists()
    upload(visitor, whole)
    visitor.sees("Dense accuracy, test split", timeout_s=steps.LONG_S)


def upload(visitor: Visit, file: Path) -> None:
    """Open the sample architecture with weights from a file."""
    page = visitor.page
    page.get_by_role("radio", name="Samples").or_(page.get_by_role("button", name="Samples")).first.click()
    visitor.settle()
    page.get_by_role("radio", name="From a file").or_(page.get_by_role("button", name="From a file")).first.click()
    visitor.settle()
    page.locator('.st-key-open-upload input[type="file"]').set_input_files(file)
    page.locator(".st-key-open-model button:enabled").click()
    steps.follow(visitor, "model")


def test_a_cancelled_measurement_is_continued(site: Site, visit: NewVisit) -> None:
    """Cancel keeps what was measured; Continue goes on from there, and a reload in between loses nothing."""
    visitor = visit(site).go()
    steps.open_sample(visitor, "digits_resnet")
    # Other levels at every try: what was measured once is known, and cannot be cancelled.
    levels = ", ".join(f"{level + random.random() / 10:.4f}" for level in (0.1, 0.3, 0.5, 0.7, 0.85))
    steps.start_sensitivity(visitor, images=288, levels=levels)
    steps.until(visitor, "sensitivity", lambda job, partial: job.state.live and bool(partial.get("layers")))
    visitor.click("Cancel")
    visitor.sees("was cancelled", timeout_s=steps.LONG_S)
    visitor.page.reload()
    visitor.sees("What was measured is kept")
    visitor.click("Continue")
    visitor.page.get_by_role("button", name="Measure again").wait_for(timeout=steps.LONG_S * 1000)


@pytest.mark.row("F10")
def test_a_cancelled_training_is_resumed_to_its_end(site: Site, visit: NewVisit) -> None:
    """Cancelled after its first epoch and looked at anew, it goes on as the same run, and its curve has no gap."""
    epochs = 8
    visitor = visit(site).go()
    page = visitor.page
    steps.open_sample(visitor, "digits_resnet")
    steps.plan(visitor, sparsity=50, method="One-shot + fine-tune")
    for part in ("Method settings", "Training", "Fine-tuning"):
        page.locator('[data-testid="stExpander"] summary', has_text=part).first.click()
    steps.fill(visitor, "Training images", 300)
    steps.fill(visitor, "Epochs at most", epochs)
    visitor.click("Run this plan")
    steps.until(visitor, "prune", lambda job, partial: len(partial.get("epochs", [])) >= 1)
    steps.runs(visitor)
    visitor.click("Cancel")
    stopped = steps.until(visitor, "prune", lambda job, partial: not job.state.live)
    assert stopped.state is JobState.CANCELLED
    page.reload()
    visitor.settle().shot("training-cancelled")
    visitor.click("Resume")
    steps.until(visitor, "prune", lambda job, partial: job.state is not JobState.CANCELLED)
    ended = steps.until(visitor, "prune", lambda job, partial: not job.state.live)
    assert (ended.id, ended.state) == (stopped.id, JobState.DONE)
    with Workspace.open(site.workspace) as workspace:
        history = workspace.store.partial(ended.id) or {}
    assert [row["epoch"] for row in history["epochs"]] == list(range(1, epochs + 1))
    steps.compare(visitor, "One-shot + fine-tune: LAMP 50 %")
