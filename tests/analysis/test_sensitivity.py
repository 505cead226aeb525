"""Measured sensitivity equals the obvious loop, for both tasks, and can be stopped and continued."""

import json
import math
import time

import numpy as np
import pytest
import torch
from torch import nn

from core.analysis import precision, sweep
from core.analysis.evaluation import evaluate
from core.analysis.fast_network import FastNetwork
from core.analysis.sensitivity import SensitivitySettings, measure_sensitivity
from core.data.opening import open_data
from core.errors import Cancelled, PlanError
from core.jobs.matching import fit_data
from core.models.capture import trace
from core.models.opening import open_model
from core.progress import Progress
from core.pruning.criteria import CRITERIA, CalibrationContext, score_layers
from core.pruning.masks import apply_masks, masks_for
from core.pruning.ranking import unique_layers

from ..pruning.data import random_splits
from ..pruning.networks import mixed, only_norm, tied

QUICK = SensitivitySettings(levels=(0.3, 0.6, 0.9), images=40, batch_size=16, exact=True)


class Segmenter(nn.Module):
    """A small fully convolutional network with half-size output."""

    def __init__(self):
        super().__init__()
        self.down = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.head = nn.Conv2d(8, 4, 1)

    def forward(self, x):
        return self.head(torch.relu(self.norm(self.down(x))))


def segmenter():
    torch.manual_seed(0)
    return trace(Segmenter().eval(), (3, 10, 10), task="segmentation")


def naive(model, splits, settings):
    """Slow and obvious: a fresh clone, the mask applied, the whole model evaluated."""
    context = CalibrationContext(splits=splits, images=settings.calibration_images, seed=settings.seed)
    names = list(unique_layers(model)[0])
    scores = score_layers(settings.criterion, model, names, context)
    dense = evaluate(model, splits, "select", limit=settings.images)
    found = {}
    for name in names:
        for level in settings.levels:
            clone, size = model.clone(), scores[name].numel()
            count = {name: min(round(level * size), size - 1)}
            apply_masks(clone, masks_for({name: scores[name]}, count, scope=CRITERIA[settings.criterion].scope))
            found.setdefault(name, []).append(evaluate(clone, splits, "select", limit=settings.images))
    return dense, found


@pytest.mark.parametrize("build", [mixed, tied, segmenter])
@pytest.mark.parametrize("criterion", list(CRITERIA))
def test_equals_the_naive_loop(build, criterion):
    model, settings = build(), QUICK.changed(criterion=criterion)
    splits = random_splits(model)
    result = measure_sensitivity(model, splits, settings)
    dense, expected = naive(model, splits, settings)
    assert result["complete"] is True
    assert result["estimated"] is False
    assert result["metric"] == dense.metric
    assert result["dense"]["loss"] == pytest.approx(dense.loss, rel=1e-5)
    assert list(result["layers"]) == list(expected)
    for name, points in result["layers"].items():
        for point, level, one in zip(points, settings.levels, expected[name], strict=True):
            assert point["sparsity"] == level
            assert point["n"] == dense.n == 40
            assert point["loss"] == pytest.approx(one.loss, rel=1e-5)
            assert point["score"] == pytest.approx(one.score, abs=1e-9)
            assert (point["low"], point["high"]) == pytest.approx(one.interval, abs=1e-9)
            difference = one.losses.astype(np.float64) - dense.losses
            assert point["dloss"] == pytest.approx(difference.mean(), abs=1e-5)
            assert point["dloss_se"] == pytest.approx(difference.std(ddof=1) / math.sqrt(40), abs=1e-5)
    json.dumps(result, allow_nan=False)


def test_number_of_threads_does_not_change_the_result():
    model = mixed()
    splits, threads = random_splits(model), torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = measure_sensitivity(model, splits, QUICK)
        torch.set_num_threads(2)
        two = measure_sensitivity(model, splits, QUICK)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    for name, points in one["layers"].items():
        for a, b in zip(points, two["layers"][name], strict=True):
            assert a["score"] == b["score"]
            assert a["dloss"] == pytest.approx(b["dloss"], abs=1e-5)


@pytest.mark.parametrize("build", [mixed, segmenter])
def test_low_precision_is_used_only_where_answers_agree(build, monkeypatch):
    model, settings = build(), QUICK.changed(precision="bfloat16", exact=False)
    splits = random_splits(model)
    monkeypatch.setattr(precision, "AGREEMENT_AT_LEAST", 0.5)
    low, exact = measure_sensitivity(model, splits, settings), measure_sensitivity(model, splits, QUICK)
    assert low["precision"] == "bfloat16"
    assert 0.5 <= low["agreement"] <= 1.0
    assert "bfloat16" in low["notes"][0]
    for name, points in exact["layers"].items():
        for a, b in zip(points, low["layers"][name], strict=True):
            assert a["dloss"] == pytest.approx(b["dloss"], abs=0.02)
    monkeypatch.setattr(precision, "AGREEMENT_AT_LEAST", 1.1)
    refused = measure_sensitivity(model, splits, settings)
    assert refused["precision"] == "float32"
    assert "only" in refused["notes"][0]
    for name, points in exact["layers"].items():
        for a, b in zip(points, refused["layers"][name], strict=True):
            assert a["dloss"] == pytest.approx(b["dloss"], abs=1e-6)


