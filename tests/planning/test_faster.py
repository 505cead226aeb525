"""Questions about a plan's largest layers, from the model and from what pages know of it."""

import pytest
import torch

from core.analysis.describe import describe_model
from core.analysis.probe import ProbeSettings
from core.analysis.weights import weight_statistics
from core.comb.geometry import LayerGeometry
from core.errors import MeasurementError, PlanError
from core.jobs.grouping import find_groups
from core.models.capture import trace
from core.models.cifar_resnet import CifarResNet
from core.planning.faster import SpeedQuestion, answer, asked_key, speed_questions, will_it_be_faster
from core.pruning.plan import Plan

QUICK = ProbeSettings(runtimes=("onnxruntime",), budget_s=0.05)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return trace(CifarResNet(8).eval(), (3, 32, 32))


@pytest.fixture(scope="module")
def known(model):
    return {"description": describe_model(model), "weights": weight_statistics(model), "sheet": find_groups(model)}


def test_masks_ask_for_their_zeros_and_for_as_many_weights_as_channels(known) -> None:
    questions = speed_questions(Plan(sparsity=0.75, allocation="uniform"), **known)
    layers = {row["name"]: row for row in known["description"]["layers"]}
    assert len(questions) == 3
    assert [q.macs for q in questions] == sorted((q.macs for q in questions), reverse=True)
    for question in questions:
        shape = layers[question.name]["weight_shape"]
        assert question.sparsity == 0.75
        assert question.kept == (shape[0] // 2, shape[1] // 2, 3, 3)


def test_units_ask_for_the_channels_of_the_plan(known) -> None:
    plan = Plan(method="one_shot_structured", sparsity=0.5, allocation="uniform", method_settings={"round_to": 8})
    questions = speed_questions(plan, **known)
    layers = {row["name"]: row for row in known["description"]["layers"]}
    assert questions
    for question in questions:
        assert list(question.kept) < layers[question.name]["weight_shape"]
        assert SpeedQuestion.parse(question.to_json()) == question
    trained = plan.changed(method="cpd", method_settings={"round_to": 8})
    assert speed_questions(trained, **known)


def test_nothing_is_asked_of_plans_that_remove_nothing(known, model) -> None:
    assert speed_questions(Plan(sparsity=0.0), **known) == []
    assert speed_questions(Plan(method="dense_trained"), **known) == []
    with pytest.raises(MeasurementError, match="changes no layer"):
        will_it_be_faster(model, Plan(sparsity=0.0), settings=QUICK)


def test_impossible_plans_and_unknown_groups(known) -> None:
    with pytest.raises(PlanError, match="nowhere"):
        speed_questions(Plan(overrides={"nowhere": 0.5}), **known)
    with pytest.raises(PlanError, match="find them first"):
        speed_questions(Plan(method="one_shot_structured"), **{**known, "sheet": None})


def test_from_python(model) -> None:
    plan = Plan(sparsity=0.75, allocation="uniform")
    result = will_it_be_faster(model, plan, settings=QUICK)
    assert result["sentence"].startswith("On this machine")
    assert 0.0 < result["work_share"] <= 1.0
    assert len(result["layers"]) == 3


def test_large_layers_are_timed_on_a_part_of_their_picture() -> None:
    big = LayerGeometry("convolution", (256, 256, 3, 3), (112, 112), (1, 1), (1, 1), (1, 1))
    question = SpeedQuestion("big", (128, 128, 3, 3), 0.75, 256 * 256 * 9 * 112 * 112)
    result = answer([question], {"big": big}, work=question.macs, settings=QUICK)
    assert result["layers"][0]["geometry"]["space"][0] < 112
    assert result["layers"][0]["geometry"]["space"][1] == 112
    assert any("part of the picture" in problem for problem in result["problems"])
    assert result["key"] == asked_key([question], {"big": big}, settings=QUICK)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": "a"},
        {"name": "a", "kept": "x", "sparsity": 0.5, "macs": 1},
        {"name": "a", "kept": [0, 1], "sparsity": 0.5, "macs": 1},
        {"name": "a", "kept": [1 << 30], "sparsity": 0, "macs": 1},
        {"name": "a", "kept": [4, 4], "sparsity": 1.0, "macs": 1},
    ],
)
def test_questions_that_are_none(body) -> None:
    with pytest.raises(PlanError):
        SpeedQuestion.parse(body)
