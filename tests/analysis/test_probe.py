"""“Will it be faster here?”: honest answers within the time, from any layer, in every runtime that is there."""

import json
import time
from pathlib import Path

import numpy as np
import pytest

from core.analysis import probe as module
from core.analysis.layer_model import input_shape, random_weight, with_weight
from core.analysis.medians import median_interval
from core.analysis.probe import CANDIDATES, ProbeLayer, ProbeSettings, probe, probe_key, sentence_of
from core.analysis.probe_cache import ProbeCache
from core.analysis.runtimes import LATENCY_RUNTIMES
from core.comb.geometry import LayerGeometry
from core.errors import MeasurementError, PlanError

from ..patience import patient

CONV = LayerGeometry("convolution", (64, 64, 3, 3), (28, 28), (1, 1), (1, 1), (1, 1))
EVERY = {
    "convolution": CONV,
    "one dimension": LayerGeometry("convolution", (16, 8, 3), (40,), (2,), (1,), (1,)),
    "depthwise": LayerGeometry("convolution", (32, 1, 3, 3), (14, 14), (1, 1), (1, 1), (1, 1), groups=32),
    "grouped": LayerGeometry("convolution", (32, 8, 3, 3), (14, 14), (2, 2), (1, 1), (2, 2), groups=4),
    "transposed": LayerGeometry("transposed", (16, 8, 4, 4), (7, 7), (2, 2), (1, 1), (1, 1)),
    "linear": LayerGeometry("linear", (48, 64), (197,)),
}
AVAILABLE = [name for name in LATENCY_RUNTIMES if LATENCY_RUNTIMES[name]().unavailable() is None]


def layer(geometry: LayerGeometry = CONV, *, name: str = "conv", sparsity: float = 0.75, calls: int = 1) -> ProbeLayer:
    kept = (max(1, geometry.weight[0] // 2), *geometry.weight[1:])
    return ProbeLayer(name, geometry, kept, sparsity, macs=calls)


@pytest.mark.parametrize("runtime", AVAILABLE)
@pytest.mark.parametrize("kind", EVERY)
def test_every_runtime_computes_the_layer(runtime: str, kind: str) -> None:
    """The runtimes agree: what is timed is the layer, not something that looks like it."""
    geometry, answers = EVERY[kind], []
    weight = random_weight(geometry)
    for name in ("torch", runtime):
        run = LATENCY_RUNTIMES[name]().open_layer(geometry, weight, threads=1)
        found = run()
        answers.append(np.asarray(found[0] if isinstance(found, list) else found))
    assert answers[0].shape == answers[1].shape
    assert input_shape(geometry)[0] in (1, 197)
    np.testing.assert_array_equal(answers[0], answers[1])  # no input, no bias: zeros, of the right shape


def test_zeros_are_where_they_should_be() -> None:
    weights = module._weights(layer(sparsity=0.6), seed=3)
    assert set(weights) == {"dense", *CANDIDATES}
    assert np.count_nonzero(weights["dense"][1]) == weights["dense"][1].size
    assert np.count_nonzero(weights["zeros"][1] == 0) == round(0.6 * weights["zeros"][1].size)
    blocks = np.moveaxis(weights["pattern"][1], 1, -1).reshape(-1, 4)
    assert (np.count_nonzero(blocks, axis=1) == 2).all()
    assert weights["channels"][1].shape == (32, 64, 3, 3)
    kept = weights["pattern"][1] != 0
    assert (weights["pattern"][1][kept] == weights["dense"][1][kept]).all()


@pytest.mark.parametrize("kind", ["depthwise", "transposed"])
def test_layers_that_cannot_have_the_pattern(kind: str) -> None:
    assert "pattern" not in module._weights(layer(EVERY[kind]), seed=0)
    result = probe([layer(EVERY[kind])], settings=ProbeSettings(runtimes=("onnxruntime",), budget_s=0.05))
    assert {row["candidate"] for row in result["rows"]} == {"channels", "zeros"}
    assert any("2:4" in problem for problem in result["problems"])


def test_the_answer_is_complete_and_in_time() -> None:
    layers = [layer(name="a"), layer(EVERY["linear"], name="b"), layer(EVERY["depthwise"], name="c")]
    probe(layers, settings=ProbeSettings(budget_s=0.01))  # loading libraries is not measuring
    started = time.perf_counter()
    result = probe(layers, settings=ProbeSettings(budget_s=1.0), work=6)
    assert time.perf_counter() - started < patient(6)
    json.dumps(result)
    assert {row["runtime"] for row in result["rows"]} == set(AVAILABLE)
    for row in result["rows"]:
        assert row["low"] <= row["ratio"] <= row["high"]
        assert row["noise_low"] <= row["noise_high"]
        assert row["rounds"] >= 3
        assert row["dense_ms"] > 0
    assert result["sentence"].startswith("On this machine, in ONNX Runtime, ")
    assert "zeros" in result["sentence"]
    assert "removing whole channels" in result["sentence"]
    assert result["seconds"] > 0
    assert result["work_share"] == len(result["rows"][0]["layers"]) / 6
    missing = set(LATENCY_RUNTIMES) - set(AVAILABLE)
    assert len([p for p in result["problems"] if "not installed" in p]) == len(missing)


def test_ratios_are_those_of_the_sums_round_by_round(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(0)
    worth = {"dense": 4.0, "channels": 1.0, "zeros": 4.0, "pattern": 4.0}
    timed = []
    mood = draw.lognormal(0.0, 1.0, 12)
    for calls in (1, 3):
        part = module._Timed(dict.fromkeys(worth, lambda: None), calls)
        part.seconds = {"before": list(4.0 * calls * mood), "after": list(4.0 * calls * mood)}
        part.seconds |= {name: list(value * calls * mood) for name, value in worth.items() if name != "dense"}
        timed.append(part)
    rows = {row["candidate"]: row for row in module._rows("onnxruntime", timed, ["a", "b"])}
    assert rows["channels"]["ratio"] == pytest.approx(4.0)
    assert (rows["channels"]["low"], rows["channels"]["high"]) == pytest.approx((4.0, 4.0))
    assert rows["channels"]["verdict"] == "faster"
    assert rows["zeros"]["verdict"] == "no difference shown"
    assert rows["zeros"]["dense_ms"] == pytest.approx(16e3 * median_interval(mood)[0])
    assert sentence_of(list(rows.values()), changed=True) == (
        "On this machine, in ONNX Runtime, zeros do not make the largest layers faster: 1.00× [1.00–1.00]; "
        "removing whole channels would: 4.00× [4.00–4.00]."
    )
    assert "channels" not in sentence_of(list(rows.values()), changed=False)


@pytest.mark.parametrize(
    ("zeros", "channels", "words"),
    [
        (("faster", 1.3), ("faster", 2.1), "zeros make the largest layers faster: 1.30× [1.20–1.30]"),
        (("slower", 0.8), ("slower", 0.9), "removing whole channels would make them slower: 0.90×"),
        (("no difference shown", 1.05), ("no difference shown", 1.05), "removing whole channels would not, either"),
        (("no difference shown", 9.0), ("no difference shown", 9.0), "it cannot be told whether zeros"),
    ],
)
def test_the_sentence_claims_no_more_than_the_intervals(zeros, channels, words) -> None:
    rows = [
        {
            "runtime": "onnxruntime",
            "candidate": name,
            "ratio": high,
            "low": high - 0.1,
            "high": high,
            "verdict": verdict,
        }
        for name, (verdict, high) in (("zeros", zeros), ("channels", channels))
    ]
    assert words in sentence_of(rows, changed=True)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"runtimes": ["abacus"]}, "unknown runtime"),
        ({"runtimes": []}, "runtimes"),
        ({"threads": 0}, "threads"),
        ({"budget_s": float("nan")}, "budget_s"),
        ({"budget_s": 1e9}, "budget_s"),
    ],
)
def test_bad_settings_are_named(body: dict, words: str) -> None:
    with pytest.raises(PlanError, match=words):
        ProbeSettings.parse(body)


