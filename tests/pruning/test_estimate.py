"""Instant estimates: exact where they can be, honest about the rest, and fast."""

import json
import time
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import PlanError
from core.pruning.allocation import ALLOCATIONS
from core.pruning.estimate import (
    LEVELS,
    energy_removed,
    estimate_weights_only,
    preview,
    weights_only_sensitivity,
)
from core.pruning.plan import Plan


def _statistics(layers, seed=0):
    """Stand-ins for LayerWeights: normal weights of the given shapes."""
    rng, found = np.random.default_rng(seed), {}
    for name, shape in layers.items():
        size = int(np.prod(shape))
        magnitudes = np.sort(np.abs(rng.normal(scale=0.02 + 0.01 * (len(found) % 5), size=min(size, 20_000))))
        table = magnitudes if size <= 4096 else np.quantile(magnitudes, np.linspace(0, 1, 1025))
        found[name] = SimpleNamespace(name=name, shape=shape, size=size, quantiles=table)
    return found


def _description(statistics):
    layers = [{"name": n, "kind": "Conv2d", "macs": s.size * 64, "parameters": s.size} for n, s in statistics.items()]
    total = sum(s.size for s in statistics.values())
    return {"layers": layers, "parameters": total + 1000, "macs": total * 64 + 77}


def _measured(names, *, slope=0.5):
    layers = {}
    for index, name in enumerate(names):
        scale = slope / (1 + index)
        layers[name] = [
            {"sparsity": s, "loss": 0.3 + scale * s**3, "score": 0.9 - 0.2 * scale * s**3, "low": 0.88, "high": 0.92}
            | {"n": 500, "dloss": scale * s**3, "dloss_se": 0.01 * s}
            for s in LEVELS
        ]
    dense = {"loss": 0.3, "score": 0.9, "low": 0.87, "high": 0.93, "n": 500}
    return {"dense": dense, "metric": "accuracy", "n": 500, "layers": layers, "complete": True}


def _resnet50():
    layers, width_in = {"conv1": (64, 3, 7, 7)}, 64
    for stage, (blocks, width) in enumerate(((3, 64), (4, 128), (6, 256), (3, 512))):
        for block in range(blocks):
            for part, shape in enumerate(
                ((width, width_in, 1, 1), (width, width, 3, 3), (4 * width, width, 1, 1)), start=1
            ):
                layers[f"layer{stage + 1}.{block}.conv{part}"] = shape
            if block == 0:
                layers[f"layer{stage + 1}.{block}.downsample.0"] = (4 * width, width_in, 1, 1)
            width_in = 4 * width
    return layers | {"fc": (1000, 2048)}


@given(size=st.integers(2, 400), sparsity=st.floats(0, 1), seed=st.integers(0, 99))
def test_energy_removed_is_a_share_and_grows(size, sparsity, seed):
    table = np.sort(np.abs(np.random.default_rng(seed).normal(size=size)))
    assert 0.0 <= energy_removed(table, sparsity) <= 1.0
    assert energy_removed(table, sparsity) <= energy_removed(table, min(1.0, sparsity + 0.1)) + 1e-12
    assert energy_removed(table, 1.0) == pytest.approx(1.0)


def test_energy_removed_matches_the_weights():
    weights = np.sort(np.abs(np.random.default_rng(0).normal(size=100_000)))
    table = np.quantile(weights, np.linspace(0, 1, 1025))
    for sparsity in (0.3, 0.6, 0.9):
        exact = np.sum(weights[: round(sparsity * len(weights))] ** 2) / np.sum(weights**2)
        assert energy_removed(table, sparsity) == pytest.approx(exact, abs=0.002)


def test_energy_of_zero_constant_and_single_weight_layers():
    assert energy_removed(np.zeros(9), 0.5) == 0.0
    assert energy_removed(np.full(9, 0.3), 0.5) == pytest.approx(0.5)
    assert energy_removed(np.array([2.0]), 0.5) == 0.0


