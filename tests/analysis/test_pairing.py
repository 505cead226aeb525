"""What a cell says from a part of the images holds for all of them, within its interval."""

import math

import numpy as np
import pytest

from core.analysis.pairing import Seen, dense_numbers, difference, images_wanted, needs_more, no_difference, point
from core.analysis.statistics import bootstrap_miou, wilson_interval

N, HARD = 800, 50


def seen(losses, scored):
    return Seen([np.asarray(losses, np.float32)], [np.asarray(scored)], False, len(losses))


def first(whole, n):
    return Seen([whole.loss(n).astype(np.float32)], [whole.score(n)], whole.broken, n)


def population(seed, *, damage):
    """Dense and changed losses, hardest first; changes are large where the dense loss is, and rarely elsewhere."""
    draw = np.random.default_rng(seed)
    dense = np.sort(draw.exponential(0.02, N) * draw.choice([1, 20], N, p=[0.9, 0.1]))[::-1]
    tail = np.concatenate([dense[:HARD], draw.permutation(dense[HARD:])])
    changed = np.abs(tail * draw.lognormal(damage, 0.5, N) + draw.exponential(damage / 10 + 1e-4, N))
    return seen(tail, tail < 0.3), seen(changed, changed < 0.3)


@pytest.mark.parametrize("damage", [0.05, 0.5, 2.0])
@pytest.mark.parametrize("n", [150, 400])
def test_intervals_from_a_part_hold_for_the_whole(damage, n):
    inside = {"dloss": 0, "dscore": 0}
    for seed in range(100):
        dense, changed = population(seed, damage=damage)
        part, whole = difference(first(changed, n), dense, hard=HARD), difference(changed, dense, hard=HARD)
        for key in inside:
            inside[key] += abs(part[key] - whole[key]) <= 1.96 * part[f"{key}_se"]
        assert part["dscore_doubt"] > 0.0
        assert whole["dloss_doubt"] == whole["dscore_doubt"] == 0.0
    assert min(inside.values()) >= 95


def test_the_hard_images_do_not_bias_the_mean():
    parts, wholes = [], []
    for seed in range(200):
        dense, changed = population(seed, damage=1.0)
        parts.append(difference(first(changed, 150), dense, hard=HARD)["dloss"])
        wholes.append(difference(changed, dense, hard=HARD)["dloss"])
    error = np.subtract(parts, wholes)
    assert abs(error.mean()) < 3 * error.std() / math.sqrt(len(error))


def test_the_whole_is_what_evaluate_says():
    dense, changed = population(0, damage=1.0)
    found = difference(changed, dense)
    cell = point(found, dense_numbers(dense))
    gained = changed.loss() - dense.loss()
    right = int(changed.score().sum())
    assert cell["dloss"] == pytest.approx(gained.mean())
    assert cell["dloss_se"] == pytest.approx(gained.std(ddof=1) / math.sqrt(N))
    assert cell["loss"] == pytest.approx(changed.loss().mean())
    assert cell["score"] == pytest.approx(right / N)
    assert (cell["low"], cell["high"]) == pytest.approx(wilson_interval(right, N))


def test_no_change_on_few_images_is_not_certainty():
    dense, _ = population(0, damage=1.0)
    found = difference(first(dense, 150), dense, hard=HARD)
    assert found["dscore"] == found["dloss"] == 0.0
    assert 1.96 * found["dscore_se"] > 0.01
    assert needs_more(found, 0.005)
    assert not needs_more(found, 0.05)
    assert needs_more(found, 0.005) == (images_wanted(found, 0.005) > 150)


def test_a_wider_interval_for_what_was_not_seen():
    dense, changed = population(1, damage=1.0)
    numbers = dense_numbers(dense)
    part, whole = (point(difference(c, dense, hard=HARD), numbers) for c in (first(changed, 150), changed))
    assert part["high"] - part["low"] > whole["high"] - whole["low"]


def test_losses_that_are_not_finite_are_not_known_and_ask_for_no_more():
    dense, changed = population(0, damage=1.0)
    changed.losses[0][7] = math.inf
    changed.broken = True
    found = difference(changed, dense)
    assert found["dloss"] is found["dloss_se"] is None
    assert not needs_more(found, 0.01)
    cell = point(found, dense_numbers(dense))
    assert cell["loss"] is None
    assert 0.0 <= cell["low"] <= cell["score"] <= cell["high"] <= 1.0


def test_nothing_removed_is_the_dense_model():
    dense, _ = population(0, damage=1.0)
    numbers = dense_numbers(dense)
    cell = point(no_difference(numbers), numbers)
    assert {key: cell[key] for key in numbers} == pytest.approx(numbers)
    assert cell["dloss"] == cell["dscore"] == cell["dloss_se"] == 0.0


def test_miou_of_a_part_and_of_the_whole():
    draw = np.random.default_rng(0)
    truth = draw.integers(20, 60, (120, 3))
    confusions = np.stack([np.diag(row) + draw.integers(0, 9, (3, 3)) for row in truth])
    worse = confusions + draw.integers(0, 9, confusions.shape)

    def of(matrices):
        whole = Seen()
        rows = {"losses": np.full(len(matrices), 0.5), "image_confusions": matrices}
        whole.add(rows, broken=False)
        return whole

    dense, changed = of(confusions), of(worse)
    whole, numbers = difference(changed, dense), dense_numbers(dense)
    cell = point(whole, numbers)
    assert (cell["low"], cell["high"]) == pytest.approx(bootstrap_miou(worse))
    part = difference(of(worse[:60]), dense, hard=10)
    assert abs(part["dscore"] - whole["dscore"]) <= 1.96 * part["dscore_se"]
    assert part["dscore_doubt"] > 0.0
    assert point(part, numbers)["low"] < cell["score"] < point(part, numbers)["high"]
