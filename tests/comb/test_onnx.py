"""Pruned models exported to ONNX compute the same in ONNX Runtime."""

import pytest
from torchvision.models import get_model

from core.comb.combing import comb
from core.comb.surgery import remove
from core.export.onnx_file import export_onnx
from core.export.onnx_settings import OnnxSettings

from .adversaries import ADVERSARIES
from .checks import random_removal, traced

pytestmark = pytest.mark.filterwarnings("ignore")

NAMES = (
    "EinsumAttention",
    "Attention",
    "RelativeBias",
    "PatchMerging",
    "Transposed",
    "RawParameters",
    "shufflenet_v2_x0_5",
)


@pytest.mark.parametrize("name", NAMES)
def test_onnx_runtime_agrees(name: str, tmp_path) -> None:
    model = traced(ADVERSARIES[name]()) if name in ADVERSARIES else traced(get_model(name, weights=None), 32)
    found = comb(model)
    pruned = remove(found, random_removal(found, 0, ratio=0.4))
    report = export_onnx(pruned, tmp_path / "m.onnx", settings=OnnxSettings(images=10))
    assert report["relative_difference"] < 1e-3
    assert report["passed"], report["problems"]
