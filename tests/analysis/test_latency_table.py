"""The table of measured layers, and plans with a budget in milliseconds. No test looks at how long anything took."""

import json

import pytest

from core.analysis.latency_table import LatencyTable
from core.analysis.network_latency import NetworkLatency
from core.comb.combing import comb
from core.comb.geometry import LayerGeometry, geometries
from core.comb.summary import summarise
from core.methods import prune
from core.methods.one_shot_structured import planned_removal
from core.models.opening import open_model
from core.pruning.criteria import CalibrationContext
from core.pruning.groups.base import score_groups
from core.pruning.plan import Plan

pytestmark = pytest.mark.filterwarnings("ignore")

LAYERS = {
    "convolution": LayerGeometry("convolution", (8, 4, 3, 3), (6, 6), (2, 2), (1, 1), (1, 1)),
    "depthwise": LayerGeometry("convolution", (8, 1, 3, 3), (6, 6), (1, 1), (1, 1), (1, 1), groups=8),
    "grouped": LayerGeometry("convolution", (8, 4, 1, 1), (6, 6), (1, 1), (0, 0), (1, 1), groups=2),
    "transposed": LayerGeometry("transposed", (4, 8, 2, 2), (6, 6), (2, 2), (0, 0), (1, 1)),
    "linear": LayerGeometry("linear", (10, 16), (5,), calls=2),
}
SMALLER = {
    "convolution": (4, 2, 3, 3),
    "depthwise": (4, 1, 3, 3),
    "grouped": (6, 3, 1, 1),
    "transposed": (2, 4, 2, 2),
    "linear": (10, 8),
}


def test_every_kind_of_layer_is_timed_once_and_kept(tmp_path) -> None:
    table = LatencyTable(tmp_path / "table.json")
    dense = table.predict(LAYERS, {})
    smaller = table.predict(LAYERS, SMALLER)
    assert dense is not None
    assert smaller is not None
    assert min(dense, smaller) >= 0
    assert table.measured == 2 * len(LAYERS)
    table.save()
    again = LatencyTable(tmp_path / "table.json")
    assert (again.predict(LAYERS, {}), again.predict(LAYERS, SMALLER)) == (dense, smaller)
    assert again.measured == 0
    assert again.layer(LAYERS["linear"], (9, 8), measure=False) is None


def test_calls_count_and_share_a_point() -> None:
    table = LatencyTable()
    once = LayerGeometry("linear", (10, 16), (5,))
    assert table.layer(LAYERS["linear"], (10, 16)) == 2 * (table.layer(once, (10, 16)) or 0)
    assert table.measured == 1


@pytest.mark.parametrize("damage", ["not json", '{"version": 1}', "elsewhere"])
def test_a_table_that_is_damaged_or_of_another_machine_is_not_used(tmp_path, damage: str) -> None:
    path = tmp_path / "table.json"
    table = LatencyTable(path)
    table.layer(LAYERS["linear"], (10, 16))
    table.save()
    if damage == "elsewhere":
        damage = json.dumps({**json.loads(path.read_text()), "machine": {"cpu": "another"}})
    path.write_text(damage)
    assert LatencyTable(path).layer(LAYERS["linear"], (10, 16), measure=False) is None


def test_geometry_of_a_model() -> None:
    model = open_model("digits_resnet")
    layers = geometries(comb(model))
    assert layers["stem"].kind == "convolution"
    assert layers["stem"].space == tuple(model.input_shape[1:])
    vit = geometries(comb(open_model("digits_vit")))
    assert vit["blocks.0.expand"].kind == "linear"
    assert vit["blocks.0.expand"].space[0] > 1  # tokens


def test_a_latency_budget_is_met_by_the_prediction(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("ESPALIER_CACHE", str(tmp_path))
    model = open_model("digits_resnet")
    settings = {"budget": "latency", "per_cost": "latency", "round_to": 8, "recalibrate": False}
    plan = Plan(method="one_shot_structured", sparsity=0.2, allocation="uniform", method_settings=settings)
    result = prune(model, None, plan)
    latency = result.history["latency"]
    assert latency["ratio"] == pytest.approx(latency["predicted_ms"] / latency["dense_ms"])
    assert any("Predicted latency" in note for note in result.notes)
    assert (tmp_path / "latency-1.json").is_file()
    found = comb(model)
    predicted = NetworkLatency(found)(summarise(found).counts(result.history["removal"]["groups"]))
    assert predicted > 0
    assert all(row["kept_shape"][0] % 8 == 0 for row in result.layers if row["removed"] and row["groups"])


def test_without_times_macs_stand_in_and_it_is_said() -> None:
    found = comb(open_model("digits_resnet"))
    sheet = summarise(found, {"magnitude": score_groups("magnitude", found, CalibrationContext())})
    plan = Plan(method="one_shot_structured", sparsity=0.3, allocation="uniform", method_settings={"budget": "latency"})
    removal, note = planned_removal(sheet, plan)
    assert "MACs stand in for latency" in (note or "")
    assert removal == planned_removal(sheet, plan.changed(method_settings={"budget": "macs"}))[0]