def test_never_modifies_the_model():
    model = mixed().train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    measure_sensitivity(model, random_splits(model), QUICK)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert model.training


def finished(partial):
    """The layers of which every cell is settled."""
    return [name for name, points in partial["layers"].items() if all(point["settled"] for point in points)]


class Recorder(Progress):
    """Keeps what is published; cancels after so many finished layers."""

    def __init__(self, stop_after=None):
        self.partials, self.times, self.updates, self.stop_after = [], [], [], stop_after

    def publish(self, partial):
        self.partials.append(json.loads(json.dumps(partial)))
        self.times.append(time.monotonic())

    def update(self, done, total, message=""):
        self.updates.append((done, total))

    def check(self):
        if self.stop_after is not None and self.partials and len(finished(self.partials[-1])) >= self.stop_after:
            raise Cancelled


def test_is_live_and_its_progress_only_grows():
    model, recorder = mixed(), Recorder()
    measure_sensitivity(model, random_splits(model), QUICK, progress=recorder)
    assert recorder.partials[-1]["complete"] is True
    assert recorder.partials[0]["complete"] is False
    # the first and the last always come; those between keep their distance
    assert all(b - a >= 0.2 for a, b in zip(recorder.times[:-1], recorder.times[1:-1], strict=False))
    shares = [done / total for done, total in recorder.updates]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_cancel_and_continue_gives_the_uninterrupted_result(monkeypatch):
    monkeypatch.setattr(sweep, "_PUBLISH_EVERY_S", 0.0)
    model = mixed()
    splits, recorder = random_splits(model), Recorder(stop_after=1)
    whole = measure_sensitivity(model, splits, QUICK)
    with pytest.raises(Cancelled):
        measure_sensitivity(model, splits, QUICK, progress=recorder)
    part = recorder.partials[-1]
    assert 0 < len(finished(part)) < len(whole["layers"])
    name = finished(part)[0]
    part["layers"][name][0]["score"] = 0.123  # proof that it is taken over, not measured again
    continued = measure_sensitivity(model, splits, QUICK, previous=part)
    assert continued["layers"][name][0]["score"] == 0.123
    continued["layers"][name] = whole["layers"][name]
    assert continued == whole


def test_a_result_of_something_else_is_not_continued():
    model = mixed()
    splits = random_splits(model)
    other = measure_sensitivity(mixed(seed=1), splits, QUICK)
    fresh = measure_sensitivity(model, splits, QUICK)
    assert measure_sensitivity(model, splits, QUICK, previous=other) == fresh
    assert measure_sensitivity(model, splits, QUICK, previous=fresh | {"settings": {}}) == fresh


def test_some_layers_only_and_shared_weights_under_their_first_name():
    model = tied()
    splits = random_splits(model)
    some = measure_sensitivity(model, splits, QUICK, layers=["again", "head"])
    assert list(some["layers"]) == ["embed", "head"]
    whole = measure_sensitivity(model, splits, QUICK)
    assert some["layers"]["head"] == whole["layers"]["head"]


def test_refusals():
    model = mixed()
    with pytest.raises(PlanError, match="none named “gone”"):
        measure_sensitivity(model, random_splits(model), QUICK, layers=["gone"])
    with pytest.raises(PlanError, match="nothing to prune"):
        measure_sensitivity(only_norm(), random_splits(only_norm()), QUICK)
    with torch.no_grad():
        model.prunable()["stem"].weight[0] = math.nan
    with pytest.raises(PlanError, match="“stem”"):
        measure_sensitivity(model, random_splits(model), QUICK)


@pytest.mark.parametrize("levels", [(0.5, 0.5), (0.9, 0.1), (0.0, 0.5), (0.5, 1.0), ()])
def test_settings_refuse_levels_that_make_no_sense(levels):
    with pytest.raises(PlanError, match="levels"):
        SensitivitySettings.parse({"levels": levels})


def test_settings_survive_json():
    settings = SensitivitySettings(levels=(0.2, 0.4), images=7)
    assert SensitivitySettings.parse(json.loads(json.dumps(settings.to_json()))) == settings


def sample(splits_limit):
    """A trained sample network and its data: what the claim about intervals is tested on."""
    model = open_model("digits_resnet")
    return model, fit_data(open_data("digits", limit=splits_limit), model)


