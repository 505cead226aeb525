"""Intervals cover what they say, comparisons are paired and honest."""

import itertools
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.analysis.statistics import (
    bootstrap_miou,
    changed_images,
    compare_paired,
    mcnemar_exact,
    mean_iou,
    paired_accuracy_interval,
    paired_bootstrap_miou,
    wilson_interval,
)
from core.errors import MeasurementError


def evaluation(correct: np.ndarray, **changes: Any) -> Any:
    """A stand-in with the fields of an accuracy evaluation that comparisons read."""
    fields = {
        "metric": "accuracy",
        "split": "test",
        "data": "d",
        "n": len(correct),
        "score": float(correct.mean()),
        "correct": correct,
        "agreement": correct.astype(np.float32),
        "losses": 1.0 - correct.astype(np.float32),
        "indices": np.arange(len(correct)),
        "image_confusions": None,
    }
    return SimpleNamespace(**{**fields, **changes})


def segmentation(confusions: np.ndarray, **changes: Any) -> Any:
    right = confusions.diagonal(axis1=1, axis2=2).sum(1) / confusions.sum((1, 2))
    result = evaluation(np.ones(len(confusions), bool), metric="mIoU", image_confusions=confusions, **changes)
    result.score, result.correct = mean_iou(confusions.sum(0)), None
    result.agreement = right.astype(np.float32)
    return result


