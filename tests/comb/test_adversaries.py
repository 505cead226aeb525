"""Models that a careless reading of the graph gets wrong: removals are exact, the rest is frozen in words."""

import re
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from core.comb.combing import comb
from core.comb.groups import Comb
from core.comb.surgery import remove
from core.comb.verify import verify

from .adversaries import ADVERSARIES, FROZEN, Attention, TrainingHead
from .checks import check_exact, check_trains, images, random_removal, traced, zeroed_difference

pytestmark = pytest.mark.filterwarnings("ignore")

NOT_ZERO_AT_ZERO = {
    "LinearAttention": "elu(0) + 1 is 1",
    "Norms": "sigmoid(0) is 0.5, which the norm of a vector counts",
    "RawParameters": "a kernel is divided by its norm, 0 / 0",
}
"""Where weights of 0 do not give contributions of 0, so that there is no second opinion, and why."""


@cache
def combed(name: str) -> Comb:
    torch.manual_seed(0)
    return comb(traced(ADVERSARIES[name](), 16, task="segmentation" if name == "ManyOutputs" else "classification"))


@pytest.mark.row("B26")
@pytest.mark.parametrize("name", ADVERSARIES)
def test_every_removal_is_exact(name: str) -> None:
    found = check_exact(combed(name).model)
    assert any(group.units > 1 for group in found.groups)
    for group in found.groups:
        for member in group.members:
            assert set(member.unit_of_index.tolist()) - {-1} == set(range(group.units))


@pytest.mark.parametrize("name", [name for name in ADVERSARIES if name not in NOT_ZERO_AT_ZERO])
def test_zeroed_weights_give_the_same_network(name: str) -> None:
    found = combed(name)
    difference = zeroed_difference(found, images(found.model))
    assert difference is None or difference < 1e-5


@given(
    name=st.sampled_from(list(ADVERSARIES)),
    seed=st.integers(0, 2**31),
    ratio=st.floats(0.02, 0.98),
    batch=st.sampled_from([1, 2, 7]),
)
@settings(max_examples=40, deadline=None)
def test_any_choice_of_units_is_exact(name: str, seed: int, ratio: float, batch: int) -> None:
    found = combed(name)
    removal = random_removal(found, seed, ratio=ratio)
    proof = verify(found, removal, remove(found, removal), images(found.model, batch, seed % 1000))
    assert proof.passed, proof


@pytest.mark.row("B27")
@pytest.mark.parametrize("name", ADVERSARIES)
def test_what_cannot_be_pruned_says_why_and_where(name: str) -> None:
    frozen = {group.name: str(group.frozen_reason) for group in combed(name).frozen}
    for layer, words in FROZEN.get(name, {}).items():
        assert words in frozen[layer], frozen[layer]
    for reason in frozen.values():
        at_end = reason in ("it is an output of the network", "it has a single channel")
        assert at_end or re.search(r"“\w+”.* at \S*adversaries\.py:\d+", reason), reason


@pytest.mark.parametrize("kind", ["heads", "head_width"])
def test_attention_loses_whole_heads_or_width_and_keeps_its_scale(kind: str) -> None:
    found = combed("Attention")
    groups = [group for group in found.groups if group.kind == kind]
    assert [group.units for group in groups if kind == "heads"] == ([4, 2] if kind == "heads" else [])
    difference = zeroed_difference(found, images(found.model), kinds=(kind,))
    assert difference is not None
    assert difference < 1e-5  # scores of the remaining heads and widths are what they were


def test_attention_with_one_head_less_is_what_torch_computes_without_it() -> None:
    torch.manual_seed(0)
    module = Attention().eval()
    found = comb(traced(module))
    name = next(group.name for group in found.groups if group.kind == "heads" and "own" in group.name)
    pruned = remove(found, {name: [1]})
    with torch.no_grad():
        module.own.out_proj.weight[:, 4:8] = 0  # the second of four heads, by hand
        assert torch.allclose(pruned.predict(images(pruned)), module(images(pruned)), rtol=1e-5, atol=1e-6)


def test_heads_of_training_and_unused_layers_are_left_out() -> None:
    found = combed("TrainingHead")
    assert not {"aux", "unused"} & {layer for group in found.groups for layer in group.layers}
    pruned = remove(found, {"a": [0, 3]})
    assert dict(pruned.named_parameters()).keys() == dict(found.model.named_parameters()).keys()
    check_trains(pruned)
    assert isinstance(TrainingHead().train()(images(pruned)), tuple)


@pytest.mark.row("B25")
def test_frozen_parameters_stay_frozen_and_shrink() -> None:
    found = combed("FrozenPath")
    pruned = remove(found, {group.name: [0] for group in found.groups})
    assert pruned.graph_module.a.weight.shape[0] == 7
    assert not pruned.graph_module.a.weight.requires_grad
    assert pruned.graph_module.b.weight.requires_grad


@pytest.mark.parametrize("training", [True, False])
def test_the_dense_model_and_its_mode_stay_as_they_are(training: bool) -> None:
    found = combed("Transposed")
    found.model.train(training)
    before = {key: value.clone() for key, value in found.model.state_dict().items()}
    removal = random_removal(found, 3)
    pruned = remove(found, removal)
    assert verify(found, removal, pruned, images(pruned)).passed
    assert all(module.training == training for module in pruned.graph_module.modules() if isinstance(module, nn.Conv2d))
    assert all(module.training == training for module in found.model.graph_module.modules())
    assert all(torch.equal(before[key], value) for key, value in found.model.state_dict().items())


def test_sessions_in_threads_do_not_see_each_other() -> None:
    names = ["EinsumAttention", "Shuffles", "EinsumAttention", "Pieces", "Shuffles", "Pieces"]

    def session(name: str) -> tuple[list[tuple[str, int]], float]:
        torch.manual_seed(0)
        model = traced(ADVERSARIES[name]())
        found = comb(model)
        removal = random_removal(found, 5)
        proof = verify(found, removal, remove(found, removal), images(model))
        assert proof.passed
        return [(group.name, group.units) for group in found.groups], proof.passed

    alone = [session(name) for name in names[:4]]
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(session, names))
    assert together[:4] == alone
