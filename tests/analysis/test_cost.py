"""Costs: hand counts, torch's own counter, and the layer table."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from core.analysis.cost import count_macs, count_parameters, layer_table
from core.models.capture import trace

from ..models.examples import EXAMPLES, Encoder, RawParameters, Tied


class _Function(nn.Module):
    """Any function of images as a model."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def test_hand_counts() -> None:
    layers = nn.Sequential(
        nn.Conv2d(4, 8, 3, padding=1, bias=False),  # 8·8·8 outputs × 4·9
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=8),  # 8·4·4 × 9
        nn.ConvTranspose2d(8, 6, 2, stride=2, groups=2),  # 8·4·4 inputs × 3·4
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, 5),
    )
    traced = trace(layers, (4, 8, 8))
    rows = {row.name: row for row in layer_table(traced)}
    assert [rows[name].macs for name in ("0", "1", "3", "4", "7")] == [18432, 0, 1152, 1536, 30]
    assert [rows[name].parameters for name in ("0", "1", "3", "4", "7")] == [288, 16, 80, 102, 35]
    assert count_macs(traced) == 18432 + 1152 + 1536 + 30
    assert count_parameters(traced) == sum(parameter.numel() for parameter in layers.parameters())
    assert rows["0"].output_shape == [8, 8, 8]
    assert rows["0"].weight_shape == [8, 4, 3, 3]
    assert rows["7"].output_shape == [5]
    assert [row.prunable for row in rows.values()] == [True, False, True, False, True]


def test_macs_are_of_one_example_and_resnet18_is_known() -> None:
    traced = trace(torchvision.models.resnet18(), (3, 224, 224), verify=False)
    assert count_macs(traced) == 1_814_073_344
    assert count_parameters(traced) == 11_689_512


@pytest.mark.parametrize(
    "function",
    [
        lambda x: torch.einsum("nchw,nchv->nwv", x, x),
        lambda x: torch.einsum("nchw,ncvw,nciw->nhvi", x, x, x),
        lambda x: torch.einsum("...hw,...vw->...hv", x, x),
        lambda x: x @ x.transpose(2, 3),
        lambda x: torch.bmm(x.flatten(1, 2), x.flatten(1, 2).transpose(1, 2)),
        lambda x: F.conv2d(x, torch.ones(6, 2, 3, 3), groups=2),
        lambda x: F.linear(x, torch.ones(5, 6)),
        lambda x: torch.baddbmm(x[:, 0], x[:, 1], x[:, 2]),
    ],
)
def test_functional_products_agree_with_the_flop_counter(function: Callable[[Tensor], Tensor]) -> None:
    module = _Function(function)
    counter = FlopCounterMode(display=False)
    with counter:
        module(torch.ones(1, 4, 6, 6))
    assert 2 * count_macs(trace(module, (4, 6, 6))) == counter.get_total_flops()


def test_attention_is_counted_although_torch_misses_the_fused_one() -> None:
    """16 tokens of width 16: two products of 16·16·16 MACs per layer, beside the four projections."""
    module = Encoder()
    rows = {row.name: row for row in layer_table(trace(module, (3, 16, 16)))}
    assert rows["encoder.layers.0.self_attn.in_proj"].macs == 16 * 16 * 48
    products = count_macs(trace(module, (3, 16, 16))) - sum(row.macs for row in rows.values())
    assert products >= 2 * 2 * 16**3


def test_shared_weights_are_counted_once_and_calls_add_up() -> None:
    module = Tied()
    rows = {row.name: row for row in layer_table(trace(module, (3, 16, 16)))}
    assert rows["shared"].calls == 3
    assert rows["shared"].macs == 3 * 8 * 256 * 72
    assert rows["up"].parameters == 72
    assert rows["down"].parameters == 8  # its own bias; the weight is “up”'s
    assert sum(row.parameters for row in rows.values()) == sum(p.numel() for p in module.parameters())


def test_parameters_without_a_module_have_rows() -> None:
    module = RawParameters()
    rows = {row.name: row for row in layer_table(trace(module, (3, 16, 16)))}
    assert {name: row.kind for name, row in rows.items()} == dict.fromkeys(
        ("kernel", "scale", "positions", "head"), "Parameter"
    )
    assert rows["kernel"].macs == 6 * 16 * 27
    assert rows["head"].macs == 30
    assert not any(row.prunable for row in rows.values())


def test_stages_group_what_belongs_together() -> None:
    rows = layer_table(trace(torchvision.models.resnet18(), (3, 32, 32), verify=False))
    assert list(dict.fromkeys(row.stage for row in rows)) == [
        "conv1", "bn1", "layer1", "layer2", "layer3", "layer4", "fc",
    ]  # fmt: skip
    rows = layer_table(trace(torchvision.models.mobilenet_v3_small(), (3, 32, 32), verify=False))
    assert rows[3].stage == "features.1"


@pytest.mark.parametrize("name", EXAMPLES)
def test_counting_leaves_the_model_alone(name: str) -> None:
    traced = trace(EXAMPLES[name](), (3, 16, 16)).train()
    before = traced.fingerprint()
    layer_table(traced)
    assert traced.training
    assert traced.fingerprint() == before
