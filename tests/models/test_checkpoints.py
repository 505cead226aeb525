"""Checkpoints from files: what is refused in which words, what is unwrapped and converted, what fits."""

import io
import json
import os
import pickle
import shutil
import struct
import time
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from core.errors import CheckpointError
from core.models.checkpoint_reader import rewrite
from core.models.checkpoints import Checkpoint, checkpoint_classes, fit_checkpoint, load_checkpoint, state_of

GENEROUS_SECONDS = 10


def small_net(num_classes: int = 3) -> nn.Sequential:
    return nn.Sequential(
        OrderedDict(
            conv=nn.Conv2d(1, 4, 3), bn=nn.BatchNorm2d(4), flatten=nn.Flatten(), fc=nn.Linear(4 * 36, num_classes)
        )
    )


def state() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return small_net().state_dict()


def saved(content: object, path: Path, **options: object) -> Path:
    torch.save(content, path, **options)
    return path


def cut(path: Path, keep: Callable[[bytes], bytes]) -> Path:
    path.write_bytes(keep(path.read_bytes()))
    return path


class RunsCode:
    """Unpickling this creates the file ``canary``, when anything runs it."""

    canary = Path("unset")

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {RunsCode.canary}",)


def flip_a_byte_of_a_weight(path: Path) -> Path:
    torch.save({"weight": torch.full((64,), 7.0)}, path)
    body = bytearray(path.read_bytes())
    body[body.index(struct.pack("<f", 7.0)) + 2] ^= 1
    path.write_bytes(body)
    return path


def rezipped(path: Path, change: Callable[[zipfile.ZipFile, zipfile.ZipFile], None]) -> Path:
    """A checkpoint whose archive was written again by ``change(old, new)``."""
    torch.save({"weight": torch.zeros(64)}, path)
    old = zipfile.ZipFile(io.BytesIO(path.read_bytes()))
    with zipfile.ZipFile(path, "w") as new:
        change(old, new)
    return path


def deflated(path: Path) -> Path:
    def write(old: zipfile.ZipFile, new: zipfile.ZipFile) -> None:
        for name in old.namelist():
            new.writestr(name, old.read(name), zipfile.ZIP_DEFLATED)

    return rezipped(path, write)


def with_pickle(path: Path, body: bytes) -> Path:
    def write(old: zipfile.ZipFile, new: zipfile.ZipFile) -> None:
        for name in old.namelist():
            new.writestr(name, body if name.endswith("data.pkl") else old.read(name))

    return rezipped(path, write)


def doubled_tuple_as_key(path: Path) -> Path:
    """A dict key of nested tuples, each holding the one before twice: hashing it would take 2**60 steps."""
    steps = b"".join(
        b"h" + bytes([index]) + b"h" + bytes([index]) + b"\x86q" + bytes([index + 1]) for index in range(60)
    )
    return with_pickle(path, b"\x80\x02}K\x01\x85q\x00" + steps + b"K\x01s.")


def scripted(path: Path) -> Path:
    def write(old: zipfile.ZipFile, new: zipfile.ZipFile) -> None:
        for name in ("a/data.pkl", "a/constants.pkl", "a/code/__torch__/net.py"):
            new.writestr(name, b"")

    return rezipped(path, write)


def exported(path: Path) -> Path:
    def write(old: zipfile.ZipFile, new: zipfile.ZipFile) -> None:
        for name in ("a/archive_format", "a/models/model.json", "a/data/weights/weight_0"):
            new.writestr(name, b"pt2")

    return rezipped(path, write)


def with_external_data(path: Path) -> Path:
    import onnx

    weight = onnx.TensorProto(name="w", data_type=1, dims=[1], data_location=onnx.TensorProto.EXTERNAL)
    weight.external_data.add(key="location", value="../../../etc/passwd")
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["w"], ["y"])], "g", [], [], [weight])
    path.write_bytes(onnx.helper.make_model(graph, producer_name="evil").SerializeToString())
    return path


def keras(path: Path) -> Path:
    def write(old: zipfile.ZipFile, new: zipfile.ZipFile) -> None:
        for name in ("config.json", "model.weights.h5"):
            new.writestr(name, b"{}")

    return rezipped(path, write)


def raw_safetensors(path: Path, header: bytes, body: bytes = b"", *, length: int | None = None) -> Path:
    path.write_bytes(struct.pack("<Q", len(header) if length is None else length) + header + body)
    return path


