"""Model: the layer table, the cut line, the plan buttons, and every state a session can be in."""

import json

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from core.analysis.weights import layer_weights
from core.pruning.plan import Plan
from core.store import Workspace
from core.store.records import JobState
from dashboard.components.weight_cut import Cut, _bins, cut_figure

from .conftest import OpenPage, charts_of, text_of
from .seeding import LAYERS, Seeded, seed_job, seed_session, weights_of_network

FIRST = LAYERS[0]["name"]


@pytest.fixture
def seeded(served: Workspace) -> Seeded:
    return seed_session(served)


def _cut(page: AppTest):  # type: ignore[no-untyped-def]
    slider = next(item for item in page.slider if item.label == "Sparsity of this layer")
    threshold = next(item for item in page.number_input if item.label == "Threshold on |w|")
    return slider, threshold


def _plan(workspace: Workspace, seeded: Seeded) -> Plan:
    return Plan.parse(workspace.store.get_session(seeded.session.id).draft_plan or {})


def test_the_page_shows_totals_layers_weights_and_data(open_page: OpenPage, seeded: Seeded) -> None:
    page = open_page("model", session=seeded.session.id)
    words = text_of(page)
    for expected in ("Parameters", "MMACs", "Dense accuracy", "n = 360", "95 % interval", "Weights that fall", "1,000"):
        assert expected in words
    frame = page.dataframe[0].value
    assert list(frame["layer"]) == [layer["name"] for layer in LAYERS]
    assert list(frame["macs"]) == pytest.approx([layer["macs"] / 1e6 for layer in LAYERS])
    assert charts_of(page)


def test_sparsity_and_threshold_move_together(open_page: OpenPage, seeded: Seeded) -> None:
    weights = layer_weights(FIRST, weights_of_network()[FIRST])
    page = open_page("model", session=seeded.session.id)
    slider, threshold = _cut(page)
    assert threshold.value == pytest.approx(weights.threshold_for(slider.value / 100))
    slider.set_value(80.0).run()
    slider, threshold = _cut(page)
    assert threshold.value == pytest.approx(weights.threshold_for(0.8))
    threshold.set_value(float(weights.threshold_for(0.25))).run()
    slider, threshold = _cut(page)
    assert slider.value == pytest.approx(100 * weights.fraction_below(threshold.value), abs=0.05)
    assert f"{round(weights.size * weights.fraction_below(threshold.value))}" in text_of(page)


def test_fixing_freeing_and_protecting_a_layer_reach_the_draft(
    open_page: OpenPage, served: Workspace, seeded: Seeded
) -> None:
    page = open_page("model", session=seeded.session.id)
    _cut(page)[0].set_value(80.0).run()
    page.button(key=f"fix-{FIRST}").click().run()
    assert _plan(served, seeded).overrides == {FIRST: 0.8}
    assert "fixes this layer at 80.0 %" in text_of(page)
    page.button(key=f"free-{FIRST}").click().run()
    assert _plan(served, seeded).overrides == {}
    next(item for item in page.toggle if item.label == "Protect").set_value(True).run()
    assert _plan(served, seeded).protected == (FIRST,)
    assert page.button(key=f"fix-{FIRST}").disabled
    again = open_page("model", session=seeded.session.id)  # a refresh loses nothing
    assert next(item for item in again.toggle if item.label == "Protect").value is True


@pytest.mark.row("B46")
def test_a_draft_changed_in_another_tab_is_not_overwritten(
    open_page: OpenPage, served: Workspace, seeded: Seeded
) -> None:
    page = open_page("model", session=seeded.session.id)
    served.store.save_draft(seeded.session.id, Plan(sparsity=0.9).to_json(), revision=seeded.session.revision)
    page.button(key=f"fix-{FIRST}").click().run()
    assert "changed elsewhere" in text_of(page)
    assert _plan(served, seeded) == Plan(sparsity=0.9)
    page.button(key=f"reload-{FIRST}").click().run()
    page.button(key=f"fix-{FIRST}").click().run()
    assert _plan(served, seeded).overrides == {FIRST: 0.5}


