"""Why one variant is faster: parts add up, equal networks differ by nothing, and the sentence says no more."""

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import core
from core.analysis import why_faster as measuring
from core.analysis.speed_difference import LayerDifference, SpeedDifference
from core.errors import MeasurementError
from core.models.capture import trace
from core.models.traced import TracedModel

MS = st.floats(0.0, 50.0)


def layer(name: str, before_ms: float, after_ms: float, *, shapes=((16, 8), (16, 8)), zeros: float = 0.0):
    return LayerDifference(name, name.partition(".")[0], *shapes, 128, 128, 0.0, zeros, before_ms, after_ms)


def difference(layers, before_ms: float, after_ms: float, verdict: str = "faster") -> SpeedDifference:
    return SpeedDifference("onnxruntime", 1, before_ms, after_ms, 1.0, 1.0, 1.0, verdict, tuple(layers))


@given(st.lists(st.tuples(MS, MS), max_size=12), MS, MS)
def test_the_parts_add_up_to_the_difference(times, before_ms: float, after_ms: float):
    found = difference([layer(f"s{i // 3}.l{i}", a, b) for i, (a, b) in enumerate(times)], before_ms, after_ms)
    scale = before_ms + after_ms + sum(a + b for a, b in times) + 1e-9
    assert sum(found.stages().values()) + found.rest_ms == pytest.approx(before_ms - after_ms, abs=1e-9 * scale)
    shares = found.shares()
    assert bool(shares) == (abs(before_ms - after_ms) >= 1e-9)
    if shares:
        own = scale / abs(before_ms - after_ms)
        assert sum(shares.values()) == pytest.approx(1.0, abs=1e-9 * own)
    assert SpeedDifference.from_json(json.loads(json.dumps(found.to_json()))) == found
    for verdict in ("faster", "slower", "no difference shown", "the same"):
        said = difference(found.layers, before_ms, after_ms, verdict).sentence("A", "B")
        assert "nan" not in said
        assert said.endswith(".")


@given(st.lists(MS, min_size=1, max_size=8), MS)
def test_a_variant_beside_itself_differs_by_nothing(times, whole: float):
    found = difference([layer(f"l{i}", ms, ms) for i, ms in enumerate(times)], whole, whole, "the same")
    assert found.saved_ms == found.layers_ms == found.rest_ms == 0.0
    assert found.shares() == {}
    assert found.most() == ()


def test_the_few_layers_that_make_most_of_it_come_first():
    found = difference([layer("a", 1.0, 0.9), layer("b", 5.0, 1.0), layer("c", 2.0, 2.5)], 8.0, 4.4)
    assert [one.name for one in found.most()] == ["b"]
    said = found.sentence("dense", "B")
    assert "3.60 ms less" in said
    assert "4.00 ms in b" in said  # more than the whole: shares would mislead
    assert "1 of 3 layers make most of it" in said


def test_shares_are_told_where_they_do_not_mislead():
    found = difference([layer("stage2.a", 3.0, 1.5), layer("stage1.a", 1.0, 0.9)], 5.0, 3.1)
    said = found.sentence("dense", "B")
    assert "79 % of that in stage2" in said
    assert "in no single layer" not in said
    assert "in no single layer" in difference(found.layers, 5.0, 2.0).sentence("dense", "B")


def test_zeros_do_not_make_it_faster():
    said = difference([layer("a", 1.0, 1.0, zeros=0.9)], 1.0, 1.0, "no difference shown").sentence("dense", "B")
    assert "zeros alone do not make it faster" in said


def test_a_measurement_that_tells_nothing_says_so():
    vague = SpeedDifference(
        "onnxruntime",
        1,
        1.2,
        1.0,
        1.8,
        0.6,
        5.3,
        "no difference shown",
        (layer("a", 1.0, 0.5, shapes=((8, 8), (4, 8))),),
    )
    assert "between 0.60 and 5.30, too wide to tell" in vague.sentence("dense", "B")


def test_channels_off_the_blocks_are_named():
    odd = layer("block.conv", 0.030, 0.034, shapes=((32, 32, 3, 3), (31, 31, 3, 3)))
    said = difference([odd], 1.0, 1.1, "slower").sentence("dense", "B")
    assert "0.10 ms more" in said
    assert "block.conv keeps 31 × 31 channels" in said
    assert "multiples of 8" in said


@pytest.mark.parametrize("body", [{}, {"version": 2}, {"version": 1, "layers": [{}]}, {"version": 1, "layers": 3}])
def test_what_is_no_stored_difference_is_refused(body):
    with pytest.raises(MeasurementError, match="measure them again"):
        SpeedDifference.from_json(body)


def _small(width: int) -> TracedModel:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, width, 3), nn.ReLU(), nn.Flatten(), nn.Linear(width * 16, 4))
    return trace(net.eval(), (3, 6, 6))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "_PAIRS", (2, 2))
    asked = measuring.LatencySettings
    monkeypatch.setattr(measuring, "LatencySettings", lambda **more: asked(**more, pairs=6, warmup=0, max_seconds=1))


def test_equal_networks_are_timed_once(quick: None):
    model = _small(8)
    found = core.why_faster(model, _small(8))
    assert found.verdict == "the same"
    assert found.saved_ms == found.rest_ms == found.layers_ms == 0.0
    assert {one.name for one in found.layers} == {"0", "3"}
    assert all(one.before_ms > 0 for one in found.layers)
    assert found.before_ms > 0


def test_smaller_and_sparser_layers_are_told_apart(quick: None):
    before, after = _small(16), _small(8)
    with torch.no_grad():
        after.graph_module.get_submodule("0").weight[:4] = 0
    found = core.why_faster(before, after)
    one = found.layers[0]
    assert (one.before_shape, one.after_shape) == ((16, 3, 3, 3), (8, 3, 3, 3))
    assert one.before_macs == 2 * one.after_macs
    assert one.smaller
    assert one.after_zeros == 0.5
    assert sum(found.shares().values()) == pytest.approx(1.0)


def test_an_unknown_runtime_is_named():
    with pytest.raises(MeasurementError, match="known are onnxruntime"):
        core.why_faster(_small(8), _small(8), runtime="abacus")
