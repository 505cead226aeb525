"""ONNX files: what every export promises, over several families of networks."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from core.errors import Cancelled, ExportError, PlanError
from core.export import onnx_exporters, onnx_file
from core.export.onnx_exporters import INPUT, OUTPUT, main_node, write_onnx
from core.export.onnx_file import SUPPORTED_OPSETS, OnnxSettings, export_onnx, read_metadata
from core.methods import prune
from core.models.capture import trace
from core.models.traced import TracedModel, main_output
from core.progress import Progress
from core.pruning.plan import Plan

from .conftest import NETWORKS, sparsify

Network = Callable[[str], TracedModel]


@pytest.mark.row("B29")
@pytest.mark.parametrize("name", list(NETWORKS))
def test_the_file_computes_what_pytorch_computes_at_any_batch_size(name: str, network: Network, tmp_path: Path) -> None:
    model = sparsify(network(name), 0.5)
    report = export_onnx(model, tmp_path / "m.onnx", settings=OnnxSettings(images=10))
    assert report["passed"], report["problems"]
    assert report["checker"]
    assert report["exporter"] == "torchscript", report["notes"]
    assert report["batch_sizes"] == [1, 2, 7]
    assert report["top1_agreement"] == 1.0
    session = onnxruntime.InferenceSession(str(tmp_path / "m.onnx"), providers=["CPUExecutionProvider"])
    assert [entry.name for entry in session.get_inputs()] == [INPUT]
    assert [entry.name for entry in session.get_outputs()] == [OUTPUT]
    for batch in (1, 3):
        x = torch.randn(batch, 3, 32, 32)
        with torch.no_grad():
            expected = model.predict(x).numpy()
        (found,) = session.run(None, {INPUT: x.numpy()})
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * max(1.0, float(np.abs(expected).max())))
    # one self-contained file and nothing else; the zeros are in it
    assert [file.name for file in tmp_path.iterdir()] == ["m.onnx"]
    assert report["size_bytes"] == (tmp_path / "m.onnx").stat().st_size
    assert json.loads(json.dumps(report)) == report


@pytest.mark.parametrize("opset", SUPPORTED_OPSETS)
def test_every_offered_opset_is_what_the_file_says(opset: int, tiny: TracedModel, tmp_path: Path) -> None:
    report = export_onnx(tiny, tmp_path / "m.onnx", settings=OnnxSettings(opset=opset, images=10))
    assert report["passed"], report["problems"]
    assert onnx.load(str(tmp_path / "m.onnx")).opset_import[0].version == opset == report["opset"]


@pytest.mark.row("B31")
@pytest.mark.parametrize("opset", [SUPPORTED_OPSETS[0] - 1, SUPPORTED_OPSETS[-1] + 1, 999, -1])
def test_other_opsets_are_refused_in_words(opset: int) -> None:
    with pytest.raises(PlanError, match="opset"):
        OnnxSettings.parse({"opset": opset})


def test_settings_round_trip() -> None:
    settings = OnnxSettings(opset=14, dynamic_batch=False, check=False, images=11)
    assert OnnxSettings.parse(settings.to_json()) == settings


def test_labels_are_read_back(tiny: TracedModel, tmp_path: Path) -> None:
    tiny.origin.update(class_names=["Katze", "犬", "<script>"], mean=[0.5], std=[0.25])
    plan = {"sparsity": 0.8, "overrides": {"first": 0.5}}
    report = export_onnx(tiny, tmp_path / "m.onnx", metadata={"plan": plan, "metrics": {"test": {"score": 0.9}}})
    labels = read_metadata(report["path"])
    assert labels["plan"] == plan
    assert labels["metrics"]["test"]["score"] == 0.9
    assert labels["content_hash"] == tiny.fingerprint()
    assert labels["class_names"] == ["Katze", "犬", "<script>"]
    assert (labels["mean"], labels["std"], labels["input_shape"]) == ([0.5], [0.25], [3, 32, 32])
    assert labels["version"]


def test_metadata_that_is_no_json_is_refused(tiny: TracedModel, tmp_path: Path) -> None:
    for wrong in (float("nan"), object(), {1, 2}):
        with pytest.raises(ExportError, match="JSON"):
            export_onnx(tiny, tmp_path / "m.onnx", metadata={"wrong": wrong})
    assert not list(tmp_path.iterdir())


def test_the_model_is_left_as_it_was(tiny: TracedModel, tmp_path: Path) -> None:
    tiny.train()
    tiny.graph_module.get_submodule("norm").eval()  # a frozen BatchNorm in a model that trains
    modes = {name: module.training for name, module in tiny.graph_module.named_modules()}
    before = tiny.fingerprint()
    report = export_onnx(tiny, tmp_path / "m.onnx", settings=OnnxSettings(images=10))
    assert report["passed"], report["problems"]
    assert {name: module.training for name, module in tiny.graph_module.named_modules()} == modes
    assert tiny.fingerprint() == before


def test_real_images_are_used_when_there_are_splits(tmp_path: Path) -> None:
    from core.data.opening import open_data

    class Digits(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 4, 5, stride=4)
            self.head = nn.Linear(4, 10)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.conv(x).amax((2, 3)))

    splits = open_data("digits")
    model = trace(Digits().eval(), splits.input_shape)
    report = export_onnx(model, tmp_path / "m.onnx", splits=splits, settings=OnnxSettings(images=30))
    assert report["images"] == "test split"
    assert (report["passed"], report["n"]) == (True, 30)


def test_a_fixed_batch_takes_one_image(tiny: TracedModel, tmp_path: Path) -> None:
    report = export_onnx(tiny, tmp_path / "m.onnx", settings=OnnxSettings(dynamic_batch=False, images=10))
    assert report["passed"], report["problems"]
    assert report["batch_sizes"] == [1]
    assert onnx.load(report["path"]).graph.input[0].type.tensor_type.shape.dim[0].dim_value == 1


def test_without_a_check_nothing_is_claimed(tiny: TracedModel, tmp_path: Path) -> None:
    report = export_onnx(tiny, tmp_path / "m.onnx", settings=OnnxSettings(check=False))
    assert report["passed"] is None
    assert report["checker"] is None
    assert report["max_abs_difference"] is None


def _perturbed(graph: torch.fx.GraphModule, example: Tensor, path: Path, options: dict, dynamic: bool) -> None:
    with torch.no_grad():
        next(graph.parameters()).add_(0.5)
    try:
        onnx_exporters._torchscript(graph, example, path, options, dynamic)
    finally:
        with torch.no_grad():
            next(graph.parameters()).sub_(0.5)


def test_a_wrong_file_does_not_pass(tiny: TracedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_exporters, "EXPORTERS", {"torchscript": _perturbed, "dynamo": _perturbed})
    report = export_onnx(tiny, tmp_path / "m.onnx", settings=OnnxSettings(images=10))
    assert report["passed"] is False
    assert "differs from PyTorch" in report["problems"][0]
    assert len(report["notes"]) == 2


def test_the_second_exporter_helps_out(tiny: TracedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_exporters, "EXPORTERS", {"torchscript": _perturbed, "dynamo": onnx_exporters._torchscript})
    report = export_onnx(tiny, tmp_path / "m.onnx", settings=OnnxSettings(images=10))
    assert report["passed"], report["problems"]
    assert report["exporter"] == "dynamo"
    assert "torchscript" in report["notes"][0]


class Uneven(nn.Module):
    """Pools 7 × 7 positions into 4 × 4, which the TorchScript exporter cannot express."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.pool = nn.AdaptiveAvgPool2d(4)

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(self.conv(x)).flatten(1)


