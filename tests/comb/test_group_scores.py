"""Criteria on groups, allocations over groups and budgets."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from core.comb.combing import comb
from core.comb.summary import summarise
from core.comb.survivors import Survivors
from core.errors import PlanError
from core.models.cifar_resnet import CifarResNet
from core.pruning.criteria import CalibrationContext
from core.pruning.groups import GROUP_ALLOCATIONS, GROUP_CRITERIA
from core.pruning.groups.allocation import GroupScores
from core.pruning.groups.base import score_groups
from core.pruning.groups.budget import Candidate, Limits, allowed, choose
from core.pruning.groups.choosing import choose_units, savings
from core.pruning.groups.lamp import lamp

from ..pruning.data import random_splits
from .adversaries import EinsumAttention, Shuffles, Transposed
from .checks import traced

pytestmark = pytest.mark.filterwarnings("ignore")

_MODELS = {"resnet20": lambda: traced(CifarResNet(20), 16), "attention": lambda: traced(EinsumAttention())}
_KNOWN: dict = {}


def _known(name):
    if name not in _KNOWN:
        model = _MODELS[name]()
        found = comb(model)
        _KNOWN[name] = found, CalibrationContext(splits=random_splits(model), images=16, batch_size=8), summarise(found)
    return _KNOWN[name]


@pytest.mark.parametrize("model", _MODELS)
@pytest.mark.parametrize("name", list(GROUP_CRITERIA))
def test_every_criterion_scores_every_unit_and_repeats(name: str, model: str) -> None:
    found, context, _ = _known(model)
    criterion = GROUP_CRITERIA[name]
    assert criterion.title
    assert criterion.reduction
    before = {key: value.clone() for key, value in found.model.state_dict().items()}
    scores = score_groups(name, found, context)
    assert list(scores) == [group.name for group in found.groups]
    for group in found.groups:
        assert scores[group.name].shape == (group.units,)
        assert (scores[group.name] >= 0).all()
        assert len(np.unique(scores[group.name])) > 1
    again = score_groups(name, found, context)
    assert all(np.array_equal(scores[key], again[key]) for key in scores)
    assert all(torch.equal(before[key], value) for key, value in found.model.state_dict().items())
    assert all(parameter.grad is None for _, parameter in found.model.named_parameters())


@pytest.mark.parametrize("name", ["magnitude", "magnitude_l1", "taylor", "fisher", "lamp"])
def test_a_unit_without_weights_matters_least(name: str) -> None:
    model = traced(CifarResNet(20), 16)
    found = comb(model)
    group = found.group("layer1.0.conv1")
    tensors = dict(model.graph_module.named_parameters())
    with torch.no_grad():
        for member in group.members:
            if member.tensor in tensors:
                tensors[member.tensor].index_fill_(member.dim, torch.tensor([5]), 0.0)
    scores = score_groups(name, found, CalibrationContext(splits=random_splits(model), images=8))[group.name]
    assert scores.argmin() == 5
    assert scores[5] == 0


def test_fisher_is_the_formula_of_cpd() -> None:
    model = traced(CifarResNet(20), 16)
    found = comb(model)
    group = found.group("layer1.0.conv1")
    splits = random_splits(model)
    context = CalibrationContext(splits=splits, images=8, batch_size=8)
    scores = score_groups("fisher", found, context)[group.name]
    draw = torch.Generator().manual_seed(0)
    ((x, y),) = splits.train.batches(8, shuffle=True, generator=draw, limit=8)
    torch.nn.functional.cross_entropy(model.eval().predict(x), y).backward()
    tensors = dict(model.graph_module.named_parameters())
    gates = []
    for name in ("layer1.0.conv1.weight", "layer1.0.bn1.weight", "layer1.0.bn1.bias"):
        product = tensors[name].detach() * tensors[name].grad
        gates.append(product.flatten(1).sum(1) if product.ndim > 1 else product)
    area = 8 * 16 * 16 * 16  # images × channels × height × width
    expected = sum(gate.square() / area for gate in gates) / 3 / 4  # mean over 3 makers, 4 parameters touched
    assert np.allclose(scores, expected.numpy(), rtol=1e-4)


@pytest.mark.row("B25")
def test_criteria_refuse_what_would_mean_nothing() -> None:
    model = traced(EinsumAttention())
    found = comb(model)
    with pytest.raises(PlanError, match="Unknown criterion for groups"):
        score_groups("nope", found, CalibrationContext())
    with pytest.raises(PlanError, match="choose a data set first"):
        score_groups("taylor", found, CalibrationContext())
    with torch.no_grad():
        model.prunable()["q"].weight[0, 0] = float("nan")
    with pytest.raises(PlanError, match=r"“q\.weight” holds NaN"):
        score_groups("magnitude", found, CalibrationContext())


def test_lamp_quotients() -> None:
    assert np.allclose(lamp(np.array([2.0, 1.0, 3.0])), [4 / 13, 1 / 14, 1.0])
    assert np.allclose(lamp(np.zeros(3)), 0)


@given(
    scores=st.lists(st.lists(st.floats(0, 10), min_size=2, max_size=20), min_size=1, max_size=5),
    target=st.floats(0, 0.6),
    allocation=st.sampled_from(list(GROUP_ALLOCATIONS)),
    round_to=st.sampled_from([1, 2, 4]),
)
@settings(max_examples=60, deadline=None)
def test_budget_in_channels_is_met_within_one_step(scores, target, allocation, round_to) -> None:
    groups = [GroupScores(str(i), i % 2, np.asarray(values)) for i, values in enumerate(scores)]
    order = GROUP_ALLOCATIONS[allocation].order(groups)
    candidates = [Candidate(group.name, order[group.name]) for group in groups]
    total = sum(len(values) for values in scores)
    limits = Limits(round_to, 0.1)

    def saved(removal) -> float:
        return sum(map(len, removal.values())) / total

    most = sum(allowed(candidate, limits)[-1] for candidate in candidates) / total
    if target > most + 1e-9:
        with pytest.raises(PlanError):
            choose(candidates, saved, target, limits=limits, fixed={})
        return
    removal = choose(candidates, saved, target, limits=limits, fixed={})
    assert abs(saved(removal) - target) <= max(round_to, 3) / total
    for candidate in candidates:
        units = removal.get(candidate.name, [])
        kept = len(candidate.values) - len(units)
        assert kept >= 1
        assert not units or kept % round_to == 0
        if units:  # the least valuable ones of the group go
            stay = np.delete(candidate.values, units)
            assert candidate.values[units].max() <= stay.min() + 1e-12


@pytest.mark.parametrize("budget", ["parameters", "macs", "channels"])
@pytest.mark.parametrize("allocation", list(GROUP_ALLOCATIONS))
def test_budgets_on_a_model(budget: str, allocation: str) -> None:
    found, context, sheet = _known("resnet20")
    scores = score_groups("magnitude", found, context)
    removal = choose_units(
        sheet, scores, 0.4, criterion="magnitude", allocation=allocation, budget=budget, limits=Limits(4, 0.1),
        overrides={"layer2.0.conv1": 0.5}, protected=("conv1",), kinds=("channels",),
    )  # fmt: skip
    left = sheet.counts(removal)
    saved = {
        "parameters": 1 - left.parameters / sheet.dense.parameters,
        "macs": 1 - left.macs / sheet.dense.macs,
        "channels": sum(map(len, removal.values())) / sum(group.units for group in found.groups),
    }[budget]
    assert abs(saved - 0.4) < 0.04
    assert "conv1" not in removal
    assert len(removal["layer2.0.conv1"]) == 16
    assert all((found.group(name).units - len(units)) % 4 == 0 for name, units in removal.items())


@pytest.mark.parametrize("allocation", list(GROUP_ALLOCATIONS))
@pytest.mark.parametrize("target", [0.3, 0.53, 0.6])
def test_a_step_that_overshoots_is_left_out_where_that_comes_nearer(allocation: str, target: float) -> None:
    """A unit of a residual stream reaches through many layers, and is a large part of the network."""
    found, context, sheet = _known("resnet20")
    scores = score_groups("magnitude", found, context)

    def missed(*, fill: bool) -> float:
        removal = choose_units(
            sheet, scores, target, criterion="magnitude", allocation=allocation, budget="macs", limits=Limits(4, 0.1),
            overrides={}, protected=(), kinds=("channels",), fill=fill,
        )  # fmt: skip
        for name, units in removal.items():  # inside a group the least valuable ones still go first
            stay = np.delete(scores[name], units)
            assert scores[name][units].max(initial=0.0) <= stay.min() + 1e-12
        return abs(1 - sheet.counts(removal).macs / sheet.dense.macs - target)

    assert missed(fill=True) <= missed(fill=False)
    assert missed(fill=True) < 0.02


def test_where_groups_meet_a_dimension_is_never_emptied() -> None:
    for kind in (Transposed, Shuffles):
        found = comb(traced(kind()))
        scores = score_groups("random", found, CalibrationContext(seed=3))
        removal = choose_units(
            summarise(found), scores, 0.55, criterion="random", allocation="uniform", budget="channels",
            limits=Limits(1, 0.0), overrides={}, protected=(), kinds=("channels",),
        )  # fmt: skip
        assert not Survivors(found, removal).emptied()


def test_the_gate_of_a_unit_is_what_a_real_gate_would_see() -> None:
    """The sum of squared derivatives, image by image, of a factor on everything that reads a unit."""
    from core.pruning.groups.gate_fisher import GateFisher

    model = traced(CifarResNet(20), 16).eval()
    found = comb(model)
    layer = model.graph_module.get_submodule("layer1.0.conv2")  # the only reader of the group
    context = CalibrationContext(splits=random_splits(model), images=8, batch_size=4)
    scores = GateFisher.score(found, context)["layer1.0.conv1"]
    assert not layer._forward_pre_hooks
    assert all(parameter.grad is None for parameter in model.graph_module.parameters())
    draw = torch.Generator().manual_seed(context.seed)
    batches = context.splits.train.batches(4, shuffle=True, generator=draw, limit=8)
    expected = np.zeros(16)
    for x, y in batches:
        for image, target in zip(x.split(1), y.split(1), strict=True):
            gate = torch.ones(1, 16, 1, 1, requires_grad=True)
            handle = layer.register_forward_pre_hook(lambda _, args, gate=gate: (args[0] * gate,))
            loss = torch.nn.functional.cross_entropy(model.predict(image), target.long())
            expected += torch.autograd.grad(loss, gate)[0].flatten().double().square().numpy()
            handle.remove()
    np.testing.assert_allclose(scores, expected, rtol=1e-3)


def test_per_saved_cost_expensive_units_go_first() -> None:
    _, _, sheet = _known("resnet20")
    saving = savings(sheet, "macs")
    assert saving["layer1.0.conv1"] > saving["layer3.2.conv1"]  # early layers work on more pixels
    scores = {group.name: np.linspace(1.0, 2.0, group.units) for group in sheet.groups}
    common = {
        "criterion": "magnitude", "allocation": "global", "budget": "macs", "limits": Limits(), "overrides": {},
        "protected": (), "kinds": ("channels",),
    }  # fmt: skip
    plain = choose_units(sheet, scores, 0.3, **common)
    per_mac = choose_units(sheet, scores, 0.3, **common, saving=saving)
    assert len(per_mac.get("layer1.0.conv1", ())) != len(plain.get("layer1.0.conv1", ()))
    assert sum(map(len, per_mac.values())) < sum(map(len, plain.values()))  # fewer units save as much


@pytest.mark.parametrize(
    ("overrides", "protected", "round_to", "message"),
    [
        ({"gone": 0.5}, (), 1, "no group or layer named “gone”"),
        ({"linear": 0.5}, (), 1, "output of the network"),
        ({"conv1": 0.5, "layer1.0.conv2": 0.3}, (), 1, "shrinks together with"),
        ({}, (), 128, "no group can shrink"),
    ],
)
def test_impossible_choices_say_what_to_do(overrides, protected, round_to, message) -> None:
    found, context, sheet = _known("resnet20")
    with pytest.raises(PlanError, match=message):
        choose_units(
            sheet, score_groups("magnitude", found, context), 0.4, criterion="magnitude", allocation="uniform",
            budget="parameters", limits=Limits(round_to, 0.1), overrides=overrides, protected=protected,
            kinds=("channels",),
        )  # fmt: skip


def test_listing_needs_no_torch() -> None:
    code = "import sys; import core.pruning.groups, core.methods; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
