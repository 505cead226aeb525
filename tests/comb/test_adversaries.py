"""Models that a careless reading of the graph gets wrong: removals are exact, the rest is frozen in words."""

import pytest
import torch

from core.comb.combing import comb

from .adversaries import ADVERSARIES, FROZEN
from .checks import check_exact, traced

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize("name", ADVERSARIES)
def test_every_removal_is_exact(name: str) -> None:
    torch.manual_seed(0)
    model = traced(ADVERSARIES[name](), 16, task="segmentation" if name == "ManyOutputs" else "classification")
    found = check_exact(model)
    assert any(group.units > 1 for group in found.groups)
    for group in found.groups:
        for member in group.members:
            assert set(member.unit_of_index.tolist()) - {-1} == set(range(group.units))


@pytest.mark.parametrize("name", FROZEN)
def test_what_cannot_be_pruned_says_why_and_where(name: str) -> None:
    model = traced(ADVERSARIES[name](), 16, task="segmentation" if name == "ManyOutputs" else "classification")
    frozen = {group.name: str(group.frozen_reason) for group in comb(model).frozen}
    for layer, words in FROZEN[name].items():
        assert words in frozen[layer], frozen[layer]
        assert words in ("it is an output of the network", "all or none") or "adversaries.py" in frozen[layer]