@pytest.mark.row("B31")
def test_a_failure_names_the_operation_and_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(onnx_exporters, "EXPORTERS", {"torchscript": onnx_exporters._torchscript})
    target = tmp_path / "m.onnx"
    target.write_bytes(b"the old one")
    model = trace(Uneven().eval(), (3, 9, 9))
    with pytest.raises(ExportError, match="operation adaptive_avg_pool2d"):
        export_onnx(model, target)
    assert target.read_bytes() == b"the old one"
    assert [file.name for file in tmp_path.iterdir()] == ["m.onnx"]
    assert capfd.readouterr().out == ""


@pytest.mark.slow
def test_what_the_first_exporter_cannot_express_the_second_can(tmp_path: Path) -> None:
    report = export_onnx(trace(Uneven().eval(), (3, 9, 9)), tmp_path / "m.onnx", settings=OnnxSettings(images=10))
    assert report["passed"], report["problems"]
    assert report["exporter"] == "dynamo"
    assert "adaptive_avg_pool2d" in report["notes"][0]


def test_nan_weights_do_not_pass(tiny: TracedModel, tmp_path: Path) -> None:
    with torch.no_grad():
        next(iter(tiny.prunable().values())).weight[0] = float("nan")
    report = export_onnx(tiny, tmp_path / "m.onnx", settings=OnnxSettings(images=10))
    assert report["passed"] is False
    assert "not finite" in report["problems"][0]


def test_a_place_that_cannot_be_written_is_said(tiny: TracedModel, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ExportError, match="could not be written"):
        export_onnx(tiny, tmp_path / "file" / "m.onnx")


def test_cancel_leaves_nothing(tiny: TracedModel, tmp_path: Path) -> None:
    class Stop(Progress):
        checks = 0

        def check(self) -> None:
            self.checks += 1
            if self.checks == 3:
                raise Cancelled

    with pytest.raises(Cancelled):
        export_onnx(tiny, tmp_path / "m.onnx", progress=Stop())
    assert not list(tmp_path.iterdir())


