"""Evaluation against slow references, on real data and awkward models."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.analysis.evaluation import Evaluation, evaluate
from core.analysis.scoring import default_batch_size
from core.analysis.statistics import compare_paired, mean_iou, wilson_interval
from core.data.opening import open_data
from core.data.splits import Splits
from core.errors import DataError, MeasurementError
from core.progress import Progress


@pytest.fixture(scope="module")
def digits() -> Splits:
    return open_data("digits")


@pytest.fixture(scope="module")
def scenes() -> Splits:
    return open_data("scenes", limit=30)


def classifier() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 5, 4), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(), nn.Flatten(), nn.Linear(392, 10)
    )


def segmenter(stride: int = 1) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3, stride, 1), nn.ReLU(), nn.Conv2d(8, 11, 1))


def test_accuracy_equals_counting(digits: Splits) -> None:
    model = classifier()
    result = evaluate(model, digits)
    model.eval()
    with torch.no_grad():
        logits = torch.cat([model(x) for x, _ in digits.test.batches(1)])
    right = logits.argmax(1) == digits.test.targets
    assert result.metric == "accuracy"
    assert result.n == len(digits.test)
    assert result.score == pytest.approx(float(right.float().mean()))
    assert result.interval == wilson_interval(int(right.sum()), result.n)
    assert result.loss == pytest.approx(float(F.cross_entropy(logits, digits.test.targets)), rel=1e-4)
    assert np.array_equal(result.correct, right.numpy())
    assert np.array_equal(result.predictions, logits.argmax(1).numpy())
    assert np.allclose(result.confidence, logits.softmax(1).amax(1).numpy(), atol=1e-5)
    assert result.confusion.sum() == result.n
    for label in range(10):
        members = digits.test.targets == label
        assert result.per_class[label] == pytest.approx(float(right[members].float().mean()))
        assert result.confusion[label].sum() == int(members.sum())


@pytest.mark.parametrize("stride", [1, 2])
def test_miou_equals_counting_pixels(scenes: Splits, stride: int) -> None:
    scenes = replace(scenes, ignore_index=3)
    model = segmenter(stride)
    result = evaluate(model, scenes)
    x, y = next(scenes.test.batches(100))
    with torch.no_grad():
        logits = F.interpolate(model(x), size=y.shape[-2:], mode="bilinear", align_corners=False)
    predicted = logits.argmax(1)
    for index in range(3):
        confusion = np.zeros((11, 11), int)
        for target, prediction in zip(y[index].flatten().tolist(), predicted[index].flatten().tolist(), strict=True):
            if target != 3:
                confusion[target, prediction] += 1
        assert np.array_equal(result.image_confusions[index], confusion)
        assert result.agreement[index] == pytest.approx(confusion.trace() / confusion.sum())
    assert result.score == mean_iou(result.confusion)
    assert result.interval[0] <= result.score <= result.interval[1]
    losses = [F.cross_entropy(logits[k : k + 1], y[k : k + 1], ignore_index=3) for k in range(len(y))]
    assert np.allclose(result.losses, torch.stack(losses).numpy(), rtol=1e-4)
    assert result.loss == pytest.approx(float(torch.stack(losses).mean()), rel=1e-4)
    counted = y != 3
    certainty = torch.stack([logits.softmax(1).amax(1)[k][counted[k]].mean() for k in range(len(y))])
    assert np.allclose(result.confidence, certainty.numpy(), atol=1e-5)


def test_batch_size_changes_nothing(digits: Splits) -> None:
    model = classifier()
    whole, single = evaluate(model, digits, batch_size=1000), evaluate(model, digits, batch_size=7)
    assert whole.score == single.score
    assert np.allclose(whole.losses, single.losses, atol=1e-5)


def test_modes_are_put_back(digits: Splits) -> None:
    model = classifier()
    model.train()
    model[1].eval()  # a frozen BatchNorm
    statistics = model[1].running_mean.clone()
    evaluate(model, digits, limit=50)
    assert [part.training for part in model] == [True, False, True, True, True, True]
    assert torch.equal(model[1].running_mean, statistics)
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())


def test_modes_are_put_back_after_an_error(digits: Splits) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(3, 10)).train()
    with pytest.raises(RuntimeError):
        evaluate(model, digits)
    assert model.training


def test_limit_takes_the_stratified_subset(digits: Splits) -> None:
    result = evaluate(classifier(), digits, "select", limit=60)
    assert result.n == 60
    assert result.split == "select"
    assert np.array_equal(result.indices, digits.select.indices(60))
    whole = evaluate(classifier(), digits, "select")
    assert np.array_equal(whole.correct[result.indices], result.correct)


def test_dicts_and_tuples_are_unwrapped(digits: Splits, scenes: Splits) -> None:
    model = segmenter()
    plain = evaluate(model, scenes).score
    assert evaluate(lambda x: {"out": model(x), "aux": None}, scenes).score == plain
    assert evaluate(lambda x: (model(x), None), scenes).score == plain
    with pytest.raises(DataError, match="must return logits"):
        evaluate(lambda x: None, digits)


def test_channels_last_gives_the_same(scenes: Splits) -> None:
    model = segmenter()
    plain = evaluate(model, scenes)
    formats = []
    model.register_forward_pre_hook(lambda _, x: formats.append(x[0].is_contiguous(memory_format=torch.channels_last)))
    other = evaluate(model.to(memory_format=torch.channels_last), scenes)
    assert all(formats)
    assert np.allclose(plain.losses, other.losses, rtol=1e-4)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda x: torch.zeros(len(x), 7), "it has 7, the data have 10 classes"),
        (lambda x: torch.zeros(len(x), 10, 4, 4), r"\[N, classes\]"),
        (lambda x: torch.zeros(1, 10), r"\[N, classes\]"),
    ],
)
def test_outputs_that_do_not_fit_are_refused(digits: Splits, make: object, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        evaluate(make, digits)  # type: ignore[arg-type]


def test_nan_outputs_count_as_wrong_and_are_said(digits: Splits, scenes: Splits) -> None:
    def broken(x: Tensor) -> Tensor:
        logits = torch.zeros(len(x), 10)
        logits[::2] = math.nan
        return logits

    result = evaluate(broken, digits, batch_size=100)
    count = sum((size + 1) // 2 for size in (100, 100, 100, 59))
    assert int((result.predictions == -1).sum()) == count
    assert any(f"{count} of 359 images are NaN" in warning for warning in result.warnings)
    assert json.loads(json.dumps(result.summary(), allow_nan=False))["loss"] is None
    segmented = evaluate(lambda x: torch.full((len(x), 11, 64, 64), math.nan), scenes)
    assert segmented.score == 0
    assert segmented.agreement.max() == 0
    json.dumps(segmented.summary(), allow_nan=False)


def test_chance_is_said(digits: Splits) -> None:
    result = evaluate(lambda x: torch.zeros(len(x), 10), digits)
    assert any("at chance (10.0 % for 10 classes)" in warning for warning in result.warnings)
    targets = iter(digits.test.targets.split(250))
    assert evaluate(lambda x: F.one_hot(next(targets), 10).float(), digits).warnings == ()


def test_progress_is_checked_every_batch(digits: Splits) -> None:
    class Recorder(Progress):
        checks = 0
        last = (0.0, 0.0)

        def check(self) -> None:
            self.checks += 1

        def update(self, done: float, total: float, message: str = "") -> None:
            self.last = (done, total)

    recorder = Recorder()
    evaluate(classifier(), digits, batch_size=100, progress=recorder)
    assert recorder.checks == 4
    assert recorder.last == (359, 359)


@pytest.mark.parametrize("task", ["classification", "segmentation"])
def test_files_round_trip(task: str, digits: Splits, scenes: Splits, tmp_path: Path) -> None:
    result = evaluate(classifier(), digits) if task == "classification" else evaluate(segmenter(), scenes)
    result.save(tmp_path / "evaluation.npz")
    loaded = Evaluation.load(tmp_path / "evaluation.npz")
    for field in Evaluation.__dataclass_fields__:
        stored, original = getattr(loaded, field), getattr(result, field)
        assert np.array_equal(stored, original) if original is not None else stored is None, field
    assert compare_paired(result, loaded).difference == 0
    json.dumps(loaded.summary(), allow_nan=False)


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    for content in (b"", b"text", b"PK\x03\x04"):
        (tmp_path / "evaluation.npz").write_bytes(content)
        with pytest.raises(MeasurementError, match=r"evaluation\.npz cannot be read"):
            Evaluation.load(tmp_path / "evaluation.npz")
    with pytest.raises(MeasurementError, match="cannot be read"):
        Evaluation.load(tmp_path / "missing.npz")


def test_default_batches_hold_a_million_pixels() -> None:
    assert [default_batch_size(shape) for shape in ((3, 32, 32), (3, 224, 224), (3, 360, 480), (3, 4000, 4000))] == [
        250, 20, 6, 1,
    ]  # fmt: skip


def test_the_checkpoint_reaches_its_stated_accuracy(shared_data: Path) -> None:
    from core.models.opening import open_model

    model = open_model("resnet20", checkpoint=shared_data / "checkpoints" / "resnet20-12fca82f.th")
    imagenet = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
    splits = open_data("cifar10", root=shared_data / "cifar10-mini", **imagenet)
    result = evaluate(model, splits)
    assert int(result.correct.sum()) == 932  # data/README.md: 932 of 1,017
    assert result.warnings == ()