@pytest.mark.parametrize("precision_asked", ["float32", "bfloat16"])
def test_the_naive_loop_lies_within_the_stated_intervals(precision_asked):
    model, splits = sample(None)
    settings = SensitivitySettings(levels=(0.3, 0.6, 0.8, 0.9), images=1000, tolerance=0.02, precision=precision_asked)
    layers = list(model.prunable())[::3]
    quick = measure_sensitivity(model, splits, settings, layers=layers)
    exact = measure_sensitivity(model, splits, settings.changed(exact=True), layers=layers)
    cells = [(a, b) for name in layers for a, b in zip(quick["layers"][name], exact["layers"][name], strict=True)]
    assert quick["precision"] == precision_asked
    assert exact["precision"] == "float32"
    assert all(cell["settled"] for cell, _ in cells)
    assert all(cell["n"] == exact["n"] for _, cell in cells)
    if precision_asked == "float32":
        assert sum(cell["n"] for cell, _ in cells) < 0.8 * len(cells) * exact["n"]
    for key in ("dloss", "dscore"):
        inside = [abs(a[key] - b[key]) <= 1.96 * a[f"{key}_se"] for a, b in cells]
        assert sum(inside) >= 0.95 * len(inside)
    assert all(low <= score <= high for low, score, high in ((a["low"], b["score"], a["high"]) for a, b in cells))


def test_a_first_look_comes_before_the_stages(monkeypatch):
    monkeypatch.setattr(sweep, "_PUBLISH_EVERY_S", 0.0)
    model, recorder = mixed(), Recorder()
    settings = QUICK.changed(exact=False, levels=(0.3, 0.8))
    measure_sensitivity(model, random_splits(model, select=80), settings.changed(images=80), progress=recorder)
    assert recorder.partials[0]["layers"] == {}
    shares = recorder.partials[0]["preview"]["layers"]["stem"]
    assert recorder.partials[0]["preview"]["estimated"] is True
    assert 0.0 < shares[0]["dloss"] < shares[1]["dloss"] < 1.0
    glance = next(p for p in recorder.partials if len(p["layers"]) == len(model.prunable()))
    assert {(c["sparsity"], c["n"], c["settled"]) for points in glance["layers"].values() for c in points} == {
        (0.8, 32, False)
    }
    assert "preview" not in recorder.partials[-1]


def test_the_same_seed_gives_the_same_result_also_when_it_was_stopped(monkeypatch):
    monkeypatch.setattr(sweep, "_PUBLISH_EVERY_S", 0.0)
    model = mixed()
    splits, recorder = random_splits(model, select=240), Recorder(stop_after=1)
    settings = SensitivitySettings(levels=(0.1, 0.9), images=240, tolerance=0.2, precision="float32")
    whole = measure_sensitivity(model, splits, settings)
    assert measure_sensitivity(model, splits, settings) == whole
    with pytest.raises(Cancelled):
        measure_sensitivity(model, splits, settings, progress=recorder)
    assert measure_sensitivity(model, splits, settings, previous=recorder.partials[-1]) == whole


def test_activations_that_do_not_fit_are_computed_again(monkeypatch):
    model = mixed()
    splits = random_splits(model)
    whole = measure_sensitivity(model, splits, QUICK)
    monkeypatch.setattr(sweep, "KEPT_BYTES", 0)
    monkeypatch.setattr(sweep, "KEPT_PIXELS", 0)
    assert measure_sensitivity(model, splits, QUICK) == whole


def test_a_network_that_will_not_run_in_bfloat16_is_measured_in_float32(monkeypatch):
    model = mixed()

    def refuse(self, x):
        raise RuntimeError("not implemented for 'BFloat16'")

    splits = random_splits(model)
    prepared = FastNetwork.prepared
    monkeypatch.setattr(FastNetwork, "prepared", lambda n, x: (refuse if n.dtype == torch.bfloat16 else prepared)(n, x))
    found = measure_sensitivity(model, splits, QUICK.changed(exact=False, precision="bfloat16"))
    assert found["precision"] == "float32"
    assert "does not run in bfloat16" in found["notes"][0]
    assert found["complete"] is True


def test_one_image_and_one_level():
    model = mixed()
    found = measure_sensitivity(model, random_splits(model), SensitivitySettings(levels=(0.5,), images=1))
    assert {point["n"] for points in found["layers"].values() for point in points} == {1}


@pytest.mark.parametrize("wrong", [{"tolerance": 0.0}, {"tolerance": 2}, {"precision": "int8"}, {"exact": "perhaps"}])
def test_settings_refuse_what_makes_no_sense(wrong):
    with pytest.raises(PlanError, match=next(iter(wrong))):
        SensitivitySettings.parse(wrong)