def header(**tensors: tuple[list[int], list[int]]) -> bytes:
    return json.dumps(
        {name: {"dtype": "F32", "shape": shape, "data_offsets": span} for name, (shape, span) in tensors.items()}
    ).encode()


def sparse(path: Path) -> Path:
    return saved({"weight": torch.eye(3).to_sparse()}, path)


BAD: dict[str, tuple[Callable[[Path], Path], str]] = {
    "B01 empty safetensors": (lambda p: cut(save_file(state(), p) or p, lambda b: b""), "is empty"),
    "B01 empty": (lambda p: cut(saved({}, p), lambda b: b""), "is empty"),
    "B02 half": (lambda p: cut(saved(state(), p), lambda b: b[: len(b) // 2]), "damaged or incomplete"),
    "B02 without its last 10 bytes": (lambda p: cut(saved(state(), p), lambda b: b[:-10]), "damaged or incomplete"),
    "B02 legacy, half": (
        lambda p: cut(saved(state(), p, _use_new_zipfile_serialization=False), lambda b: b[: len(b) // 2]),
        "damaged or incomplete",
    ),
    "B02 legacy, without its last 10 bytes": (
        lambda p: cut(saved(state(), p, _use_new_zipfile_serialization=False), lambda b: b[:-10]),
        "damaged or incomplete",
    ),
    "B02 safetensors, half": (
        lambda p: cut(save_file(state(), p) or p, lambda b: b[: len(b) // 2]),
        "damaged or incomplete",
    ),
    "B03 flipped byte": (flip_a_byte_of_a_weight, "checksum differs"),
    "B04 code": (lambda p: saved({"weight": RunsCode()}, p), "system.*was not loaded"),
    "B04 code, legacy": (
        lambda p: saved({"weight": RunsCode()}, p, _use_new_zipfile_serialization=False),
        "system.*was not loaded",
    ),
    "B04 code, plain pickle": (
        lambda p: p.write_bytes(pickle.dumps(RunsCode())) and p,
        "plain Python pickle with code",
    ),
    "B05 whole model": (lambda p: saved(small_net(), p), r"whole pickled model.*model\.state_dict\(\)"),
    "B05 whole model, legacy": (
        lambda p: saved(small_net(), p, _use_new_zipfile_serialization=False),
        r"whole pickled model.*model\.state_dict\(\)",
    ),
    "B06 deflated": (deflated, "is compressed"),
    "B06 nested beyond measure": (doubled_tuple_as_key, "it holds a tuple"),
    "B06 deep nesting": (
        lambda p: with_pickle(p, b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b"."),
        "a list|damaged",
    ),
    "B06 operations without end": (lambda p: with_pickle(p, b"\x80\x02" + b"N0" * 1_000_000 + b"N."), "far larger"),
    "B06 nonsense opcodes": (lambda p: with_pickle(p, b"\x80\x02\xff\xfe\xfd"), "damaged or incomplete"),
    "B06 stack underflow": (lambda p: with_pickle(p, b"\x80\x02aaaa."), "damaged or incomplete"),
    "B07 stride 0": (lambda p: saved({"weight": torch.zeros(1).expand(50_000, 50_000)}, p), "claims 10 GB"),
    "B07 many views of one storage": (
        lambda p: (
            saved({f"w{i}": torch.zeros(100_000).view(1, -1)[0] for i in range(1)}, p)
            and saved((lambda t: {f"w{i}": t for i in range(300)})(torch.zeros(100_000)), p)
        ),
        "not in the file",
    ),
    "B08 png": (lambda p: p.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(64)) and p, "a PNG image"),
    "B08 text": (lambda p: p.write_text("epoch,loss\n1,0.5\n") and p, "a text file"),
    "B08 web page": (lambda p: p.write_text("<!DOCTYPE html><html>404</html>") and p, "a web page"),
    "B08 LFS pointer": (lambda p: p.write_text("version https://git-lfs.github.com/spec/v1\n") and p, "git lfs pull"),
    "B08 noise": (lambda p: p.write_bytes(bytes(range(1, 200)) * 3) and p, "unknown content"),
    "B08 zip": (
        lambda p: rezipped(p, lambda _, new: new.writestr("inside/model.pth", b"x")),
        "zip archive, but not one that PyTorch wrote",
    ),
    "B09 TorchScript": (scripted, "TorchScript"),
    "B09 pt2": (exported, "an exported program"),
    "B09 ONNX": (lambda p: p.write_bytes(b"\x08\x08\x12\x07pytorch" + bytes(64)) and p, "an ONNX model"),
    "B30 ONNX with tensors elsewhere": (with_external_data, "an ONNX model"),
    "B31 ONNX garbage": (lambda p: p.write_bytes(b"\x08\x08\x12\xff\xff\xff\xff\xff") and p, "an ONNX model"),
    "B09 keras": (keras, "Keras"),
    "B09 h5": (lambda p: p.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(64)) and p, "HDF5"),
    "B09 tar": (lambda p: p.write_bytes(b"a" * 257 + b"ustar" + bytes(300)) and p, "a tar archive"),
    "B09 pkl": (lambda p: p.write_bytes(pickle.dumps({"weight": [1.0]})) and p, "plain Python pickle"),
    "B10 header of 1 TB": (lambda p: raw_safetensors(p, b"{}", length=2**40), "header claims"),
    "B10 header of 99 MB": (lambda p: raw_safetensors(p, b"{" + b" " * 99_000_000), "header of .* has 99 MB"),
    "B11 overlap": (
        lambda p: raw_safetensors(p, header(a=([2], [0, 8]), b=([2], [4, 12])), bytes(12)),
        "does not describe",
    ),
    "B11 hole": (
        lambda p: raw_safetensors(p, header(a=([1], [0, 4]), b=([1], [8, 12])), bytes(12)),
        "does not describe",
    ),
    "B11 trailing bytes": (lambda p: raw_safetensors(p, header(a=([1], [0, 4])), bytes(99)), "does not describe"),
    "B11 shape overflow": (
        lambda p: raw_safetensors(p, header(a=([2**62, 2**62], [0, 4])), bytes(4)),
        "does not describe",
    ),
    "B11 name twice": (
        lambda p: raw_safetensors(p, header(a=([1], [0, 4]))[:-1] + b"," + header(a=([1], [0, 4]))[1:], bytes(4)),
        "“a” twice",
    ),
    "B11 header is no JSON": (lambda p: raw_safetensors(p, b"{not json"), "header is not valid"),
    "B11 deep JSON": (lambda p: raw_safetensors(p, b'{"a":' + b"[" * 1_000_000), "header is not valid"),
    "B13 too many tensors": (
        lambda p: save_file({str(i): torch.zeros(1) for i in range(10_001)}, p) or p,
        "10,001 tensors; at most 10,000",
    ),
    "B18 list": (lambda p: saved([torch.zeros(3)], p), "it holds a list"),
    "B18 integer keys": (lambda p: saved({0: torch.zeros(3)}, p), "something else: “0”"),
    "B18 values that are no tensors": (lambda p: saved({"epoch": 3}, p), "something else: “epoch” \\(int\\)"),
    "B18 no tensors": (lambda p: saved({}, p), "holds no tensors"),
    "B18 a tensor": (lambda p: saved(torch.zeros(3), p), "it holds a Tensor"),
    "B19 sparse": (sparse, "is sparse"),
    "B19 meta": (lambda p: saved({"weight": torch.zeros(3, device="meta")}, p), "has no values"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_file_is_refused_in_one_clear_message(case: str, tmp_path: Path) -> None:
    make, words = BAD[case]
    RunsCode.canary = tmp_path / "canary"
    path = make(tmp_path / "weights.pt")
    before = time.monotonic()
    with pytest.raises(CheckpointError, match=words) as caught:
        load_checkpoint(path)
    assert time.monotonic() - before < GENEROUS_SECONDS
    assert not RunsCode.canary.exists()
    assert len(str(caught.value)) < 500
    assert str(tmp_path) not in str(caught.value), "paths of the server are not shown"


@pytest.mark.row("B19")
@pytest.mark.filterwarnings("ignore:.*:UserWarning", "ignore:.*:DeprecationWarning")
def test_quantized_weights_are_refused(tmp_path: Path) -> None:
    path = saved({"weight": torch.quantize_per_tensor(torch.zeros(3, 3), 0.1, 0, torch.qint8)}, tmp_path / "q.pt")
    with pytest.raises(CheckpointError, match="is quantized"):
        load_checkpoint(path)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot be read: No such file"):
        load_checkpoint(tmp_path / "nothing.pt")
    with pytest.raises(CheckpointError, match="cannot be read: Is a directory"):
        load_checkpoint(tmp_path)


@pytest.mark.row("B12")
def test_hostile_names_are_escaped_and_shortened(tmp_path: Path) -> None:
    names = ["a" * 100_000, "../../etc/passwd", "nul\x00", "left‮right", "<script>alert(1)</script>", "line\nbreak"]
    path = tmp_path / "names.safetensors"
    save_file({name: torch.zeros(1) for name in names}, path)
    checkpoint = load_checkpoint(path)
    with pytest.raises(CheckpointError) as caught:
        fit_checkpoint(small_net(), checkpoint)
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) < 1500


def write_zip(content: dict[str, Tensor], path: Path) -> None:
    torch.save(content, path)


def write_legacy(content: dict[str, Tensor], path: Path) -> None:
    torch.save(content, path, _use_new_zipfile_serialization=False)


@pytest.mark.row("B08")
@pytest.mark.parametrize("write", [write_zip, write_legacy, save_file])
@pytest.mark.parametrize("name", ["weights.pt", "weights.pth", "weights.th", "weights.bin", "weights", "wéights 🌿.pt"])
def test_content_decides_not_the_extension(write: Callable[..., None], name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    write(state(), path)
    net = small_net()
    fit_checkpoint(net, load_checkpoint(path))
    for key, value in net.state_dict().items():
        assert torch.equal(value, state()[key])


def test_content_decides_even_under_the_name_safetensors(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    torch.save(state(), path)
    assert set(load_checkpoint(path).state) == set(state())


@pytest.mark.row("B17")
@pytest.mark.parametrize("key", ["state_dict", "model", "net", "model_state_dict"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
def test_nesting_and_prefixes_are_removed_and_said(key: str, prefix: str, tmp_path: Path) -> None:
    content = {key: {prefix + name: tensor for name, tensor in state().items()}, "epoch": 3, "optimizer": {"lr": 0.1}}
    checkpoint = load_checkpoint(saved(content, tmp_path / "weights.pt"))
    assert set(checkpoint.state) == set(state())
    assert any(f"“{key}”" in note and "“optimizer”" in note for note in checkpoint.notes)
    for part in prefix.split(".")[:-1]:
        assert any(f"“{part}.”" in note for note in checkpoint.notes)
    assert fit_checkpoint(small_net(), checkpoint) == ()


def test_prefix_that_only_some_names_have_is_no_wrapper(tmp_path: Path) -> None:
    content = {"module.weight": torch.zeros(2, 2), "other.weight": torch.zeros(2, 2)}
    assert set(load_checkpoint(saved(content, tmp_path / "w.pt")).state) == set(content)


@pytest.mark.row("B17")
def test_common_first_part_is_removed_when_it_then_fits() -> None:
    checkpoint = Checkpoint({f"backbone.{name}": tensor for name, tensor in state().items()}, "“w.pt”")
    (note,) = fit_checkpoint(small_net(), checkpoint)
    assert "“backbone.”" in note


def test_file_without_checksums_is_loaded_with_a_note(tmp_path: Path) -> None:
    torch.serialization.set_crc32_options(False)
    try:
        path = saved(state(), tmp_path / "weights.pt")
    finally:
        torch.serialization.set_crc32_options(True)
    (note,) = load_checkpoint(path).notes
    assert "no checksums" in note


def test_tied_weights_are_no_bomb(tmp_path: Path) -> None:
    shared = torch.ones(1000, 100)
    checkpoint = load_checkpoint(saved({"embedding.weight": shared, "head.weight": shared}, tmp_path / "tied.pt"))
    assert checkpoint.num_classes == 1000


def altered(**changes: Tensor | None) -> Checkpoint:
    merged = {**state(), **{name.replace("__", "."): tensor for name, tensor in changes.items()}}
    return Checkpoint({name: tensor for name, tensor in merged.items() if tensor is not None}, "“w.pt”")


MISFITS = {
    "missing": (altered(conv__weight=None, conv__bias=None), "2 tensors are missing: “conv.weight”, “conv.bias”"),
    "unexpected": (altered(conv9__weight=torch.zeros(4, 4)), "1 tensor is not expected: “conv9.weight”"),
    "another shape": (
        altered(conv__weight=torch.zeros(4, 3, 3, 3)),
        r"1 tensor has another shape: “conv.weight” \[4, 3, 3, 3\] must be \[4, 1, 3, 3\]",
    ),
    "another head": (
        altered(fc__weight=torch.zeros(7, 144), fc__bias=torch.zeros(7)),
        "Only the head differs: set the number of classes to 7",
    ),
    "more than five": (
        altered(**{f"extra{index}__weight": torch.zeros(1) for index in range(9)}),
        "9 tensors are not expected.*“extra4.weight”; and 4 more",
    ),
    "integers": (altered(conv__weight=torch.ones(4, 1, 3, 3, dtype=torch.int64)), "“conv.weight”.*int64.*float32"),
    "complex numbers": (altered(conv__weight=torch.ones(4, 1, 3, 3, dtype=torch.complex64)), "complex64"),
    "8-bit floats": (altered(conv__bias=torch.ones(4).to(torch.float8_e4m3fn)), "float8_e4m3fn"),
    "fractions for a counter": (altered(bn__num_batches_tracked=torch.tensor(0.5)), "“bn.num_batches_tracked”"),
}


@pytest.mark.row("B16", "B17", "B19")
@pytest.mark.parametrize("case", MISFITS)
def test_misfit_is_told_and_changes_nothing(case: str) -> None:
    checkpoint, words = MISFITS[case]
    net = small_net()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    with pytest.raises(CheckpointError, match=words):
        fit_checkpoint(net, checkpoint)
    for name, tensor in net.state_dict().items():
        assert torch.equal(tensor, before[name])


@pytest.mark.row("B19")
@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_other_floats_are_converted_with_a_notice(dtype: torch.dtype) -> None:
    converted = {name: t.to(dtype) if t.is_floating_point() else t for name, t in state().items()}
    net = small_net()
    (note,) = fit_checkpoint(net, Checkpoint(converted, "“w.pt”"))
    assert str(dtype).removeprefix("torch.") in note
    assert net.conv.weight.dtype == torch.float32
    assert torch.equal(net.conv.weight, converted["conv.weight"].float())


def test_averaged_counters_are_taken_when_whole() -> None:
    net = small_net()
    fit_checkpoint(net, altered(bn__num_batches_tracked=torch.tensor(7.0)))
    assert int(net.bn.num_batches_tracked) == 7


def test_training_leftovers_are_ignored_with_a_notice() -> None:
    checkpoint = altered(
        aux_classifier__weight=torch.zeros(2, 2), bn__num_batches_tracked=None, total_ops=torch.ones(1)
    )
    (note,) = fit_checkpoint(small_net(), checkpoint)
    assert "2 tensors that only training needs were ignored" in note


@pytest.mark.row("B14")
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_nonfinite_weights_load_with_a_warning_that_names_the_layer(value: float) -> None:
    weight = state()["conv.weight"].clone()
    weight[0, 0, 1, 1] = value
    (note,) = fit_checkpoint(small_net(), altered(conv__weight=weight))
    assert note == "Warning: NaN or infinite weights in 1 layer: “conv”."


def test_overflow_of_a_conversion_is_warned_of() -> None:
    weight = torch.full((4, 1, 3, 3), 1e300, dtype=torch.float64)
    assert any("infinite" in note for note in fit_checkpoint(small_net(), altered(conv__weight=weight)))


def test_classes_are_read_from_the_head() -> None:
    assert checkpoint_classes(small_net(7).state_dict()) == 7
    assert checkpoint_classes({}) is None
    assert checkpoint_classes({"bn.weight": torch.zeros(3)}) is None
    with_auxiliary = {
        "classifier.4.weight": torch.zeros(21, 8, 1, 1),
        "aux_classifier.4.weight": torch.zeros(5, 8, 1, 1),
    }
    assert checkpoint_classes(with_auxiliary) == 21


@pytest.mark.row("B02", "B03", "B11")
@pytest.mark.parametrize("write", [write_zip, write_legacy, save_file])
def test_any_damage_is_either_harmless_or_told(write: Callable[..., None], tmp_path: Path) -> None:
    """Bytes changed and files cut at random: nothing but CheckpointError ever comes out."""
    path = tmp_path / "weights.pt"
    write(state(), path)
    whole = path.read_bytes()
    random = Random(0)
    refused = 0
    folder = tmp_path / "out"
    for _ in range(150):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        body = bytearray(whole)
        for _ in range(random.choice((1, 1, 4))):
            body[random.randrange(len(body))] = random.randrange(256)
        path.write_bytes(body[: random.randrange(1, len(body))] if random.random() < 0.2 else body)
        try:
            # In this process: the limited one is for the rest of these tests.
            fit_checkpoint(small_net(), state_of(rewrite(path, folder), "weights"))
        except CheckpointError:
            refused += 1
    assert refused > 20
