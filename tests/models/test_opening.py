"""Opening by name: what a name means, and what a traced model carries."""

from pathlib import Path
from typing import Any

import pytest
import torch

from core.errors import Cancelled, CheckpointError, ModelError
from core.models.opening import build_model, open_model, resolve_model
from core.models.specs import ModelSpec
from core.progress import Progress


@pytest.mark.parametrize(
    ("text", "source", "name"),
    [
        ("digits_vit", "sample", "digits_vit"),
        ("resnet56", "cifar", "resnet56"),
        ("resnet50", "torchvision", "resnet50"),
        ("fcn_resnet50", "torchvision", "fcn_resnet50"),
        ("torchvision/resnet18", "torchvision", "resnet18"),
        ("timm/resnet18", "timm", "resnet18"),
        ("resnetv2_50", "timm", "resnetv2_50"),
        ("timm/resnet18.a1_in1k", "timm", "resnet18.a1_in1k"),
    ],
)
def test_name_is_found_in_the_order_of_the_sources(text: str, source: str, name: str) -> None:
    spec = resolve_model(text)
    assert (spec.source, spec.name) == (source, name)
    assert resolve_model(ModelSpec.parse(spec.to_json())) == spec


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("resnet57", "No model is called “resnet57”. Did you mean .*resnet56"),
        ("cifar/resnet18", "The source “cifar” has no model called “resnet18”"),
        ("", "No model is called"),
        ("../../etc/passwd", "No model is called"),
        ("nowhere/resnet18", "No model is called"),
        ("torchvision/", "has no model called “”"),
    ],
)
def test_unknown_name_is_told_with_close_ones(text: str, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        resolve_model(text)


def test_unknown_source_of_a_spec() -> None:
    with pytest.raises(ModelError, match="Unknown model source “hub”; known: sample, cifar"):
        resolve_model(ModelSpec(source="hub", name="resnet18"))


def test_checkpoint_decides_the_weights_unless_others_are_asked_for() -> None:
    assert resolve_model("resnet20", checkpoint="w.pt").weights == "checkpoint"
    assert resolve_model(ModelSpec(source="cifar", name="resnet20", checkpoint="w.pt")).weights == "checkpoint"
    assert resolve_model("resnet20").weights == "random"
    assert resolve_model("resnet18").weights == "published"
    with pytest.raises(ModelError, match=r"either random weights or the checkpoint “w\.pt”"):
        resolve_model("resnet20", checkpoint="/somewhere/w.pt", weights="random")


def test_weights_that_a_source_does_not_have() -> None:
    with pytest.raises(ModelError, match="no published weights for “cifar/resnet20”; choose one of: checkp"):
        build_model(ModelSpec(source="cifar", name="resnet20"))
    with pytest.raises(ModelError, match="no file was named"):
        build_model(ModelSpec(source="cifar", name="resnet20", weights="checkpoint"))
    with pytest.raises(CheckpointError, match="cannot be read"):
        build_model(resolve_model("resnet20", checkpoint="/nowhere/w.pt"))


def test_traced_model_carries_its_origin(tmp_path: Path) -> None:
    plain = build_model(resolve_model("resnet20"))
    torch.save({"net": plain.module.state_dict()}, tmp_path / "w.th")
    model = open_model("resnet20", checkpoint=tmp_path / "w.th")
    assert ModelSpec.parse({key: model.origin[key] for key in ModelSpec.model_fields}).name == "resnet20"
    assert model.origin["class_names"][0] == "airplane"
    assert model.origin["mean"] == [0.485, 0.456, 0.406]
    assert any("“net”" in note for note in model.origin["notes"])
    x_NCHW = torch.randn(3, 3, 32, 32)
    with torch.no_grad():
        assert torch.allclose(model.predict(x_NCHW), plain.module(x_NCHW), atol=1e-5)
    assert model.input_shape == (3, 32, 32)
    assert model.num_classes == 10


def test_segmentation_model_is_traced() -> None:
    model = open_model("scenes_fcn", weights="random")
    assert model.task == "segmentation"
    assert model.predict(torch.zeros(2, 3, 64, 64)).shape == (2, 11, 64, 64)


class Watcher(Progress):
    """Remembers what it was told; cancels at the given check."""

    def __init__(self, *, cancel: bool = False) -> None:
        self.messages: list[str] = []
        self.cancel = cancel

    def update(self, done: float, total: float, message: str = "") -> None:
        assert 0 <= done <= total
        self.messages.append(message)

    def check(self) -> None:
        if self.cancel:
            raise Cancelled


def test_progress_is_told_and_cancel_is_obeyed() -> None:
    watcher = Watcher()
    open_model("resnet20", progress=watcher)
    assert watcher.messages[-1] == "Opened"
    with pytest.raises(Cancelled):
        open_model("resnet20", progress=Watcher(cancel=True))


@pytest.mark.parametrize("fields", [{"num_classes": 0}, {"input_shape": (3, 32)}, {"weights": "mine"}])
def test_bad_fields_are_told_in_words(fields: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match=next(iter(fields))):
        resolve_model("resnet20", **fields)
