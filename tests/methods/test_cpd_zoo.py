"""CPD on every family of vision networks: one epoch on noise, half of the MACs, an ONNX file that computes the same."""

import numpy as np
import pytest
import torch
from torchvision import models

from core.analysis.cost import count_macs
from core.export.onnx_file import OnnxSettings, export_onnx
from core.methods import prune
from core.models.capture import trace
from core.pruning.plan import Plan

from ..pruning.data import random_splits

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

CLASSIFIERS = {
    "resnet18": 64, "mobilenet_v3_small": 64, "densenet121": 64, "efficientnet_b0": 64, "regnet_y_400mf": 64,
    "convnext_tiny": 64, "vit_b_32": 224, "swin_t": 64,
}  # fmt: skip
SEGMENTERS = ("fcn_resnet50", "deeplabv3_mobilenet_v3_large", "lraspp_mobilenet_v3_large")


@pytest.mark.parametrize("name", [*CLASSIFIERS, *SEGMENTERS])
def test_half_of_the_macs_go_and_the_file_computes_what_was_trained(name: str, tmp_path) -> None:
    torch.manual_seed(0)
    if name in CLASSIFIERS:
        size, task = CLASSIFIERS[name], "classification"
        module = models.get_model(name, weights=None, num_classes=10)
    else:
        size, task = 64, "segmentation"
        module = models.get_model(name, weights=None, weights_backbone=None, num_classes=5)
    model = trace(module, (3, size, size), task=task)
    splits = random_splits(model, train=16, select=8, test=8)
    stage = {"epochs": 1, "learning_rate": 1e-4}
    settings = {"training": {"batch_size": 8, "precision": "fp32"}, "interval": 1, "prune": stage, "tune": stage}
    result = prune(model, splits, Plan(method="cpd", sparsity=0.5, method_settings=settings))
    assert abs(1 - count_macs(result.model) / count_macs(model) - 0.5) < 0.05
    report = export_onnx(result.model, tmp_path / "small.onnx", settings=OnnxSettings(images=10), splits=splits)
    assert report["passed"], report["problems"]
    assert np.isfinite(report["max_abs_difference"])
