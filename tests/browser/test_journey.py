"""The whole way in the real browser: open a model, measure, plan, prune, compare, download the ONNX file and run it.

Twice: with the demo that needs no files, and with the ResNet-20 checkpoint and the CIFAR-10 images of ``shared/data``.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.store import Variant

from . import steps
from .conftest import Site, Visit

NewVisit = Callable[..., Visit]


def test_from_the_demo_to_an_onnx_file(site: Site, visit: NewVisit, tmp_path: Path) -> None:
    visitor = visit(site).go()
    visitor.click("Use the demo")
    steps.follow(visitor, "model")
    visitor.sees("Dense accuracy, test split")
    measure_sensitivity(visitor, images=120, levels="0.3, 0.6, 0.9")
    pin_a_cell(visitor)
    make_variant(visitor, sparsity=60)
    steps.compare(visitor, "LAMP 60 %")
    steps.measure_latency(visitor)
    file = steps.export(visitor, tmp_path)
    dense, pruned = steps.variants_of(visitor)
    assert pruned.sizes["nonzero"] < dense.sizes["nonzero"]
    check_file(file, pruned, data={"source": "digits"})


def test_from_a_checkpoint_to_an_onnx_file(site: Site, visit: NewVisit, shared_data: Path, tmp_path: Path) -> None:
    visitor = visit(site).go()
    page = visitor.page
    steps.choose(visitor, "Architecture", "resnet20")
    checkpoint = shared_data / "checkpoints" / "resnet20-12fca82f.th"
    page.locator('.st-key-open-upload input[type="file"]').set_input_files(checkpoint)
    visitor.sees(checkpoint.name)
    visitor.settle().shot("journey-1-open")
    page.locator(".st-key-open-model button:enabled").click()
    steps.follow(visitor, "model")
    visitor.sees("Dense accuracy, test split", timeout_s=steps.LONG_S)
    visitor.settle().shot("journey-2-model")

    measure_sensitivity(visitor, images=60, levels="0.5, 0.8, 0.9")
    visitor.settle().shot("journey-3-sensitivity")
    make_variant(visitor, sparsity=80)
    visitor.settle().shot("journey-4-plan")
    steps.compare(visitor, "LAMP 80 %")
    file = steps.export(visitor, tmp_path)
    visitor.settle().shot("journey-5-compare")
    steps.runs(visitor)
    visitor.sees("Prune: LAMP 80 %")
    visitor.shot("journey-6-runs")

    dense, pruned = steps.variants_of(visitor)
    summary = dense.metrics["test"]
    assert (summary["n"], round(summary["score"] * summary["n"])) == (1017, 932)  # shared/data/README.md: 91.64 %
    removed = sum(layer["removed"] for layer in pruned.layers)
    assert removed == round(0.8 * sum(layer["size"] for layer in pruned.layers))
    trained_with = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
    check_file(file, pruned, data={"source": "cifar10", "root": str(shared_data / "cifar10-mini"), **trained_with})


def test_a_phone_shows_every_page_without_sideways_scrolling(site: Site, visit: NewVisit) -> None:
    session = steps.session_with_variants(site)
    if session is None:
        pytest.skip("no session: the journeys before this test did not get that far")
    visitor = visit(site, width=390, height=844)
    for address in ("sensitivity", "plan", "runs", "compare"):
        visitor.go(address, session=session)
        visitor.sees(address.capitalize())
        visitor.settle().shot(f"{address}-phone")
        assert visitor.overflow <= 0, address


# -- the steps ------------------------------------------------------------------------------------------------------


def measure_sensitivity(visitor: Visit, *, images: int, levels: str) -> None:
    """Measure to the end, watching it come."""
    steps.start_sensitivity(visitor, images=images, levels=levels)
    visitor.sees("Cells measured", timeout_s=steps.LONG_S)
    visitor.page.get_by_role("button", name="Measure again").wait_for(timeout=steps.LONG_S * 1000)
    visitor.settle()


_HEATMAP = ".st-key-sensitivity-heatmap .js-plotly-plot"
_CELL = """(chart) => {
    const host = document.querySelector(chart);
    const { left, top } = host.getBoundingClientRect();
    const { xaxis, yaxis } = host._fullLayout;
    return { x: left + xaxis._offset + xaxis.c2p(1), y: top + yaxis._offset + yaxis.c2p(1) };
}"""


def pin_a_cell(visitor: Visit) -> None:
    """Click a cell of the heat-map: it is pinned into the plan; and unpin it."""
    page = visitor.page
    page.locator(f"{_HEATMAP} .heatmaplayer image").first.wait_for(state="attached")
    visitor.settle()  # the last figures of the measurement may still be taking the place of those before
    page.locator(_HEATMAP).scroll_into_view_if_needed()
    place = page.evaluate(_CELL, _HEATMAP)
    page.mouse.move(place["x"], place["y"])
    page.locator(f"{_HEATMAP} .hoverlayer .hovertext").wait_for()
    page.mouse.click(place["x"], place["y"])
    unpin = page.locator(".st-key-sensitivity-pins button").first
    unpin.wait_for()
    visitor.settle().shot("sensitivity-pinned")
    unpin.click()
    unpin.wait_for(state="detached")


def make_variant(visitor: Visit, *, sparsity: int) -> None:
    """Set the sparsity, read the estimate, run, and wait for the variant."""
    steps.plan(visitor, sparsity=sparsity)
    visitor.sees("Expected accuracy")
    visitor.page.get_by_placeholder(f"LAMP {sparsity} %").wait_for()
    visitor.sees(re.compile("zeros do not make dense kernels faster"))
    steps.run_plan(visitor)


def check_file(file: Path, variant: Variant, *, data: dict[str, Any]) -> None:
    """Run the downloaded file in ONNX Runtime on the test images: the accuracy is the one that the page shows."""
    right, total = steps.answers_of(file, data)
    summary = variant.metrics["test"]
    assert total == summary["n"]
    assert right / total == pytest.approx(summary["score"], abs=1.5 / total)
