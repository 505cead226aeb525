"""Shares of measured time: they sum to one, name the layers, and find the layer that does the work."""

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import mobilenet_v3_small

from core.analysis.cost import layer_table
from core.analysis.layer_times import OTHER, layer_times
from core.errors import Cancelled
from core.models.capture import trace
from core.progress import Progress


class Lopsided(nn.Module):
    """One layer does nearly all the work; another is called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.light = nn.Conv2d(3, 64, 1)
        self.heavy = nn.Conv2d(64, 64, 3, padding=1)
        self.twice = nn.Conv2d(64, 64, 1, groups=64)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.heavy(self.light(x)))
        return self.twice(self.twice(x)).mean((2, 3))


def test_shares_cover_every_layer_and_sum_to_one() -> None:
    model = trace(Lopsided().eval(), (3, 32, 32))
    shares = layer_times(model, batch_size=2, repeats=10)
    assert set(shares) == {"light", "heavy", "twice", OTHER}
    assert sum(shares.values()) == pytest.approx(1.0)
    assert all(share >= 0 for share in shares.values())


def test_every_parameterised_layer_of_a_real_network_is_named() -> None:
    model = trace(mobilenet_v3_small().eval(), (3, 32, 32))
    shares = layer_times(model, repeats=2)
    assert set(shares) == {row.name for row in layer_table(model)} | {OTHER}
    assert sum(shares.values()) == pytest.approx(1.0)


def test_the_model_is_left_as_it_was() -> None:
    model = trace(Lopsided().eval(), (3, 8, 8)).train()
    before = model.fingerprint()
    layer_times(model, repeats=1)
    assert model.training
    assert model.fingerprint() == before


def test_a_cancel_ends_it() -> None:
    class Stop(Progress):
        def check(self) -> None:
            raise Cancelled

    with pytest.raises(Cancelled):
        layer_times(trace(Lopsided().eval(), (3, 8, 8)), progress=Stop())


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"repeats": 0}])
def test_nothing_to_measure_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        layer_times(trace(Lopsided().eval(), (3, 8, 8)), **wrong)
