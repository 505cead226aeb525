"""The reader without an unpickler gives what ``torch.load`` gives, bit for bit, for whatever an honest file holds."""

import argparse
import itertools
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from core.errors import CheckpointError
from core.models.checkpoint_reader import rewrite
from core.models.checkpoints import Checkpoint, load_checkpoint, state_of

DTYPES = [
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2,
    torch.complex64, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.uint16, torch.uint32,
    torch.uint64, torch.bool,
]  # fmt: skip
NEWEST = {torch.float8_e4m3fn, torch.float8_e5m2, torch.uint16, torch.uint32, torch.uint64}


def read_here(path: Path, folder: Path) -> Checkpoint:
    folder.mkdir(exist_ok=True)
    return state_of(rewrite(path, folder), path.name)


def same_bits(a: Tensor, b: Tensor) -> bool:
    plain = [t.detach().contiguous().reshape(-1).view(torch.uint8) if t.numel() else t for t in (a, b)]
    return a.dtype == b.dtype and a.shape == b.shape and torch.equal(*plain)


def check(content: dict[str, Any], tmp_path: Path) -> Checkpoint:
    """Saved in both of PyTorch's formats, read by us and by torch."""
    # torch cannot read its newest types from its oldest format.
    is_plain = all(tensor.dtype not in NEWEST for tensor in content.values())
    for is_new in (False, True) if is_plain else (True,):
        path = tmp_path / f"weights{is_new}.pt"
        torch.save(content, path, _use_new_zipfile_serialization=is_new)
        wanted = torch.load(path, weights_only=True)
        read = read_here(path, tmp_path / f"out{is_new}")
        assert list(read.state) == list(wanted)
        for name, tensor in wanted.items():
            assert same_bits(read.state[name], tensor), (name, is_new)
    return read


@pytest.mark.parametrize("name", ["resnet20-12fca82f", "resnet32-d509ac18", "resnet56-4bfd9763"])
def test_real_checkpoints_are_read_as_torch_reads_them(name: str, shared_data: Path) -> None:
    path = shared_data / "checkpoints" / f"{name}.th"
    wanted = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    read = load_checkpoint(path)
    assert list(read.state) == [key.removeprefix("module.") for key in wanted]
    for key, tensor in wanted.items():
        assert same_bits(read.state[key.removeprefix("module.")], tensor)


@pytest.mark.row("B19")
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_type_keeps_its_bits(dtype: torch.dtype, tmp_path: Path) -> None:
    bits = torch.arange(240, dtype=torch.uint8)
    tensor = (bits % 2).bool() if dtype == torch.bool else bits.view(dtype)
    content = {
        "all": tensor,
        "some": tensor[1:3],
        "one": tensor[0],
        "none": tensor[:0],
        "matrix": tensor[:6].view(2, 3),
    }
    check(content, tmp_path)


def test_every_way_to_lie_in_memory(tmp_path: Path) -> None:
    whole = torch.arange(2 * 3 * 4 * 5, dtype=torch.float32).view(2, 3, 4, 5)
    content = {
        "channels last": whole.contiguous(memory_format=torch.channels_last),
        "transposed": whole[0, 0].t(),
        "sliced": whole[:, 1:, ::2, 3:],
        "diagonal": whole[0, 0].diagonal(),
        "offset": whole.view(-1)[7:19],
        "expanded twice": whole.view(-1)[:8].view(1, 8).expand(1, 8),
        "tied": whole,
        "tied, too": whole,
        "parameter": nn.Parameter(whole[0]),
        "buffer": nn.Buffer(whole[1]),
        "scalar": torch.tensor(3.0),
        "empty": torch.zeros(0, 7),
        "permuted": whole.permute(3, 1, 0, 2),
    }
    check(content, tmp_path)


def test_a_state_dict_with_its_metadata(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2))
    check(net.state_dict(), tmp_path)
    (tmp_path / "parameters").mkdir()
    check(OrderedDict(net.named_parameters()), tmp_path / "parameters")


def test_what_training_scripts_put_beside_the_weights_is_no_reason_to_refuse(tmp_path: Path) -> None:
    net = nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(net.parameters())
    net(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    content = {
        "state_dict": net.state_dict(),
        "optimizer": optimizer.state_dict(),
        "args": argparse.Namespace(lr=0.1, out=Path("runs"), device=torch.device("cpu")),
        "best": np.float64(0.9),
        "curve": np.ones(3),
        "done": {1, 2},
        "shape": torch.Size([1, 2]),
        "dtype": torch.float32,
    }
    path = tmp_path / "weights.pt"
    torch.save(content, path)
    read = read_here(path, tmp_path / "out")
    assert set(read.state) == {"weight", "bias"}
    assert same_bits(read.state["weight"], net.weight)
    assert "“args”" in read.notes[0]


def test_names_may_be_any_text(tmp_path: Path) -> None:
    names = ["", " ", "a.b", "ü🌿", "\ud800", "nul\0", "../x", "__metadata__", "0", "<b>"]
    check({name: torch.full((1,), float(index)) for index, name in enumerate(names)}, tmp_path)


def test_damage_inside_descriptions_is_told(tmp_path: Path) -> None:
    """Windows that reach beyond their storage, in whatever way the numbers of a description are wrong."""
    path = tmp_path / "weights.pt"
    torch.save({"weight": torch.arange(64.0)[8:40].view(4, 8)}, path)
    whole = path.read_bytes()
    begin = whole.index(b"_rebuild_tensor_v2")
    end = whole.index(b"PK", begin)
    refused = 0
    for number, (position, byte) in enumerate(itertools.product(range(begin, end), (0, 255))):
        body = bytearray(whole)
        body[position] = byte
        # The directory's checksums would find it; here the descriptions are to be looked at.
        path.write_bytes(_without_checksums(bytes(body)))
        try:
            read_here(path, tmp_path / f"out{number}")
        except CheckpointError:
            refused += 1
    assert refused > 10


def _without_checksums(body: bytes) -> bytes:
    """Set every CRC of a zip's local and central headers to zero, which means: not computed."""
    changed = bytearray(body)
    for magic, offset in ((b"PK\3\4", 14), (b"PK\1\2", 16)):
        at = body.find(magic)
        while at >= 0:
            changed[at + offset : at + offset + 4] = bytes(4)
            at = body.find(magic, at + 4)
    return bytes(changed)
