"""Latency as a grid, time beside work, and a variant that is pruned further."""

import pytest

from core.pruning.plan import Plan
from core.store import Workspace
from dashboard.components.compare_grid import grid_frame, machine_words
from dashboard.components.work_bars import layer_shares, work_figure
from tests.dashboard.conftest import OpenPage, text_of
from tests.dashboard.seeding import LAYERS, latency_rows, model_description, seed_measurements, seed_session


def test_the_grid_has_a_line_per_variant_and_setting() -> None:
    rows = [{**row, "load_ms": 12.0, "first_run_ms": 3.0} for row in latency_rows("v", 1.3, dense=False)]
    frame = grid_frame([("<b>LAMP</b>", {"rows": rows}), ("dense", {"rows": latency_rows("d", 1.0, dense=True)})])
    assert len(frame) == 4
    assert list(frame["loading, ms"][:2]) == [12.0, 12.0]
    assert frame["loading, ms"][2:].isna().all()  # an older measurement did not note it
    assert frame["speed-up"][:2].tolist() == [1.3, 1.3]
    assert frame["speed-up"][2:].isna().all()
    assert grid_frame([("nothing", {})]).empty


def test_the_machine_stands_beside_the_numbers() -> None:
    facts = {"cpu": "Example", "system": "Linux", "available_cores": 2.0, "features": ["AVX2"]}
    facts["versions"] = {"onnxruntime": "1.31", "openvino": None}
    said = machine_words({"machine": facts, "others_cores": {"before": 0.1, "during": 1.4}})
    assert said == "Example · Linux · 2 cores · AVX2 · onnxruntime 1.31 · other work used 1.4 cores"
    assert machine_words({}) == "The machine was not noted."


def test_compare_shows_the_grid(served: Workspace, open_page: OpenPage) -> None:
    seeded = seed_session(served)
    seed_measurements(served, seeded)
    words = text_of(open_page("compare", session=seeded.session.id))
    assert "Every setting, cold and warm" in words
    assert "Example CPU with 2 cores" in words


def test_time_beside_work_leaves_nothing_out_that_counts() -> None:
    description = model_description()
    times = {layer["name"]: 1.0 / len(LAYERS) for layer in LAYERS} | {"other": 0.0}
    picture = work_figure(layer_shares(description, times))
    assert [trace.name for trace in picture.data] == ["time, measured", "MACs"]
    assert sum(picture.data[0].x) == pytest.approx(100.0)
    assert sum(picture.data[1].x) == pytest.approx(100.0, abs=1.0)
    empty = {**description, "layers": [{**layer, "macs": 0} for layer in LAYERS]}
    assert not layer_shares(empty, {})


def test_the_model_page_draws_it(served: Workspace, open_page: OpenPage) -> None:
    seeded = seed_session(served)
    assert seeded.dense is not None
    shares = {layer["name"]: 1.0 / len(LAYERS) for layer in LAYERS} | {"other": 0.0}
    served.store.add_measurement(
        variant_id=seeded.dense.id, kind="layer_times", context={}, result={"shares": shares, "batch": 1}
    )
    words = text_of(open_page("model", session=seeded.session.id))
    assert "Time beside work, layer by layer" in words
    assert "of the time for" in words


def test_a_variant_can_be_pruned_further_from_compare(served: Workspace, open_page: OpenPage) -> None:
    seeded = seed_session(served)
    variant = seeded.variants[-1]
    page = open_page("compare", session=seeded.session.id)
    page.button(key=f"further-{variant.id}").click().run()
    assert Plan.parse(served.store.get_session(seeded.session.id).draft_plan).start == variant.id
