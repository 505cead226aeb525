"""Capture: the invariants over torchvision families and over models that do unusual things."""

from collections.abc import Callable

import pytest
import torch
import torchvision
from torch import nn

from core.models.capture import trace

from . import invariants
from .examples import EXAMPLES

torch.set_num_threads(1)


def _build(name: str, **settings: object) -> nn.Module:
    torch.manual_seed(0)
    return torchvision.models.get_model(name, weights=None, **settings)


TORCHVISION: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "resnet18": (lambda: _build("resnet18"), 32),
    "mobilenet_v3_small": (lambda: _build("mobilenet_v3_small"), 32),
    "densenet": (lambda: torchvision.models.DenseNet(8, (2, 2), 16, drop_rate=0.1, num_classes=10), 32),
    "squeezenet1_1": (lambda: _build("squeezenet1_1"), 64),
    "shufflenet_v2_x0_5": (lambda: _build("shufflenet_v2_x0_5"), 32),
    "googlenet": (lambda: _build("googlenet", aux_logits=False, init_weights=False), 32),
    "vit": (
        lambda: torchvision.models.VisionTransformer(32, 8, 2, 4, 32, 64, 0.1, 0.1, num_classes=10),
        32,
    ),
    "swin": (
        lambda: torchvision.models.SwinTransformer([2, 2], 12, [2, 2], [2, 4], [4, 4], 4.0, 0.1, 0.1, 0.2, 10),
        36,
    ),
    "lraspp": (lambda: _build("lraspp_mobilenet_v3_large", weights_backbone=None, num_classes=5), 32),
}  # fmt: skip


@pytest.mark.parametrize("name", [*TORCHVISION, *EXAMPLES])
def test_invariants(name: str) -> None:
    torch.manual_seed(0)
    build, size = TORCHVISION.get(name) or (EXAMPLES[name], 16)
    module = invariants.unusual_weights(build())
    task = "segmentation" if name in ("lraspp", "two_outputs") else "classification"
    traced = trace(module, (3, size, size), task=task, origin={"name": name})
    assert traced.captured_by == "symbolic"
    invariants.same_outputs(module, traced)
    invariants.same_gradients(module, traced)
    invariants.same_training(module, traced, batch=1 if name.startswith(("vit", "encoder")) else 4)
    invariants.same_state(module, traced)
    invariants.survives_saving(traced)
    invariants.same_macs(module, traced)
