"""Searches on a real network: what was found holds when it is measured again, by another way."""

import pytest

import core
from core.errors import PlanError
from core.planning.families import layer_families, unit_families
from core.planning.finding import search_plans
from core.planning.settings import SearchSettings
from core.pruning.plan import Plan

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")

UNITS = Plan(method="one_shot_structured", allocation="global")


@pytest.fixture(scope="module")
def model():
    return core.open_model("digits_resnet")


@pytest.fixture(scope="module")
def data(model):
    return core.fit_data(core.open_data("digits", limit=200), model)


def _again(model, data, found, images: int, sensitivity=None) -> float:
    """The score of the best plan, pruned and evaluated anew."""
    plan = Plan.parse(found["plans"][found["best"]]["plan"])
    result = core.prune(model, data, plan, sensitivity=sensitivity)
    return core.evaluate(result.model, data, "select", limit=images).score


@pytest.mark.slow
def test_the_smallest_keeps_its_target_when_measured_again(model, data) -> None:
    curves = core.measure_sensitivity(model, data, core.SensitivitySettings(images=100, levels=(0.5, 0.8, 0.95)))
    found = core.find_smallest(model, data, lose=0.05, images=150, evaluations=8, sensitivity=curves)
    assert _again(model, data, found, 150, curves) >= found["dense"]["score"] - 0.05 - 1e-9
    best = found["plans"][found["best"]]
    assert best["bytes"] < found["dense"]["bytes"] / 2
    assert found["test"]["comparison"]["low"] <= found["test"]["comparison"]["difference"]


@pytest.mark.slow
def test_units_are_searched_in_macs_and_milliseconds(model, data, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("ESPALIER_CACHE", str(tmp_path))
    curves = core.measure_sensitivity(model, data, core.SensitivitySettings(of="groups", images=60, levels=(0.3, 0.6)))
    settings = SearchSettings(goal="smallest", lose=0.1, cost="macs", images=100, evaluations=8)
    found = search_plans(model, data, UNITS, settings, group_sensitivity=curves)
    assert {"curves", "global"} <= {body["family"] for body in found["plans"]}
    assert _again(model, data, found, 100) >= found["dense"]["score"] - 0.1 - 1e-9
    fast = core.find_fastest(model, data, within_ms=1e-4, images=60, evaluations=2)
    assert fast["best"] is None
    assert "of every group must stay" in fast["sentence"]


@pytest.mark.slow
def test_optuna_adds_points_and_without_it_a_note_says_so(model, data, monkeypatch) -> None:
    pytest.importorskip("optuna")
    asked = {"plan": UNITS, "cost": "macs", "images": 60, "evaluations": 6, "sampler": "optuna"}
    found = core.pareto_front(model, data, **asked)
    assert any(body["family"] == "optuna" for body in found["plans"])
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    without = core.pareto_front(model, data, **asked)
    assert not any(body["family"] == "optuna" for body in without["plans"])
    assert any("Optuna is not installed" in note for note in without["notes"])


@pytest.mark.parametrize(
    ("plan", "asked", "said"),
    [
        (Plan(), {"lose": 0.1, "cost": "ms"}, "Zeros do not make dense kernels faster"),
        (Plan(method="dense_trained"), {"lose": 0.1}, "removes nothing"),
        (UNITS.changed(protected=("group:nowhere",)), {"lose": 0.1}, "no group or layer named"),
        (UNITS.changed(method_settings={"kinds": ["heads"]}), {"lose": 0.1}, "free a group"),
        (UNITS.changed(criterion="wanda"), {"lose": 0.1}, "ranks single weights"),
    ],
)
def test_questions_without_an_answer_are_one_sentence(model, data, plan, asked, said) -> None:
    curves = {"estimated": False, "layers": {}, "n": 0}
    with pytest.raises(PlanError, match=said):
        core.find_smallest(model, data, plan=plan, images=20, sensitivity=curves, **asked)


def test_families_keep_what_the_draft_says() -> None:
    base = Plan(protected=("a",), overrides={"b": 0.3})
    sizes = {"a": 10, "b": 20, "c": 300, "d": 400}
    families = layer_families(base, sizes, sensitivity=None, allocations=["lamp", "lamp", "sensitivity"])
    assert [family.name for family in families] == ["lamp"]  # no curves, no family that needs them
    plan = families[0].plan(0.5)
    assert (plan.protected, plan.overrides, plan.sparsity) == (("a",), {"b": 0.3}, 0.5)
    assert families[0].plan(2.0).sparsity <= families[0].top < 1
    assert "2 layers are protected or fixed" in families[0].limit
    with pytest.raises(PlanError, match="free a layer"):
        layer_families(base, {"a": 10, "b": 20}, sensitivity=None, allocations=["lamp"])


def test_curves_take_where_a_saved_unit_costs_least(model) -> None:
    sheet = core.find_groups(model)
    cheap, dear = sheet.groups[1], sheet.groups[2]
    points = {g.name: [{"sparsity": s, "dloss": s**2} for s in (0.3, 0.6, 0.9)] for g in sheet.groups}
    points[dear.name] = [{"sparsity": s, "dloss": 50 * s} for s in (0.3, 0.6, 0.9)]
    families = unit_families(UNITS, sheet, curves=points, cost="macs", allocations=["global"])
    assert [family.name for family in families] == ["curves", "global"]
    shares = families[0].plan(0.3).overrides
    assert shares.get(f"group:{cheap.name}", 0.0) > shares.get(f"group:{dear.name}", 0.0)
    macs = [sheet.counts(_removal(sheet, families[0].plan(t))).macs for t in (0.1, 0.3, 0.5, families[0].top)]
    assert macs == sorted(macs, reverse=True)
    assert families[0].plan(0.0).overrides == {}


def _removal(sheet, plan):
    from core.methods.one_shot_structured import planned_removal

    return planned_removal(sheet, plan)[0]