@pytest.mark.row("B01", "B31")
@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n" + b"x" * 100, b"\x00" * 64, b"not a model at all"])
def test_labels_of_what_is_no_model(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "m.onnx"
    file.write_bytes(content)
    with pytest.raises(ExportError, match="no ONNX model"):
        read_metadata(file)
    with pytest.raises(ExportError, match="cannot be read"):
        read_metadata(tmp_path / "missing.onnx")


def test_the_graph_is_cut_where_predict_looks() -> None:
    class Several(nn.Module):
        def __init__(self, shape: Callable[[Tensor, Tensor], object]) -> None:
            super().__init__()
            self.main, self.aux, self.shape = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1), shape

        def forward(self, x: Tensor) -> object:
            return self.shape(self.main(x), self.aux(x))

    x = torch.randn(2, 3, 8, 8)
    for shape in (
        lambda main, aux: {"aux": aux, "out": main},
        lambda main, aux: {"first": main, "second": aux},
        lambda main, aux: (main, aux),
        lambda main, aux: {"logits": main, "aux": aux},
    ):
        model = trace(Several(shape).eval(), (3, 8, 8), task="segmentation")
        cut = onnx_exporters.main_output_graph(model)
        assert torch.equal(cut(x), model.predict(x))
        assert torch.equal(cut(x), main_output(model(x)))
        assert not [name for name in cut.state_dict() if name.startswith("aux")]
    with pytest.raises(ExportError, match="logits were expected"):
        main_node({})


@pytest.mark.slow
def test_the_newer_exporter_agrees_and_tells_nothing_about_this_machine(tiny: TracedModel, tmp_path: Path) -> None:
    graph = onnx_exporters.main_output_graph(tiny)
    path = tmp_path / "m.onnx"
    write_onnx(graph, torch.randn(2, 3, 32, 32), path, exporter="dynamo", opset=18, dynamic=True, beside=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnx_exporters, "EXPORTERS", {"dynamo": onnx_exporters._dynamo})
        report = export_onnx(tiny, path, settings=OnnxSettings(opset=18, images=10))
    assert report["passed"], report["problems"]
    assert b"site-packages" not in path.read_bytes()
    assert b"forward" not in path.read_bytes()


@pytest.mark.row("B31")
@pytest.mark.slow
def test_tensors_of_a_large_model_lie_beside_the_graph(
    tiny: TracedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_file, "SINGLE_FILE_BYTES", 0)
    report = export_onnx(tiny, tmp_path / "m.onnx", settings=OnnxSettings(opset=18, images=10))
    assert report["passed"], report["problems"]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["m.onnx", "m.onnx.data"]
    assert report["files"][0] == str(tmp_path / "m.onnx")
    assert report["size_bytes"] == sum(file.stat().st_size for file in tmp_path.iterdir())


@pytest.mark.row("B30")
def test_tensors_that_a_file_has_elsewhere_are_never_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        onnx.external_data_helper, "load_external_data_for_tensor", lambda *_: pytest.fail("it was read")
    )
    (tmp_path / "secret").write_bytes(bytes(64))
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "link").symlink_to(tmp_path / "secret")
    for place in ("../secret", str(tmp_path / "secret"), "link", "inner/../../secret", "missing", "/etc/passwd"):
        weight = onnx.TensorProto(name="w", data_type=onnx.TensorProto.FLOAT, dims=[16])
        weight.data_location = onnx.TensorProto.EXTERNAL
        weight.external_data.add(key="location", value=place)
        vector = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [16])
        graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["w"], ["y"])], "g", [], [vector], [weight])
        file = tmp_path / "inner" / "m.onnx"
        file.write_bytes(onnx.helper.make_model(graph).SerializeToString())
        assert read_metadata(file) == {}


@pytest.mark.row("B30")
def test_an_export_writes_its_own_file_only(tiny: TracedModel, tmp_path: Path) -> None:
    """Also where somebody left a link in its place: the link goes, what it points to stays."""
    (tmp_path / "canary").write_text("canary")
    folder = tmp_path / "session"
    folder.mkdir()
    (folder / "m.onnx").symlink_to(tmp_path / "canary")
    export_onnx(tiny, folder / "m.onnx", settings=OnnxSettings(images=10))
    assert (tmp_path / "canary").read_text() == "canary"
    assert not (folder / "m.onnx").is_symlink()
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["canary", "m.onnx", "session"]


def test_patterns_are_found_again_in_the_file(tmp_path):
    torch.manual_seed(0)
    layers = nn.Sequential(
        nn.Conv2d(4, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=8),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4),
    )  # fmt: skip
    model = trace(layers.eval(), (4, 8, 8))
    report = export_onnx(model, tmp_path / "plain.onnx")
    assert (report["pattern_layers"], report["pattern_layers_of_model"]) == (0, 0)
    plan = Plan(sparsity=0.0, patterns={"0": "2:4", "6": "1:4"})
    report = export_onnx(prune(model, None, plan).model, tmp_path / "pattern.onnx")
    assert (report["pattern_layers"], report["pattern_layers_of_model"]) == (2, 2)
    assert report["passed"]
