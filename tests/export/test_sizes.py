"""Sparse weight files: exact, smaller, and safe to read; sizes are those of real files."""

import json
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from core.errors import CheckpointError, ExportError
from core.export import sparse_file
from core.export.sizes import file_sizes, load_sparse, save_sparse
from core.export.sparse_file import RawTensor, encode, read_sparse, write_sparse
from core.models.traced import TracedModel
from core.pruning.masks import keep_pattern
from core.pruning.patterns import Pattern

from .conftest import sparsify

Network = Callable[[str], TracedModel]
RELAXED = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def _bits(tensor: torch.Tensor) -> bytes:
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


@pytest.mark.parametrize("sparsity", [0.0, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("name", ["tiny", "mobilenet_v3_small", "vit"])
def test_every_weight_comes_back_bit_for_bit(name: str, sparsity: float, network: Network, tmp_path: Path) -> None:
    model = sparsify(network(name), sparsity)
    size_bytes = save_sparse(model, tmp_path / "w.sparse")
    assert size_bytes == (tmp_path / "w.sparse").stat().st_size
    loaded, expected = load_sparse(tmp_path / "w.sparse"), model.state_dict()
    assert set(loaded) == set(expected)
    for key, tensor in expected.items():
        assert (loaded[key].dtype, loaded[key].shape) == (tensor.dtype, tensor.shape)
        assert _bits(loaded[key]) == _bits(tensor)


def test_special_numbers_and_every_type_come_back(tmp_path: Path) -> None:
    special = [0.0, -0.0, float("nan"), float("inf"), -float("inf"), 1e-45, 1.5, 0.0, 0.0]
    model = nn.Module()
    for dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16):
        model.register_buffer(f"of_{dtype}".replace(".", "_"), torch.tensor(special, dtype=dtype))
    for dtype in (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool):
        model.register_buffer(f"of_{dtype}".replace(".", "_"), torch.tensor([[0, 1], [0, 0]]).to(dtype))
    model.register_buffer("scalar", torch.tensor(3))
    model.register_buffer("empty", torch.zeros(0, 4))
    model.register_buffer("strided", torch.arange(12.0).view(3, 4).t())
    save_sparse(model, tmp_path / "w.sparse")
    loaded = load_sparse(tmp_path / "w.sparse")
    for key, tensor in model.state_dict().items():
        assert (loaded[key].dtype, loaded[key].shape) == (tensor.dtype, tensor.shape), key
        assert _bits(loaded[key]) == _bits(tensor), key


def test_complex_weights_are_refused(tmp_path: Path) -> None:
    model = nn.Module()
    model.register_buffer("z", torch.zeros(2, dtype=torch.complex64))
    with pytest.raises(ExportError, match="complex64"):
        save_sparse(model, tmp_path / "w.sparse")


@RELAXED
@given(
    size=st.integers(0, 3000),
    density=st.sampled_from([0.0, 0.001, 0.01, 0.1, 0.5, 0.97, 1.0]),
    dtype=st.sampled_from(sorted(sparse_file.DTYPE_BYTES)),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_pattern_round_trips(size: int, density: float, dtype: str, seed: int, tmp_path: Path) -> None:
    generator = np.random.default_rng(seed)
    words = generator.integers(1, 256, size).astype(f"<u{sparse_file.DTYPE_BYTES[dtype]}")
    words[generator.random(size) >= density] = 0
    tensor = RawTensor(dtype, (size,), words)
    write_sparse(tmp_path / "w", {"a": tensor})
    tensors, _ = read_sparse(tmp_path / "w")
    np.testing.assert_array_equal(tensors["a"].words, words)
    for encoding in ("dense", "bitmask", "gaps"):  # each of them, not only the one that won
        values = sparse_file._planes(words if encoding == "dense" else words[words != 0])
        places = {
            "dense": b"",
            "bitmask": np.packbits(words != 0).tobytes(),
            "gaps": sparse_file._gaps(np.flatnonzero(words)),
        }[encoding]
        kept = int(np.count_nonzero(words))
        again = sparse_file.decode(encoding, dtype, (size,), kept, memoryview(places + values))
        np.testing.assert_array_equal(again.words, words)


def test_each_encoding_wins_somewhere() -> None:
    generator = np.random.default_rng(0)
    wins = set()
    for density in (1.0, 0.3, 0.003):
        words = generator.integers(1, 2**32, 20_000, dtype=np.uint32)
        words[generator.random(20_000) >= density] = 0
        wins.add(encode(RawTensor("float32", (20_000,), words))[0])
    assert wins == {"dense", "bitmask", "gaps"}


def test_sizes_are_those_of_real_files_and_zeros_pay(network: Network, tmp_path: Path) -> None:
    dense = network("mobilenet_v3_small")
    rows = [file_sizes(sparsify(network("mobilenet_v3_small"), sparsity)) for sparsity in (0.0, 0.5, 0.8, 0.95)]
    save_file({key: value.contiguous() for key, value in dense.state_dict().items()}, tmp_path / "dense")
    parameters = sum(parameter.numel() for _, parameter in dense.named_parameters())
    for row in rows:
        assert row["dense_bytes"] == (tmp_path / "dense").stat().st_size  # zeros save nothing in a dense file
        assert row["parameters"] == parameters
    assert [row["nonzero"] for row in rows] == sorted((row["nonzero"] for row in rows), reverse=True)
    assert [row["sparse_bytes"] for row in rows] == sorted((row["sparse_bytes"] for row in rows), reverse=True)
    for row in rows:
        assert row["sparse_bytes"] < row["dense_zstd_bytes"] < row["dense_bytes"]
    # fp32 values of the kept weights alone, one bit per place, and a little
    kept = rows[2]["nonzero"]
    assert rows[2]["sparse_bytes"] < 4 * kept + parameters / 8 + 100_000


def test_shared_parameters_are_stored_and_counted_once(tmp_path: Path) -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(64, 64, bias=False)
            self.second = nn.Linear(64, 64, bias=False)
            self.second.weight = self.first.weight

    model = Tied()
    sizes = file_sizes(model)
    assert sizes["parameters"] == 64 * 64
    assert sizes["dense_bytes"] < 2 * 4 * 64 * 64
    save_sparse(model, tmp_path / "w")
    loaded = load_sparse(tmp_path / "w")
    assert torch.equal(loaded["second.weight"], model.first.weight)
    assert torch.equal(loaded["first.weight"], model.first.weight)


# -- files of strangers -----------------------------------------------------------------------------------------------


@pytest.fixture
def good(tiny: TracedModel, tmp_path: Path) -> Path:
    path = tmp_path / "good.sparse"
    save_sparse(sparsify(tiny, 0.7), path)
    return path


def test_truncated_and_flipped_files_are_refused_or_exact(good: Path, tmp_path: Path) -> None:
    content = good.read_bytes()
    expected = {key: _bits(value) for key, value in load_sparse(good).items()}
    bad = tmp_path / "bad.sparse"
    generator = np.random.default_rng(0)
    cuts = [content[:length] for length in (0, 1, 8, 11, 12, 13, 100, len(content) // 2, len(content) - 1)]
    flips = []
    for _ in range(300):
        flipped = bytearray(content)
        flipped[generator.integers(len(content))] ^= 1 << generator.integers(8)
        flips.append(bytes(flipped))
    refused = 0
    for damaged in [*cuts, *flips, content + b"x", b"PK\x03\x04" + content]:
        bad.write_bytes(damaged)
        try:
            loaded = load_sparse(bad)
        except CheckpointError:
            refused += 1
        else:  # a flip in a name or a shape that keeps its size: the numbers are still the right ones
            assert sorted(_bits(value) for value in loaded.values()) == sorted(expected.values())
    assert refused > len(cuts) + 250


def _forge(path: Path, *, tensors: object, payload: bytes = b"", frame: bytes | None = None, **more: object) -> Path:
    header = {"version": 1, "payload_bytes": len(payload), "tensors": tensors, "aliases": {}} | more
    text = json.dumps(header).encode()
    frame = zstandard.ZstdCompressor().compress(payload) if frame is None else frame
    path.write_bytes(sparse_file.MAGIC + struct.pack("<I", len(text)) + text + frame)
    return path


def _entry(**changes: object) -> dict[str, object]:
    whole = {"name": "a", "dtype": "float32", "shape": [2], "encoding": "dense", "nonzero": 2, "bytes": 8}
    return whole | changes


HOSTILE: dict[str, dict[str, object]] = {
    "terabytes of zeros": {"tensors": [_entry(shape=[2**40], encoding="gaps", nonzero=0, bytes=0)]},
    "overflowing shape": {"tensors": [_entry(shape=[2**47, 2**47, 2**47])]},
    "negative shape": {"tensors": [_entry(shape=[-2])], "payload": b"x" * 8},
    "fractional shape": {"tensors": [_entry(shape=[2.0])], "payload": b"x" * 8},
    "boolean shape": {"tensors": [_entry(shape=[True])], "payload": b"x" * 8},
    "too many dimensions": {"tensors": [_entry(shape=[1] * 50)], "payload": b"x" * 8},
    "unknown type": {"tensors": [_entry(dtype="object")], "payload": b"x" * 8},
    "unhashable type": {"tensors": [_entry(dtype=["float32"])], "payload": b"x" * 8},
    "unhashable encoding": {"tensors": [_entry(encoding=["dense"])], "payload": b"x" * 8},
    "unknown encoding": {"tensors": [_entry(encoding="pickle")], "payload": b"x" * 8},
    "wrong dense length": {"tensors": [_entry(bytes=4)], "payload": b"x" * 4},
    "more values than places": {"tensors": [_entry(encoding="bitmask", nonzero=3, bytes=13)], "payload": b"x" * 13},
    "mask past the end": {
        "tensors": [_entry(encoding="bitmask", nonzero=1, bytes=5)],
        "payload": b"\x01" + b"x" * 4,
    },
    "gap past the end": {"tensors": [_entry(encoding="gaps", nonzero=1, bytes=5)], "payload": b"\x02" + b"x" * 4},
    "counts that differ": {
        "tensors": [_entry(encoding="bitmask", nonzero=1, bytes=5)],
        "payload": b"\xc0" + b"x" * 4,
    },
    "missing values": {"tensors": [_entry(encoding="gaps", nonzero=2, bytes=1)], "payload": b"x"},
    "same name twice": {"tensors": [_entry(), _entry()], "payload": b"x" * 16},
    "no name": {"tensors": [_entry(name=7)], "payload": b"x" * 8},
    "not an object": {"tensors": ["a"]},
    "no list": {"tensors": {"a": 1}},
    "alias to nowhere": {"tensors": [_entry()], "payload": b"x" * 8, "aliases": {"b": "missing"}},
    "alias to a list": {"tensors": [_entry()], "payload": b"x" * 8, "aliases": {"b": ["a"]}},
    "alias over a tensor": {"tensors": [_entry()], "payload": b"x" * 8, "aliases": {"a": "a"}},
    "aliases as a list": {"tensors": [_entry()], "payload": b"x" * 8, "aliases": ["a"]},
    "payload of another length": {"tensors": [_entry()], "payload": b"x" * 9},
    "300,000 tensors": {"tensors": [0] * 300_000},
}


@pytest.mark.parametrize("what", list(HOSTILE))
def test_hostile_files_are_refused_in_words(what: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot be read as a sparse weights file"):
        load_sparse(_forge(tmp_path / "w", **HOSTILE[what]))  # type: ignore[arg-type]


def test_a_compression_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    bomb = zstandard.ZstdCompressor().compress(bytes(200_000_000))
    assert len(bomb) < 20_000
    path = _forge(tmp_path / "w", tensors=[_entry()], payload=b"x" * 8, frame=bomb)
    with pytest.raises(CheckpointError, match="another length"):
        load_sparse(path)
    honest = [_entry(shape=[50_000_000], nonzero=50_000_000, bytes=200_000_000)]
    path = _forge(tmp_path / "w", tensors=honest, frame=bomb, payload_bytes=200_000_000)
    with pytest.raises(CheckpointError, match="more than the allowed"):
        load_sparse(path, max_bytes=1_000_000)


def test_a_newer_version_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="version 2"):
        load_sparse(_forge(tmp_path / "w", tensors=[], version=2))


def test_deeply_nested_and_endless_headers(tmp_path: Path) -> None:
    path = tmp_path / "w"
    text = b"[" * 200_000
    path.write_bytes(sparse_file.MAGIC + struct.pack("<I", len(text)) + text)
    with pytest.raises(CheckpointError, match="not JSON"):
        load_sparse(path)
    path.write_bytes(sparse_file.MAGIC + struct.pack("<I", 2**32 - 1) + b"{}")
    with pytest.raises(CheckpointError, match="longer than the file"):
        load_sparse(path)


def test_patterned_layers_are_counted_as_tensor_cores_hold_them():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 1, bias=False), nn.Flatten(), nn.Linear(8, 4))
    plain = file_sizes(model)
    assert (plain["pattern_layers"], plain["pattern_bytes"]) == (0, plain["dense_bytes"])
    with torch.no_grad():
        for layer in (model[1], model[3]):
            weight = layer.weight
            weight.masked_fill_(~keep_pattern(weight.abs(), Pattern(2, 4)), 0.0)
    sizes = file_sizes(model)
    assert sizes["pattern_layers"] == 2
    # half of 64 + 32 values of 4 bytes go, and every kept one has an index of 2 bits
    assert sizes["dense_bytes"] - sizes["pattern_bytes"] == (64 + 32) * 4 // 2 - (64 + 32) // 2 * 2 // 8
    with torch.no_grad():
        model[3].weight[0] = 1.0
    assert file_sizes(model)["pattern_layers"] == 1
