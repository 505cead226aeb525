"""What cannot be done is refused in one clear sentence."""

import re

import pytest
import torch
from torch import Tensor, nn

from core.comb.combing import comb
from core.comb.record import apply_records, record
from core.comb.surgery import remove
from core.comb.verify import verify
from core.errors import EspalierError, ModelError, PlanError
from core.methods.running import prune
from core.models.capture import trace
from core.pruning.plan import Plan

from .adversaries import EinsumAttention, Pieces, ResidualConcat, SingleSlices
from .checks import random_removal, traced

pytestmark = pytest.mark.filterwarnings("ignore")


class Rigid(nn.Module):
    """Its only layer makes the classes."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(48, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x.flatten(1))


class TwoImages(Rigid):
    """Wants a second input."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:  # type: ignore[override]
        return self.head((x + y).flatten(1))


def _plan(**settings) -> Plan:
    plan = {"method": "one_shot_structured", "criterion": "magnitude", "allocation": "uniform", "sparsity": 0.3}
    return Plan.parse(plan | {"method_settings": {"recalibrate": False} | settings})


def _sentence(error: EspalierError) -> str:
    text = str(error)
    assert text.endswith("."), text
    assert "Traceback" not in text
    assert len(text) < 400, text
    return text


@pytest.mark.row("B23")
def test_no_group() -> None:
    model = traced(Rigid(), 4)
    with pytest.raises(PlanError, match="nothing to prune") as caught:
        prune(model, None, _plan())
    assert "output of the network" in _sentence(caught.value)
    with pytest.raises(PlanError, match="no group that can shrink") as caught:
        remove(comb(model), {"head": [0]})
    _sentence(caught.value)


@pytest.mark.parametrize("shape", [(1, 16, 16), (3, 2, 2)])
def test_an_example_input_of_the_wrong_shape(shape) -> None:
    with pytest.raises(ModelError, match=re.escape(f"fails on images of shape {shape}")) as caught:
        trace(nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(8 * 196, 4)), shape)
    _sentence(caught.value)


def test_images_of_another_shape_prove_nothing() -> None:
    found = comb(traced(Pieces()))
    removal = random_removal(found, 0)
    with pytest.raises(ModelError, match=re.escape("[N, 3, 16, 16]")) as caught:
        verify(found, removal, remove(found, removal), torch.randn(2, 3, 8, 8))
    _sentence(caught.value)


@pytest.mark.row("B28")
def test_a_model_with_two_inputs() -> None:
    with pytest.raises(ModelError) as caught:
        trace(TwoImages(), (3, 4, 4))
    _sentence(caught.value)


@pytest.mark.row("B33")
def test_a_plan_that_would_empty_a_layer() -> None:
    found = comb(traced(ResidualConcat()))
    name = found.groups[0].name
    with pytest.raises(PlanError, match="must stay") as caught:
        remove(found, {name: range(found.groups[0].units)})
    _sentence(caught.value)
    found = comb(traced(EinsumAttention()))  # heads and width meet in one dimension: each alone would leave something
    rows = {group.name: range(group.units - 1) for group in found.groups}
    remove(found, rows)
    found = comb(traced(SingleSlices()))
    with pytest.raises(PlanError, match=r"leave nothing of .*adversaries.py") as caught:
        remove(found, {"spread": [0, 1]})  # a part of two channels is used by itself
    _sentence(caught.value)


def test_round_to_larger_than_every_layer() -> None:
    with pytest.raises(PlanError, match="multiples of 512") as caught:
        prune(traced(Pieces()), None, _plan(round_to=512))
    _sentence(caught.value)


def test_a_record_of_another_model() -> None:
    other = comb(traced(ResidualConcat()))
    with pytest.raises(PlanError, match="made for a model with other groups") as caught:
        apply_records(traced(Pieces()), record(other, random_removal(other, 0)))
    _sentence(caught.value)
