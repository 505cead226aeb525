"""Estimates: exact where nothing is removed, monotone, and bands that hold as often as they promise."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.planning.bytes import dense_file, sparse_file
from core.planning.calibration import DEFAULT_Q, LEAST_PAIRS, Calibration, Measured, Scale
from core.planning.damage import Damage, damage_of, monotone, removed_energy
from core.planning.outcomes import Outcome, track_record
from core.planning.whatif import Basis, Effect

SCALE = Scale(0.93, 0.1)
LEVELS = (0.1, 0.3, 0.5, 0.7, 0.9)


def _points(scale: float) -> list[dict]:
    return [{"sparsity": s, "dloss": scale * s**3, "score": 0.93 - 0.1 * scale * s**3} for s in LEVELS]


CURVES = {f"layer{number}": _points(0.2 + 0.3 * number) for number in range(6)}


def _damage(sparsity: float, *, curves: bool = True) -> Damage:
    names = dict.fromkeys(CURVES, sparsity)
    energies = dict.fromkeys(CURVES, sparsity**2)
    return damage_of(names, energies, share=sparsity, curves=monotone(CURVES) if curves else None)


def _true(sparsity: float, wobble: float = 0.0) -> float:
    """What a network of this test keeps: a cliff whose place the start does not know."""
    damage = _damage(sparsity)
    assert damage.curves is not None
    x = 0.5 * math.log(damage.curves) + 0.5 * math.log(damage.energy)
    return 1.0 / (1.0 + math.exp(-4.0 * (0.2 + wobble - x)))


def _measured(count: int, seed: int, noise: float) -> list[Measured]:
    draw = np.random.default_rng(seed)
    sparsities = draw.uniform(0.3, 0.95, count)
    return [Measured(_damage(s), _true(s, draw.normal(scale=noise)), 2000) for s in sparsities]


def _fit(measured=(), **fields) -> Calibration:
    return Calibration(SCALE, measured, **{"kind": "weights", "recalibrated": True, "curves": True, **fields})


@pytest.mark.parametrize("kind", ["weights", "units"])
@pytest.mark.parametrize("recalibrated", [True, False])
@pytest.mark.parametrize("curves", [True, False])
def test_nothing_removed_is_the_dense_score_without_a_band(kind, recalibrated, curves) -> None:
    band = _fit(kind=kind, recalibrated=recalibrated, curves=curves).band(_damage(0.0, curves=curves), n=500)
    assert (band.score, band.low, band.high) == (0.93, 0.93, 0.93)


@settings(deadline=None, max_examples=30)
@given(first=st.floats(0, 0.99), second=st.floats(0, 0.99), pairs=st.integers(0, 12), seed=st.integers(0, 5))
def test_more_removed_is_never_expected_to_be_better(first, second, pairs, seed) -> None:
    low, high = sorted((first, second))
    fitted = _fit(_measured(pairs, seed, 0.2))
    less, more = fitted.band(_damage(low), n=500), fitted.band(_damage(high), n=500)
    assert more.score <= less.score + 1e-12
    for band in (less, more):
        assert 0.0 <= band.low <= band.score <= band.high <= 1.0


def test_the_band_covers_what_it_promises_and_learning_narrows_it() -> None:
    inside, count, widths, errors = 0, 0, [], {"start": [], "learnt": []}
    start = _fit()
    for seed in range(8):
        fitted = _fit(_measured(14, seed, 0.15))
        assert fitted.learnt
        for item in _measured(18, 100 + seed, 0.15):
            band = fitted.band(item.damage, n=2000)
            score = SCALE.score(item.rest)
            inside, count = inside + band.contains(score), count + 1
            widths.append(band.high - band.low)
            errors["learnt"].append(abs(band.score - score))
            errors["start"].append(abs(start.band(item.damage, n=2000).score - score))
    assert inside / count >= 0.75
    assert np.median(errors["learnt"]) < 0.3 * np.median(errors["start"])
    assert np.median(widths) < 0.35


def test_before_enough_plans_the_default_stands_or_the_worst_error() -> None:
    assert LEAST_PAIRS == 4
    assert _fit().q == DEFAULT_Q
    assert not _fit(_measured(3, 0, 0.1)).learnt
    assert _fit(_measured(3, 0, 0.1)).q >= DEFAULT_Q
    wrong = [*_measured(2, 0, 0.1), Measured(_damage(0.2), 0.0, 500)]
    assert _fit(wrong).q > DEFAULT_Q
    assert _fit(_measured(9, 0, 0.05)).q < DEFAULT_Q


def test_odd_measurements_do_no_harm() -> None:
    odd = [Measured(_damage(0.0), 1.0, 500), Measured(_damage(0.5), math.nan, 500), Measured(_damage(0.6), 1.4, 0)]
    band = _fit([*odd, Measured(_damage(0.5, curves=False), 0.5, 100)]).band(_damage(0.5), n=0)
    assert all(math.isfinite(value) for value in (band.score, band.low, band.high))


def test_damage_names_what_it_does_not_know() -> None:
    found = damage_of({"layer1": 0.95, "new": 0.5, "layer2": 0.0}, {"layer1": 1.0}, share=0.4, curves=monotone(CURVES))
    assert (found.missing, found.beyond) == (("new",), ("layer1",))
    assert math.isfinite(found.energy)
    lost = damage_of(
        {"a": 0.5}, {"a": 0.2}, share=0.5, curves=monotone({"a": [{"sparsity": 0.5, "dloss": None}], "b": []})
    )
    assert lost.curves is not None
    assert lost.curves >= 10.0  # a loss that was not finite is worse than all that was measured
    assert removed_energy(np.array([1.0, 2.0, 2.0]), [1]) == pytest.approx(4 / 9)
    assert removed_energy(np.zeros(3), [0]) == removed_energy(np.ones(3), []) == 0.0


def _basis(**fields) -> Basis:
    layers = [{"kind": "Conv2d"}, {"kind": "BatchNorm2d"}] if fields.pop("normalised", True) else [{"kind": "Conv2d"}]
    dense = {"metric": "accuracy", "score": fields.pop("score", 0.93), "n": 500}
    return Basis.of({"layers": layers, "num_classes": 10}, dense, **fields)


def _effect(sparsity: float, *, recalibrated: bool = True) -> Effect:
    energies = dict.fromkeys(CURVES, sparsity**2)
    return Effect("weights", recalibrated, dict.fromkeys(CURVES, sparsity), energies, sparsity)


def _outcome(sparsity: float, score: float, **fields) -> Outcome:
    return _effect(sparsity, **fields).outcome(score=score, dense_score=0.93, n=500, estimated=None)


def test_without_curves_a_score_needs_measured_plans() -> None:
    assert _basis().estimate(_effect(0.5)) is None
    assert _basis(layers={"estimated": True, "layers": CURVES}).estimate(_effect(0.5)) is None
    two = [_outcome(0.5, 0.92), _outcome(0.8, 0.5)]
    assert _basis(outcomes=two).estimate(_effect(0.5)) is None
    three = _basis(outcomes=[*two, _outcome(0.6, 0.9)]).estimate(_effect(0.6))
    assert three is not None
    assert three.pairs == 3
    assert not three.curves
    assert "3 measured plans" in three.basis
    json.dumps(three.to_json(), allow_nan=False)


def test_a_model_at_chance_is_not_estimated() -> None:
    assert _basis(layers={"layers": CURVES}, score=0.1).estimate(_effect(0.5)) is None


def test_plans_with_and_without_recalibration_teach_apart_unless_there_is_no_batchnorm() -> None:
    outcomes = [_outcome(0.5, 0.9), _outcome(0.7, 0.7, recalibrated=False)]
    known = {"layers": {"layers": CURVES}, "outcomes": outcomes}
    assert _basis(**known).calibration("weights", True).pairs == 1
    assert _basis(**known, normalised=False).calibration("weights", True).pairs == 2
    assert _basis(**known).calibration("units", True).pairs == 0


def test_an_answer_takes_milliseconds() -> None:
    import time

    outcomes = [_outcome(0.3 + 0.01 * number, 0.9 - 0.01 * number) for number in range(60)]
    began = time.process_time()
    assert _basis(layers={"layers": CURVES}, outcomes=outcomes).estimate(_effect(0.6)) is not None
    assert time.process_time() - began < 0.1


def test_the_record_counts_estimates_that_were_made_before() -> None:
    fitted = _basis(layers={"layers": CURVES})
    said = fitted.estimate(_effect(0.6))
    assert said is not None
    held = _effect(0.6).outcome(score=said.band.score - 0.01, dense_score=0.93, n=500, estimated=said.band)
    missed = _effect(0.7).outcome(score=0.0, dense_score=0.93, n=500, estimated=said.band)
    empty = _effect(0.0).outcome(score=0.93, dense_score=0.93, n=500, estimated=said.band)
    record = track_record([held, missed, empty, _outcome(0.5, 0.9)])
    assert (record.count, record.inside) == (2, 1)
    assert "1 of 2 inside the band" in str(record.sentence)
    assert track_record([]).sentence is None
    assert "was off by 1.0 points, inside" in str(track_record([held]).sentence)


def test_outcomes_survive_json_and_strangers_are_refused() -> None:
    outcome = _outcome(0.5, 0.9)
    assert Outcome.from_json(json.loads(json.dumps(outcome.to_json()))) == outcome
    for body in (None, [], {}, {"kind": "weights"}, {**outcome.to_json(), "sparsities": 3}, {"score": "x"}):
        assert Outcome.from_json(body) is None


def test_bytes_follow_what_stays() -> None:
    sizes = {"dense_bytes": 4000, "sparse_bytes": 3700}
    assert dense_file(500, 1000, sizes) == 2000
    assert dense_file(500, 1000, {}) is sparse_file(500, 1000, {}) is None