def test_nothing_to_probe_and_no_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MeasurementError, match="no layer"):
        probe([])
    runtime = LATENCY_RUNTIMES["openvino"]
    monkeypatch.setattr(runtime, "unavailable", lambda self: "OpenVINO is not installed.")
    with pytest.raises(MeasurementError, match=r"No layer could be timed. OpenVINO is not installed."):
        probe([layer()], settings=ProbeSettings(runtimes=("openvino",)))


def test_the_cache_forgets_what_was_busy_and_survives_damage(tmp_path: Path) -> None:
    cache = ProbeCache(tmp_path / "deep" / "probes.json")
    assert cache.get("a") is None
    cache.put({"key": "a", "rows": [1]})
    cache.put({"key": "b", "rows": [2], "busy": True})
    assert cache.get("a") == {"key": "a", "rows": [1]}
    assert cache.get("b") is None
    for damage in ("", "[", "[1]", '{"a": 3}'):
        cache.path.write_text(damage)
        assert cache.get("a") is None
    cache.put({"key": "c", "rows": []})
    assert cache.get("c") is not None
    ProbeCache(tmp_path / "deep" / "probes.json" / "no folder").put({"key": "d", "rows": []})


def test_the_key_names_layers_and_settings() -> None:
    key = probe_key([layer()], ProbeSettings())
    assert key == probe_key([layer()], ProbeSettings())
    assert key != probe_key([layer(sparsity=0.5)], ProbeSettings())
    assert key != probe_key([layer()], ProbeSettings(threads=2))


def test_channels_of_grouped_layers_stay_whole() -> None:
    assert with_weight(EVERY["depthwise"], (20, 1, 3, 3)).groups == 20
    assert with_weight(EVERY["grouped"], (30, 8, 3, 3)).weight == (32, 8, 3, 3)
