"""Small networks of several families, captured once per session."""

from collections.abc import Callable
from functools import cache

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import SwinTransformer, VisionTransformer, mobilenet_v3_small, resnet18, segmentation

from core.models.capture import trace
from core.models.traced import TracedModel


class Tiny(nn.Module):
    """Two convolutions and a head: the smallest network that has everything an export needs."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.second = nn.Conv2d(8, 16, 3, stride=2)
        self.head = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.first(x)))
        return self.head(torch.relu(self.second(x)).mean((2, 3)))


def _vit() -> nn.Module:
    return VisionTransformer(32, 8, num_layers=2, num_heads=2, hidden_dim=32, mlp_dim=64, num_classes=10)


def _swin() -> nn.Module:
    return SwinTransformer([4, 4], 24, [2, 2], [2, 4], window_size=[4, 4], num_classes=10)


def _lraspp() -> nn.Module:
    return segmentation.lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=4)


NETWORKS: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "tiny": (Tiny, "classification"),
    "resnet18": (lambda: resnet18(num_classes=10), "classification"),
    "mobilenet_v3_small": (lambda: mobilenet_v3_small(num_classes=10), "classification"),
    "vit": (_vit, "classification"),
    "swin": (_swin, "classification"),
    "lraspp": (_lraspp, "segmentation"),
}


@cache
def _traced(name: str) -> TracedModel:
    make, task = NETWORKS[name]
    torch.manual_seed(0)
    module = make()
    # a trained network's running statistics, without training: one pass in training mode
    module.train()(torch.randn(16, 3, 32, 32))
    return trace(module.eval(), (3, 32, 32), task=task)  # type: ignore[arg-type]


@pytest.fixture
def network() -> Callable[[str], TracedModel]:
    """A function that gives a fresh copy of a named network."""
    return lambda name: _traced(name).clone()


@pytest.fixture
def tiny(network: Callable[[str], TracedModel]) -> TracedModel:
    """A fresh copy of the smallest network."""
    return network("tiny")


def sparsify(model: TracedModel, sparsity: float) -> TracedModel:
    """Zero the smallest weights of every prunable layer, as a mask would."""
    with torch.no_grad():
        for layer in model.prunable().values():
            weight = layer.weight
            count = int(sparsity * weight.numel())
            if count:
                weight.view(-1)[weight.abs().flatten().argsort()[:count]] = 0.0
    return model