def test_weights_only_sensitivity_has_the_measured_shape_and_says_what_it_is():
    body = weights_only_sensitivity(_statistics({"a": (8, 4, 3, 3), "b": (100, 90)}))
    json.dumps(body, allow_nan=False)
    assert body["estimated"] is True
    assert body["basis"] == "weights only"
    assert [p["sparsity"] for p in body["layers"]["a"]] == list(LEVELS)
    assert set(body["layers"]["a"][0]) >= set(_measured(["a"])["layers"]["a"][0])
    energies = [p["dloss"] for p in body["layers"]["b"]]
    assert energies == sorted(energies)


def test_weights_only_estimate_is_the_energy_of_each_layer():
    weights = estimate_weights_only(_statistics({"a": (8, 4, 3, 3)}), {"a": 0.5})
    assert weights["energy_removed"] == pytest.approx(weights["layers"]["a"])


@pytest.mark.parametrize("allocation", list(ALLOCATIONS))
@pytest.mark.parametrize("criterion", ["magnitude", "wanda", "random"])
def test_preview_adds_up(allocation, criterion):
    statistics = _statistics({"stem": (16, 3, 3, 3), "conv": (64, 16, 3, 3), "head": (10, 64)})
    plan = Plan(allocation=allocation, criterion=criterion, sparsity=0.7, protected=("stem",), overrides={"head": 0.3})
    body = preview(plan, statistics, _description(statistics), _measured(statistics))
    json.dumps(body, allow_nan=False)
    rows = {row["name"]: row for row in body["layers"]}
    assert rows["stem"]["removed"] == 0
    assert rows["head"]["removed"] == round(0.3 * 640)
    assert rows["conv"]["removed"] == round(0.7 * 9216)
    assert all(row["removed"] + row["nonzero"] == row["size"] for row in rows.values())
    totals = body["totals"]
    assert totals["removed"] == sum(row["removed"] for row in rows.values())
    assert totals["nonzero_parameters"] == totals["parameters"] - totals["removed"]
    assert totals["macs_if_zeros_skipped"] < totals["macs"]
    assert bool(body["notes"]) == (criterion == "wanda" and allocation in ("global", "lamp"))
    assert body["estimate"]["estimated"] is True


def test_preview_without_curves_rests_on_the_weights_or_asks_to_measure():
    statistics = _statistics({"conv": (64, 16, 3, 3)})
    body = preview(Plan(), statistics, _description(statistics))
    assert body["estimate"]["basis"] == "weights only"
    with pytest.raises(PlanError, match="easure sensitivity first"):
        preview(Plan(allocation="sensitivity"), statistics, _description(statistics), None)


@pytest.mark.parametrize("allocation", list(ALLOCATIONS))
def test_preview_of_resnet50_takes_below_100_ms(allocation):
    statistics = _statistics(_resnet50())
    description, sensitivity = _description(statistics), _measured(statistics)
    times = []
    for _ in range(3):
        start = time.process_time()
        preview(Plan(allocation=allocation, sparsity=0.8), statistics, description, sensitivity)
        times.append(time.process_time() - start)
    print(allocation, min(times))
    assert min(times) < 0.1


@pytest.mark.parametrize("allocation", ["uniform", "global", "erk", "lamp"])
def test_preview_survives_layers_without_finite_weights_and_of_one_weight(allocation):
    statistics = _statistics({"conv": (8, 4, 3, 3), "one": (1, 1), "broken": (10, 10)})
    statistics["broken"].quantiles = np.array([])
    statistics["partly"] = SimpleNamespace(name="partly", shape=(10, 10), size=100, quantiles=np.array([0.5]))
    body = preview(Plan(allocation=allocation, sparsity=0.5), statistics, _description(statistics))
    json.dumps(body, allow_nan=False)
    assert body["totals"]["removed"] == round(0.5 * body["totals"]["size"])