def test_times_are_shown_once_measured(open_page: OpenPage, served: Workspace, seeded: Seeded) -> None:
    assert seeded.dense is not None
    page = open_page("model", session=seeded.session.id)
    assert "time" not in page.dataframe[0].value.columns
    shares = {layer["name"]: 0.05 for layer in LAYERS} | {"other": 0.4}
    served.store.add_measurement(variant_id=seeded.dense.id, kind="layer_times", context={}, result={"shares": shares})
    page = open_page("model", session=seeded.session.id)
    assert page.dataframe[0].value["time"].tolist() == [0.05] * len(LAYERS)
    assert "40 %" in text_of(page)


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (JobState.RUNNING, "45 of 108"),
        (JobState.FAILED, "The checkpoint does not fit"),
        (JobState.CANCELLED, "was cancelled"),
        (JobState.INTERRUPTED, "was interrupted"),
    ],
)
def test_a_session_without_a_model_says_where_its_opening_stands(
    open_page: OpenPage, served: Workspace, state: JobState, said: str
) -> None:
    session = served.store.create_session("new")
    seed_job(served, session, "open", state, title="Opening resnet56", error="The checkpoint does not fit.")
    words = text_of(open_page("model", session=session.id)).replace("\\", "")
    assert "Opening resnet56" in words
    assert (said if state is not JobState.RUNNING else "42 %") in words


def test_no_session_offers_start(open_page: OpenPage) -> None:
    assert "Nothing is open yet" in text_of(open_page("model"))


@pytest.mark.row("B23")
def test_a_model_without_prunable_layers_stays_usable(open_page: OpenPage, served: Workspace, seeded: Seeded) -> None:
    model = served.store.get_model(seeded.model_id)
    layers = [{**layer, "prunable": False, "kind": "LayerNorm"} for layer in LAYERS]
    other = served.store.add_model(
        id="n" * 64,
        name="norms",
        spec=model.spec,
        description={**model.description, "layers": layers},
        artifact=model.artifact,
        weights_artifact=model.weights_artifact,
    )
    served.store.set_session_model(seeded.session.id, other.id)
    words = text_of(open_page("model", session=seeded.session.id))
    assert "Nothing to prune in this model" in words
    assert "Data" in words


@pytest.mark.row("B14")
def test_weights_that_are_not_numbers_are_named(open_page: OpenPage, served: Workspace, seeded: Seeded) -> None:
    model = served.store.get_model(seeded.model_id)
    layers = [{**layer, "nonfinite": 3 if layer["name"] == FIRST else 0} for layer in LAYERS]
    other = served.store.add_model(
        id="o" * 64,
        name="nan",
        spec=model.spec,
        description={**model.description, "layers": layers},
        artifact=model.artifact,
        weights_artifact=model.weights_artifact,
    )
    served.store.set_session_model(seeded.session.id, other.id)
    words = text_of(open_page("model", session=seeded.session.id)).replace("\\", "")
    assert f"not finite numbers: {FIRST}" in words


def test_the_line_and_the_bars_agree() -> None:
    weights = layer_weights("a", weights_of_network()["stage2.0.conv2"])
    cut = Cut(threshold=float(weights.threshold_for(0.6)), sparsity=0.6)
    drawn = json.loads(cut_figure(weights, cut).to_json())
    total = sum(sum(trace["y"]) if isinstance(trace["y"], list) else 0 for trace in drawn["data"])
    lines = sorted(shape["x0"] for shape in drawn["layout"]["shapes"])
    assert lines == pytest.approx([-cut.threshold, cut.threshold])
    assert total in (0, weights.size)  # 0: plotly packed the counts as base64


@pytest.mark.parametrize("size", [8, 216, 5000, 90_000])
def test_a_small_layer_has_few_bars_and_loses_no_weight(size: int) -> None:
    values = np.random.default_rng(size).normal(size=size).astype(np.float32)
    layer = layer_weights("a", values.reshape(4, -1))
    middles, stay, fall = _bins(layer, layer.threshold_for(0.3))
    assert (stay + fall).sum() == size
    assert len(middles) <= max(17, 1.3 * size**0.5)
    assert list(middles) == pytest.approx(list(-middles[::-1]))
