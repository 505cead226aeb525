"""Sensitivity of groups is what surgery and evaluation give, for networks whose norms look at what stays, too."""

import json

import pytest
import torch

from core.analysis.changes import group_targets
from core.analysis.evaluation import evaluate
from core.analysis.sensitivity import SensitivitySettings, measure_sensitivity
from core.comb.combing import comb
from core.comb.surgery import remove
from core.errors import PlanError
from core.models.capture import trace
from core.models.cifar_resnet import CifarResNet
from core.pruning.criteria import CalibrationContext
from core.pruning.groups import GROUP_CRITERIA
from core.pruning.plan import Plan
from sample_models.networks import DigitsViT

from ..pruning.data import random_splits
from ..pruning.networks import mixed, only_norm

SETTINGS = SensitivitySettings(of="groups", levels=(0.1, 0.5, 0.9), images=24, batch_size=12, exact=True)


def resnet():
    torch.manual_seed(0)
    return trace(CifarResNet(8).eval(), (3, 16, 16))


def vit():
    torch.manual_seed(0)
    return trace(DigitsViT().eval(), (1, 32, 32))


@pytest.mark.parametrize("build", [mixed, resnet, vit])
def test_equals_surgery_and_evaluation(build):
    model = build()
    splits = random_splits(model, select=24)
    before = model.fingerprint()
    result = measure_sensitivity(model, splits, SETTINGS)
    assert model.fingerprint() == before
    assert result["kind"] == "groups"
    assert result["layers"] == {}
    found, dense = comb(model), evaluate(model, splits, "select")
    assert list(result["groups"]) == [group.name for group in found.groups]
    targets = group_targets(model, "magnitude", CalibrationContext(splits=splits), None, SETTINGS.levels)
    for target in targets:
        counts = [point["removed"] for point in result["groups"][target.name]]
        assert counts == sorted(counts)
        for cell in result["groups"][target.name]:
            units = target.removal(cell["removed"])
            assert len(units) == cell["removed"] < target.size
            assert cell["share"] == cell["removed"] / target.size
            one = evaluate(remove(found, {target.name: units}) if units else model, splits, "select")
            assert cell["loss"] == pytest.approx(one.loss, rel=1e-5)
            assert cell["score"] == pytest.approx(one.score)
            assert cell["dloss"] == pytest.approx(one.loss - dense.loss, abs=1e-5)
            assert (cell["low"], cell["high"]) == pytest.approx(one.interval)
    json.dumps(result, allow_nan=False)


def test_a_level_takes_what_a_plan_takes_that_pins_it():
    from core.comb.summary import summarise
    from core.methods.one_shot_structured import planned_removal
    from core.pruning.groups.base import score_groups

    model = resnet()
    found = comb(model)
    context = CalibrationContext()
    sheet = summarise(found, {"magnitude": score_groups("magnitude", found, context)})
    for target in group_targets(model, "magnitude", context, None, (0.5,)):
        plan = Plan(method="one_shot_structured", sparsity=0.0, overrides={f"group:{target.name}": 0.5})
        removal, _ = planned_removal(sheet, plan)
        assert removal[target.name] == target.removal(target.count(0.5))


@pytest.mark.parametrize("criterion", list(GROUP_CRITERIA))
def test_every_criterion_and_the_number_of_threads(criterion):
    model = resnet()
    splits, settings = random_splits(model, select=24), SETTINGS.changed(criterion=criterion, levels=(0.5,))
    names, threads = [comb(model).groups[0].name], torch.get_num_threads()
    try:
        results = []
        for count in (1, 2):
            torch.set_num_threads(count)
            results.append(measure_sensitivity(model, splits, settings, layers=names)["groups"][names[0]][0])
    finally:
        torch.set_num_threads(threads)
    assert results[0]["dloss"] == pytest.approx(results[1]["dloss"], abs=1e-5)


def test_refusals_name_what_is_wrong():
    model = resnet()
    splits = random_splits(model)
    with pytest.raises(PlanError, match="groups; this model has none named “gone”"):
        measure_sensitivity(model, splits, SETTINGS, layers=["gone"])
    with pytest.raises(PlanError, match=r"wanda.*ranks single weights"):
        measure_sensitivity(model, splits, SETTINGS.changed(criterion="wanda"))
    with pytest.raises(PlanError, match="nothing to prune"):
        measure_sensitivity(only_norm(), random_splits(only_norm()), SETTINGS)
    with pytest.raises(PlanError, match="of"):
        SensitivitySettings.parse({"of": "heads"})
