"""Removing units is exact: the smaller network computes what the dense one does without the removed contributions."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import get_model

from core.comb.combing import comb
from core.comb.groups import Comb
from core.comb.surgery import remove
from core.comb.verify import verify
from core.errors import PlanError
from core.models.capture import trace
from core.models.cifar_resnet import CifarResNet
from core.models.traced import TracedModel

from .checks import random_removal

pytestmark = pytest.mark.filterwarnings("ignore")


class Tricky(nn.Module):
    """Concat, grouped and depthwise convolution, pixel shuffle, squeeze-excitation, slices, raw parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, 12, 3, padding=1)
        self.b = nn.Conv2d(3, 8, 3, padding=1)
        self.depthwise = nn.Conv2d(20, 40, 3, padding=1, groups=20)
        self.grouped = nn.Conv2d(40, 24, 3, padding=1, groups=4)
        self.norm = nn.BatchNorm2d(24)
        self.squeeze = nn.Conv2d(24, 6, 1)
        self.excite = nn.Conv2d(6, 24, 1)
        self.scale = nn.Parameter(torch.rand(1, 24, 1, 1))
        self.up = nn.Conv2d(12, 32, 1)
        self.shuffle = nn.PixelShuffle(2)
        self.groups = nn.GroupNorm(4, 8)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([self.a(x), self.b(x)], dim=1)
        x = self.norm(self.grouped(F.relu(self.depthwise(x))))
        x = x * torch.sigmoid(self.excite(F.relu(self.squeeze(x.mean((2, 3), keepdim=True))))) * self.scale
        first, second = x.chunk(2, dim=1)
        x = self.shuffle(self.up(first + second[:, :]))
        x = self.groups(x)
        return self.head(x.mean((2, 3)))


def _prepared(module: nn.Module, size: int, task: str = "classification") -> TracedModel:
    torch.manual_seed(0)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.1)
            layer.running_var.uniform_(0.5, 1.5)
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias, 0, 0.1)
        elif isinstance(layer, nn.Linear):  # some heads start at zero
            nn.init.normal_(layer.weight, 0, layer.in_features**-0.5)
    return trace(module.eval(), (3, size, size), task=task)  # type: ignore[arg-type]


MODELS = {
    "resnet20": lambda: _prepared(CifarResNet(20), 32),
    "tricky": lambda: _prepared(Tricky(), 16),
    "mobilenet_v3_small": lambda: _prepared(get_model("mobilenet_v3_small", weights=None), 64),
    "squeezenet1_1": lambda: _prepared(get_model("squeezenet1_1", weights=None), 64),
    "shufflenet_v2_x0_5": lambda: _prepared(get_model("shufflenet_v2_x0_5", weights=None), 32),
}
SLOW = ("mobilenet_v3_small", "squeezenet1_1")
NAMES = [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in MODELS]
_KNOWN: dict[str, tuple[TracedModel, Comb]] = {}


def combed(name: str) -> tuple[TracedModel, Comb]:
    if name not in _KNOWN:
        model = MODELS[name]()
        _KNOWN[name] = model, comb(model)
    return _KNOWN[name]


def choice(found: Comb, seed: int, *, ratio: float = 0.3) -> dict[str, list[int]]:
    return random_removal(found, seed, ratio=ratio)


@pytest.mark.parametrize("name", NAMES)
@given(seed=st.integers(0, 2**31), ratio=st.floats(0.05, 0.9))
@settings(max_examples=3, deadline=None)
def test_removal_is_exact(name: str, seed: int, ratio: float) -> None:
    model, found = combed(name)
    removal = choice(found, seed, ratio=ratio)
    pruned = remove(found, removal)
    images = torch.randn(2, *model.input_shape, generator=torch.Generator().manual_seed(seed))
    proof = verify(found, removal, pruned, images)
    assert proof.exact, proof
    assert proof.passed


@pytest.mark.parametrize("name", NAMES)
def test_all_groups_shrink_together_and_the_result_trains_and_reloads(name: str, tmp_path) -> None:
    model, found = combed(name)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    pruned = remove(found, choice(found, 1))
    for batch in (1, 2, 7):
        images = torch.randn(batch, *model.input_shape)
        assert pruned.eval().predict(images).shape == model.eval().predict(images).shape
    pruned.train().predict(torch.randn(4, *model.input_shape)).square().mean().backward()
    assert all(parameter.grad is not None for _, parameter in pruned.named_parameters())
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())  # the dense one is whole
    pruned.eval().save(tmp_path)
    images = torch.randn(2, *model.input_shape)
    assert torch.equal(TracedModel.load(tmp_path).predict(images), pruned.predict(images))


@pytest.mark.parametrize("name", NAMES)
def test_surgeries_compose(name: str) -> None:
    _, found = combed(name)
    first = choice(found, 2)
    once = remove(found, first)
    again = comb(once)
    smaller = {group.name: group.units - len(first.get(group.name, ())) for group in found.groups}
    found_again = {group.name: group.units for group in again.groups if group.units > 1}
    assert found_again == {name: units for name, units in smaller.items() if units > 1}
    removal = choice(again, 3)
    twice = remove(again, removal)
    assert verify(again, removal, twice, torch.randn(2, *once.input_shape)).exact


@pytest.mark.row("B26")
def test_residual_channels_are_one_group_through_all_blocks_of_a_stage() -> None:
    _, found = combed("resnet20")
    group = found.group("conv1")
    assert {"conv1", "layer1.0.conv2", "layer1.1.conv2", "layer1.2.conv2"} <= set(group.layers)
    assert group.units == 16


def test_the_classes_stay_and_the_reason_is_told() -> None:
    _, found = combed("resnet20")
    frozen = {group.name: group.frozen_reason for group in found.frozen}
    assert "output of the network" in str(frozen["linear"])


def test_impossible_removals_are_refused_in_words() -> None:
    _, found = combed("resnet20")
    with pytest.raises(PlanError, match="no group “nonsense”"):
        remove(found, {"nonsense": [0]})
    with pytest.raises(PlanError, match="units 0 to 15"):
        remove(found, {"conv1": [16]})
    with pytest.raises(PlanError, match="must stay"):
        remove(found, {"conv1": list(range(16))})


@pytest.mark.row("B27")
def test_an_unknown_operation_freezes_what_it_touches() -> None:
    class Sorted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(48, 10)
            self.free = nn.Linear(10, 6)
            self.last = nn.Linear(6, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = self.first(x.flatten(1)).sort(dim=1).values
            return self.last(self.free(x))

    found = comb(trace(Sorted().eval(), (3, 4, 4)))
    assert [group.name for group in found.groups] == ["free"]
    assert "mixed along" in str(next(group for group in found.frozen if group.name == "first").frozen_reason)


def test_two_sessions_comb_and_prune_at_the_same_time() -> None:
    def session(name: str) -> tuple[list[tuple[str, int]], int]:
        model = MODELS[name]()
        found = comb(model)
        pruned = remove(found, choice(found, 5))
        return [(group.name, group.units) for group in found.groups], sum(
            p.numel() for _, p in pruned.named_parameters()
        )

    names = ["resnet20", "tricky", "resnet20", "tricky"]
    alone = [session(name) for name in names[:2]] * 2
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(session, names)) == alone
