"""The description of a model: JSON, complete, and with the right connections."""

import json

import pytest
import torch
from torch import Tensor, fx, nn

from core.analysis.cost import layer_table
from core.analysis.describe import describe_model, layer_edges
from core.models.opening import open_model


class Branches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 1)
        self.left = nn.Conv2d(4, 4, 1)
        self.norm = nn.BatchNorm2d(4)
        self.pool = nn.MaxPool2d(2)
        self.head = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        stem = self.stem(x).relu()
        joined = torch.cat([self.norm(self.left(stem)) + stem, stem], 1)
        return self.head(self.pool(joined).mean((2, 3)))


def test_glue_is_collapsed() -> None:
    edges = layer_edges(fx.symbolic_trace(Branches()))
    assert edges == [("stem", "left"), ("left", "norm"), ("norm", "head"), ("stem", "head")]


@pytest.mark.parametrize("name", ["resnet20", "torchvision/mobilenet_v2"])
def test_description_is_complete_json(name: str) -> None:
    model = open_model(name, weights="random")
    body = json.loads(json.dumps(describe_model(model), allow_nan=False))
    layers = [layer["name"] for layer in body["layers"]]
    assert layers == [layer.name for layer in layer_table(model)]
    assert body["parameters"] == sum(p.numel() for p in model.graph_module.parameters())
    assert body["macs"] == sum(layer["macs"] for layer in body["layers"])
    assert body["input_shape"] == list(model.input_shape)
    # Every layer but the first is fed by another one, and every one but the last feeds another one.
    assert {to for _, to in body["edges"]} == set(layers) - {layers[0]}
    assert {before for before, _ in body["edges"]} == set(layers) - {layers[-1]}


def test_nonfinite_weights_are_said() -> None:
    model = open_model("resnet20", weights="random")
    with torch.no_grad():
        model.graph_module.get_submodule("layer1.0.conv1").get_parameter("weight")[0, 0] = float("nan")
    body = describe_model(model)
    broken = {layer["name"]: layer["nonfinite"] for layer in body["layers"] if layer["nonfinite"]}
    assert broken == {"layer1.0.conv1": 9}
    assert any("layer1.0.conv1 (9)" in note for note in body["notes"])
    json.dumps(body, allow_nan=False)