def random_confusions(n: int, classes: int, quality: float, seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return generator.integers(0, 30, (n, classes, classes)) + np.eye(classes, dtype=int) * int(200 * quality)


@given(n=st.integers(1, 3000), data=st.data())
def test_wilson_holds_the_share_and_mirrors(n: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(0, n))
    low, high = wilson_interval(k, n)
    assert 0 <= low <= k / n <= high <= 1
    mirrored = wilson_interval(n - k, n)
    assert mirrored == pytest.approx((1 - high, 1 - low), abs=1e-12)


def test_wilson_equals_published_values() -> None:
    # Newcombe 1998, Statistics in Medicine 17:857, table I, method 3.
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson_interval(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert wilson_interval(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert wilson_interval(1, 29) == pytest.approx((0.0061, 0.1718), abs=5e-5)


def test_wilson_covers() -> None:
    for n, share in itertools.product((10, 30, 100), (0.05, 0.5, 0.9)):
        draws = np.random.default_rng(0).binomial(n, share, 20_000)
        counts = np.bincount(draws, minlength=n + 1) / len(draws)
        covered = [low <= share <= high for low, high in (wilson_interval(k, n) for k in range(n + 1))]
        assert counts[covered].sum() > 0.91, (n, share)


@pytest.mark.parametrize(("k", "n"), [(-1, 3), (4, 3)])
def test_impossible_counts_are_refused(k: int, n: int) -> None:
    with pytest.raises(MeasurementError, match="between 0 and the number of trials"):
        wilson_interval(k, n)
    with pytest.raises(MeasurementError, match="must fit"):
        paired_accuracy_interval(max(k, 0), 4, n)


def test_mcnemar_equals_the_sum_of_binomials() -> None:
    from math import comb

    for b, c in itertools.product(range(8), range(8)):
        n, tail = b + c, min(b, c)
        expected = min(1.0, 2 * sum(comb(n, k) for k in range(tail + 1)) / 2**n)
        assert mcnemar_exact(b, c) == pytest.approx(expected)
        assert mcnemar_exact(b, c) == mcnemar_exact(c, b)


@given(b=st.integers(0, 40), c=st.integers(0, 40), more=st.integers(0, 200))
def test_paired_interval_holds_the_difference_and_mirrors(b: int, c: int, more: int) -> None:
    n = b + c + more
    if n == 0:
        return
    low, high = paired_accuracy_interval(b, c, n)
    assert -1 <= low <= (c - b) / n <= high <= 1
    assert paired_accuracy_interval(c, b, n) == pytest.approx((-high, -low), abs=1e-9)
    assert high - low > 0


@given(n=st.integers(1, 5000))
def test_agreement_everywhere_leaves_a_known_width(n: int) -> None:
    # With b = c = 0 the score equation has the solution ± z² / (n + z²).
    square = 1.959964**2
    bound = square / (n + square)
    assert paired_accuracy_interval(0, 0, n) == pytest.approx((-bound, bound), abs=1e-6)


@pytest.mark.parametrize(("b", "c", "n"), [(3, 9, 40), (0, 5, 30), (7, 7, 20), (1, 0, 15), (12, 3, 500)])
def test_paired_interval_equals_slow_inversion(b: int, c: int, n: int) -> None:
    """The ends are where the score statistic, with the rest fitted by a search over all values, reaches 1.96."""
    shares = np.linspace(0, 1, 200_001)[1:-1]

    def score(delta: float) -> float:
        lost = shares[(shares + delta > 0) & (2 * shares + delta < 1)]
        likelihood = b * np.log(lost) + c * np.log(lost + delta) + (n - b - c) * np.log(1 - 2 * lost - delta)
        fitted = lost[np.argmax(likelihood)]
        return (c - b - n * delta) / np.sqrt(n * (2 * fitted + delta - delta**2))

    low, high = paired_accuracy_interval(b, c, n)
    assert score(low) == pytest.approx(1.96, abs=0.02)
    assert score(high) == pytest.approx(-1.96, abs=0.02)


def test_paired_interval_covers_with_small_n() -> None:
    generator = np.random.default_rng(1)
    for n, lost, gained in ((20, 0.1, 0.1), (50, 0.05, 0.0), (50, 0.15, 0.05), (200, 0.02, 0.01)):
        counts = generator.multinomial(n, [lost, gained, 1 - lost - gained], 2000)
        pairs, times = np.unique(counts[:, :2], axis=0, return_counts=True)
        truth = gained - lost
        covered = sum(
            time
            for (b, c), time in zip(pairs.tolist(), times.tolist(), strict=True)
            if (interval := paired_accuracy_interval(b, c, n))[0] <= truth <= interval[1]
        )
        assert covered / 2000 > 0.92, (n, lost, gained)


def test_identical_models_show_no_difference() -> None:
    correct = np.random.default_rng(0).random(1017) < 0.9
    result = compare_paired(evaluation(correct), evaluation(correct.copy()))
    assert result.difference == 0
    assert result.low == pytest.approx(-result.high)
    assert not result.differs
    assert result.p_value == 1
    assert result.sentence == "no difference shown on 1,017 images (0.0 points, 95 % interval −0.4 … +0.4)"
    confusions = random_confusions(30, 4, 1.0, seed=0)
    paired = compare_paired(segmentation(confusions), segmentation(confusions))
    assert (paired.difference, paired.low, paired.high, paired.differs, paired.p_value) == (0, 0, 0, False, 1)


def test_comparison_is_antisymmetric() -> None:
    generator = np.random.default_rng(3)
    first, second = evaluation(generator.random(400) < 0.9), evaluation(generator.random(400) < 0.85)
    there, back = compare_paired(first, second), compare_paired(second, first)
    assert there.difference == -back.difference
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low), abs=1e-9)
    assert there.p_value == back.p_value


def test_a_clear_loss_is_said() -> None:
    dense = np.ones(1000, bool)
    variant = dense.copy()
    variant[:24] = False
    result = compare_paired(evaluation(dense), evaluation(variant))
    assert result.differs
    assert result.sentence.startswith("2.4 points worse (95 % interval −3.")
    assert result.sentence.endswith("1,000 images)")
    assert result.p_value < 1e-6
    assert result.to_json()["n"] == 1000


@pytest.mark.parametrize("changes", [{"split": "select"}, {"data": "other"}, {"indices": np.arange(1, 11)}])
def test_unpaired_evaluations_are_refused(changes: dict) -> None:
    correct = np.ones(10, bool)
    with pytest.raises(MeasurementError, match="same images"):
        compare_paired(evaluation(correct), evaluation(correct, **changes))


def slow_miou(confusion: np.ndarray) -> float:
    ious = []
    for k in range(len(confusion)):
        union = confusion[k].sum() + confusion[:, k].sum() - confusion[k, k]
        if union:
            ious.append(confusion[k, k] / union)
    return float(np.mean(ious))


@given(seed=st.integers(0, 50), classes=st.integers(2, 6))
def test_miou_equals_the_definition(seed: int, classes: int) -> None:
    confusion = np.random.default_rng(seed).integers(0, 4, (classes, classes))
    confusion[0, 0] += 1
    assert mean_iou(confusion) == pytest.approx(slow_miou(confusion))


def test_bootstrap_equals_slow_resampling() -> None:
    confusions = random_confusions(25, 3, 0.5, seed=1)
    generator = np.random.default_rng(9)
    slow = [slow_miou(confusions[generator.integers(0, 25, 25)].sum(0)) for _ in range(3000)]
    assert bootstrap_miou(confusions) == pytest.approx(tuple(np.quantile(slow, [0.025, 0.975])), abs=0.005)
    assert bootstrap_miou(confusions) == bootstrap_miou(confusions)
    assert bootstrap_miou(confusions[:1]) == (0.0, 1.0)


def test_paired_bootstrap_is_narrower_than_unpaired() -> None:
    confusions = random_confusions(60, 4, 1.0, seed=2)
    confusions[:30] *= 5  # images differ much from each other, models little
    worse = confusions + np.random.default_rng(5).integers(0, 3, confusions.shape)
    low, high, p_value = paired_bootstrap_miou(confusions, worse)
    alone = bootstrap_miou(confusions)
    assert low < mean_iou(worse.sum(0)) - mean_iou(confusions.sum(0)) < high < 0
    assert high - low < alone[1] - alone[0]
    assert p_value < 0.01


def test_paired_bootstrap_covers() -> None:
    generator = np.random.default_rng(4)
    covered = 0
    for _ in range(60):
        population = generator.integers(0, 20, (40, 3, 3)) + 40 * np.eye(3, dtype=int)
        other = population[:, ::-1, ::-1]  # as good in expectation: the truth is 0
        low, high, _ = paired_bootstrap_miou(population, other)
        covered += low <= 0 <= high
    assert covered >= 51  # 95 % of 60 is 57; fewer than 51 has a chance below 1 in 500


def test_changed_images_are_ordered() -> None:
    dense, variant = np.array([1, 1, 0, 1, 0], bool), np.array([0, 1, 1, 0, 0], bool)
    losses = np.array([0.5, 0.1, 0.1, 3.0, 2.0], np.float32)
    lost, gained = changed_images(
        evaluation(dense, losses=np.zeros(5, np.float32), indices=np.arange(10, 15)),
        evaluation(variant, losses=losses, indices=np.arange(10, 15)),
    )
    assert lost.tolist() == [13, 10]
    assert gained.tolist() == [12]
