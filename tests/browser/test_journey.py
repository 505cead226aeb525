"""The whole way in the real browser: open a model, measure, plan, prune, compare, download the ONNX file and run it.

Twice: with the demo that needs no files, and with the ResNet-56 checkpoint and the CIFAR-10 images of ``shared/data``.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.store import Variant, Workspace

from .conftest import Site, Visit, serving

NewVisit = Callable[..., Visit]

LONG_S = 900.0


@pytest.fixture(scope="module")
def cifar_site(tmp_path_factory: pytest.TempPathFactory, shared_data: Path) -> Iterator[Site]:
    """A server that offers the data of ``shared/data``."""
    with serving(tmp_path_factory.mktemp("cifar"), "--data-root", str(shared_data)) as running:
        yield running


def test_from_the_demo_to_an_onnx_file(site: Site, visit: NewVisit, tmp_path: Path) -> None:
    visitor = visit(site).go()
    visitor.click("Use the demo")
    visitor.page.wait_for_url("**/model?session=*")
    visitor.sees("Dense accuracy, test split")
    measure_sensitivity(visitor, images=120, levels="0.3, 0.6, 0.9")
    pin_a_cell(visitor)
    make_variant(visitor, sparsity=60)
    compare_and_measure(visitor, "LAMP 60 %")
    file = export(visitor, tmp_path)
    dense, pruned = variants_of(visitor)
    assert pruned.sizes["nonzero"] < dense.sizes["nonzero"]
    check_file(file, pruned, data={"source": "digits"})


@pytest.mark.timeout(3000)
def test_from_a_checkpoint_to_an_onnx_file(
    cifar_site: Site, visit: NewVisit, shared_data: Path, tmp_path: Path
) -> None:
    visitor = visit(cifar_site).go()
    page = visitor.page
    choose(visitor, re.compile("Architecture"), "resnet56")
    from_file = page.get_by_role("radio", name="From a file").or_(page.get_by_role("button", name="From a file"))
    if from_file.count():
        from_file.first.click()
    checkpoint = shared_data / "checkpoints" / "resnet56-4bfd9763.th"
    page.locator('[data-testid="stFileUploader"] input[type="file"]').first.set_input_files(checkpoint)
    visitor.sees("resnet56-4bfd9763.th")
    visitor.settle()
    visitor.shot("journey-1-open")
    page.locator(".st-key-open-model button").click()
    page.wait_for_url("**/model?session=*")
    visitor.sees("Dense accuracy, test split", timeout_s=LONG_S)
    visitor.settle().shot("journey-2-model")

    measure_sensitivity(visitor, images=60, levels="0.5, 0.8, 0.9")
    visitor.settle().shot("journey-3-sensitivity")
    make_variant(visitor, sparsity=80)
    visitor.settle().shot("journey-4-plan")
    compare_and_measure(visitor, "LAMP 80 %")
    file = export(visitor, tmp_path)
    visitor.settle().shot("journey-5-compare")
    page.get_by_role("link", name="Runs", exact=True).first.click()
    visitor.sees("Prune: LAMP 80 %")
    visitor.settle().shot("journey-6-runs")

    dense, pruned = variants_of(visitor)
    summary = dense.metrics["test"]
    assert (summary["n"], round(summary["score"] * summary["n"])) == (1017, 943)  # shared/data/README.md: 92.72 %
    removed = sum(layer["removed"] for layer in pruned.layers)
    assert removed == round(0.8 * sum(layer["size"] for layer in pruned.layers))
    data = {"source": "cifar10", "root": str(shared_data / "cifar10-mini")}
    check_file(file, pruned, data=data)


def test_a_cancelled_measurement_is_continued(site: Site, visit: NewVisit) -> None:
    """Cancel keeps what was measured; Continue goes on from there, and a reload in between loses nothing."""
    visitor = visit(site).go()
    visitor.click("Use the demo")
    visitor.page.wait_for_url("**/model?session=*")
    visitor.sees("Dense accuracy, test split")
    start_sensitivity(visitor, images=360, levels="0.15, 0.25, 0.35, 0.45, 0.55, 0.65, 0.75, 0.85, 0.95")
    wait_for_a_layer(site, visitor)
    visitor.click("Cancel")
    visitor.sees("was cancelled", timeout_s=LONG_S)
    visitor.page.reload()
    visitor.sees("What was measured is kept")
    visitor.click("Continue")
    visitor.page.get_by_role("button", name="Measure again").wait_for(timeout=LONG_S * 1000)


@pytest.mark.parametrize("address", ["sensitivity", "plan", "runs", "compare"])
def test_a_phone_shows_every_page_without_sideways_scrolling(site: Site, visit: NewVisit, address: str) -> None:
    with Workspace.open(site.workspace) as workspace:
        sessions = workspace.store.list_sessions()
    if not sessions:
        pytest.skip("no session: the journey before this test did not get that far")
    visitor = visit(site, width=390, height=844).go(address, session=sessions[-1].id)
    visitor.sees(address.capitalize())
    visitor.settle().shot(f"{address}-phone")
    overflow = visitor.page.evaluate(
        "() => { const m = document.querySelector('[data-testid=stMain]'); return m.scrollWidth - m.clientWidth }"
    )
    assert overflow <= 0


# -- the steps ------------------------------------------------------------------------------------------------------


def choose(visitor: Visit, label: Any, option: str) -> None:
    """Choose an option of a menu."""
    box = visitor.page.locator('[data-testid="stSelectbox"]').filter(has_text=label).first
    box.locator("input").click()
    visitor.page.get_by_role("option", name=option, exact=True).first.click()
    visitor.settle()


def start_sensitivity(visitor: Visit, *, images: int, levels: str) -> None:
    """Go to the page, set a small measurement and start it."""
    page = visitor.page
    page.get_by_role("link", name="Sensitivity", exact=True).first.click()
    start = page.get_by_role("button", name=re.compile("^Measure (sensitivity|again)$"))
    start.wait_for()
    visitor.settle()
    page.get_by_role("button", name="Settings").click()
    field = page.get_by_label("Images", exact=True)
    field.fill(str(images))
    field.press("Enter")
    visitor.settle()
    text = page.get_by_label("Sparsity levels")
    text.fill(levels)
    text.press("Enter")
    visitor.settle()
    page.keyboard.press("Escape")
    start.click()


def wait_for_a_layer(site: Site, visitor: Visit) -> None:
    """Until the newest measurement has published a layer of its own; the page may show an earlier one meanwhile."""
    with Workspace.open(site.workspace) as workspace:
        for _ in range(int(LONG_S * 2)):
            jobs = [job for job in workspace.store.jobs() if job.kind == "sensitivity"]
            newest = max(jobs, key=lambda job: job.created, default=None)
            if newest is not None and newest.state.live and (workspace.store.partial(newest.id) or {}).get("layers"):
                return
            visitor.page.wait_for_timeout(500)
    raise AssertionError("the measurement published nothing")


def measure_sensitivity(visitor: Visit, *, images: int, levels: str) -> None:
    """Measure to the end, watching it come."""
    start_sensitivity(visitor, images=images, levels=levels)
    visitor.sees("Cells measured", timeout_s=LONG_S)
    visitor.page.get_by_role("button", name="Measure again").wait_for(timeout=LONG_S * 1000)
    visitor.settle()


def pin_a_cell(visitor: Visit) -> None:
    """Click a cell of the heat-map: it is pinned into the plan; and unpin it."""
    page = visitor.page
    chart = page.locator(".st-key-sensitivity-heatmap").first
    chart.scroll_into_view_if_needed()
    cell = chart.locator(".scatterlayer .trace").first.locator(".point").nth(4)
    cell.wait_for(state="attached")
    box = cell.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.wait_for_timeout(300)
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    unpin = page.locator(".st-key-sensitivity-pins button").first
    unpin.wait_for()
    visitor.settle().shot("sensitivity-pinned")
    unpin.click()
    unpin.wait_for(state="detached")


def make_variant(visitor: Visit, *, sparsity: int) -> None:
    """Set the sparsity, read the estimate, run, and wait for the variant."""
    page = visitor.page
    page.get_by_role("link", name="Plan", exact=True).first.click()
    visitor.sees("Expected accuracy")
    field = page.get_by_label("Sparsity, exactly, %")
    field.fill(str(sparsity))
    field.press("Enter")
    page.get_by_placeholder(f"LAMP {sparsity} %").wait_for()
    visitor.settle()
    visitor.sees("zeros do not make dense kernels faster")
    visitor.click("Run this plan")
    visitor.sees("is done", timeout_s=LONG_S)


def compare_and_measure(visitor: Visit, name: str) -> None:
    """See the variant beside the dense model, and time both."""
    page = visitor.page
    page.get_by_role("link", name="Compare", exact=True).first.click()
    page.locator(".esp-cmp").get_by_text(name, exact=True).wait_for()
    visitor.settle()
    visitor.click("Measure")
    page.locator(".esp-cmp").get_by_text("of dense speed").first.wait_for(timeout=LONG_S * 1000)


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


def variants_of(visitor: Visit) -> tuple[Variant, Variant]:
    """The dense and the pruned variant, read as another process."""
    with Workspace.open(visitor.site.workspace) as workspace:
        assert visitor.session_id
        dense, *others = workspace.store.variants(visitor.session_id)
    assert len(others) == 1
    return dense, others[0]


def check_file(file: Path, variant: Variant, *, data: dict[str, Any]) -> None:
    """Run the downloaded file in ONNX Runtime on the test images: the accuracy is the one that the page shows."""
    import onnxruntime

    from core.data.opening import open_data
    from core.data.specs import DataSpec

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    splits = open_data(DataSpec.model_validate({**data, **normalisation_of(variant, data)}))
    right = total = 0
    for images, targets in splits.test.batches(100):
        logits = session.run(None, {session.get_inputs()[0].name: images.numpy()})[0]
        right += int(np.count_nonzero(logits.argmax(1) == targets.numpy()))
        total += len(targets)
    summary = variant.metrics["test"]
    assert total == summary["n"]
    assert right / total == pytest.approx(summary["score"], abs=1.5 / total)


def normalisation_of(variant: Variant, data: dict[str, Any]) -> dict[str, Any]:
    """What the checkpoint was trained with; the digits' own is the default."""
    if data["source"] != "cifar10":
        return {}
    return {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
