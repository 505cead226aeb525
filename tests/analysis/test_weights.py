"""Weight statistics: consistent with each other and with the weights."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.analysis.weights import (
    EXACT_AT_MOST,
    LayerWeights,
    layer_weights,
    load_weight_statistics,
    save_weight_statistics,
    weight_statistics,
)
from core.errors import StoreError


def weights_of(kind: str, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    if kind == "small":
        return generator.normal(0, 0.1, (16, 3, 3, 3)).astype(np.float32)
    if kind == "large":
        return generator.normal(0, 0.1, (64, 32, 3, 3)).astype(np.float32)
    if kind == "half zeros":
        weights = generator.normal(0, 0.1, (64, 32, 3, 3)).astype(np.float32)
        return weights * (generator.random(weights.shape) < 0.5)
    if kind == "constant":
        return np.full((32, 200), 0.25, np.float32)
    return np.zeros((8, 700), np.float32)


KINDS = ["small", "large", "half zeros", "constant", "zeros"]


@pytest.mark.parametrize("kind", KINDS)
def test_shares_are_those_of_the_weights(kind: str) -> None:
    weight = weights_of(kind)
    layer = layer_weights("layer", weight)
    tolerance = 0 if layer.exact else 1 / 1024
    for threshold in (0.0, 0.01, 0.05, 0.1, 0.2, 0.25, 0.5, 10.0):
        assert layer.fraction_below(threshold) == pytest.approx((np.abs(weight) <= threshold).mean(), abs=tolerance)
    assert layer.fraction_below(-1.0) == 0
    assert layer.fraction_below(float(np.abs(weight).max())) == 1


@pytest.mark.parametrize("kind", KINDS)
@given(sparsity=st.floats(0, 1))
def test_cut_line_and_sparsity_are_one(kind: str, sparsity: float) -> None:
    layer = STATISTICS[kind]
    threshold = layer.threshold_for(sparsity)
    assert layer.fraction_below(threshold) >= sparsity - 1e-6
    if layer.exact and threshold > 0:
        below = np.nextafter(np.float32(threshold), np.float32(0))
        assert layer.fraction_below(float(below)) < sparsity


STATISTICS = {kind: layer_weights(kind, weights_of(kind)) for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
@given(low=st.floats(0, 0.6), more=st.floats(0, 0.6))
def test_shares_and_channels_grow_with_the_threshold(kind: str, low: float, more: float) -> None:
    layer = STATISTICS[kind]
    assert layer.fraction_below(low) <= layer.fraction_below(low + more)
    assert layer.channels_below(low) <= layer.channels_below(low + more)
    # A channel that falls whole takes all its weights along.
    share = layer.channels_below(low) / layer.shape[0]
    assert layer.fraction_below(low) >= share - 1 / 1024


@pytest.mark.parametrize("kind", KINDS)
def test_moments_histogram_and_norms(kind: str) -> None:
    weight = weights_of(kind)
    layer = STATISTICS[kind]
    assert layer.size == weight.size
    assert layer.shape == weight.shape
    assert layer.mean == pytest.approx(weight.mean(dtype=np.float64), abs=1e-7)
    assert layer.std == pytest.approx(weight.std(dtype=np.float64), abs=1e-7)
    assert layer.zeros == (weight == 0).sum()
    assert layer.counts.sum() == weight.size
    assert (len(layer.counts), len(layer.edges)) == (201, 202)
    assert np.allclose(layer.edges, -layer.edges[::-1])
    rows = np.abs(weight.reshape(len(weight), -1))
    assert np.allclose(layer.channel_norms["l1_mean"], rows.mean(1), atol=1e-6)
    assert np.allclose(layer.channel_norms["l2"], np.linalg.norm(rows, axis=1), rtol=1e-5)
    assert np.array_equal(layer.channel_norms["max"], rows.max(1))
    assert len(layer.quantiles) == (weight.size if weight.size <= EXACT_AT_MOST else 1025)
    assert np.all(np.diff(layer.quantiles) >= 0)


@pytest.mark.parametrize("kind", ["small", "large"])
def test_nonfinite_weights_are_counted_and_left_out(kind: str) -> None:
    weight = weights_of(kind)
    broken = weight.copy()
    broken[0, 0, 0] = np.nan
    broken[1, 0, 0, 0] = np.inf
    layer = layer_weights("layer", broken)
    assert layer.nonfinite == 4
    finite = broken[np.isfinite(broken)]
    assert layer.mean == pytest.approx(finite.mean(dtype=np.float64), abs=1e-7)
    assert layer.fraction_below(0.1) == pytest.approx((np.abs(finite) <= 0.1).mean(), abs=1 / 1024)
    assert np.isfinite([layer.channel_l1_mean, layer.channel_l2, layer.channel_max]).all()


def test_a_layer_of_nothing_finite_is_survived() -> None:
    layer = layer_weights("layer", np.full((4, 3), np.nan, np.float32))
    assert (layer.nonfinite, layer.finite, layer.mean, layer.fraction_below(1.0), layer.threshold_for(0.5)) == (
        12, 0, 0.0, 0.0, 0.0,
    )  # fmt: skip


def test_files_round_trip(tmp_path: Path) -> None:
    save_weight_statistics(STATISTICS, tmp_path / "weights.npz")
    loaded = load_weight_statistics(tmp_path / "weights.npz")
    assert list(loaded) == KINDS
    for name, layer in STATISTICS.items():
        for field in LayerWeights.__dataclass_fields__:
            assert np.array_equal(getattr(loaded[name], field), getattr(layer, field)), field


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04broken"])
def test_damaged_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "weights.npz").write_bytes(content)
    with pytest.raises(StoreError, match=r"weights\.npz cannot be read"):
        load_weight_statistics(tmp_path / "weights.npz")


def test_pickled_arrays_are_refused(tmp_path: Path) -> None:
    index = np.frombuffer(json.dumps([]).encode(), np.uint8).astype(object)
    with (tmp_path / "weights.npz").open("wb") as file:
        np.savez(file, index=index)
    with pytest.raises(StoreError, match="cannot be read"):
        load_weight_statistics(tmp_path / "weights.npz")


def test_loading_needs_no_torch() -> None:
    code = (
        "import sys, core.analysis.weights, core.analysis.statistics, core.analysis.evaluation;"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_statistics_of_a_model_name_its_prunable_layers() -> None:
    from core.models.opening import open_model

    model = open_model("resnet20", weights="random")
    statistics = weight_statistics(model)
    assert list(statistics) == list(model.prunable())
    assert statistics["conv1"].shape == (16, 3, 3, 3)
    assert sum(layer.size for layer in statistics.values()) == sum(
        module.get_parameter("weight").numel() for module in model.prunable().values()
    )
