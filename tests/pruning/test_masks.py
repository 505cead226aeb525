"""Masks remove exactly what was asked for, deterministically, and nothing else."""

import time

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from core.errors import PlanError
from core.pruning.masks import (
    apply_masks,
    extract_masks,
    keep_largest,
    keep_largest_per_row,
    mask_statistics,
    masks_for,
    parametrise,
    remove_parametrisation,
)

from .networks import mixed, tied


@st.composite
def score_tables(draw):
    shape = draw(st.sampled_from([(1, 1), (7, 5), (4, 3, 3, 3), (6, 1, 3, 3), (10,)]))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 999)))
    steps = draw(st.sampled_from([1, 2, 4, 10**6]))  # few steps: many ties
    return torch.randint(0, steps, shape, generator=generator).float()


@pytest.mark.row("B35")
@given(scores=score_tables(), share=st.floats(0, 1))
def test_equals_a_stable_sort(scores, share):
    remove = round(share * scores.numel())
    expected = torch.ones(scores.numel(), dtype=torch.bool)
    expected[torch.sort(scores.flatten(), stable=True).indices[:remove]] = False
    mask = keep_largest(scores, remove)
    assert mask.shape == scores.shape
    assert torch.equal(mask.flatten(), expected)


@given(scores=score_tables(), share=st.floats(0, 1))
def test_rows_lose_the_same_and_the_sum_is_exact(scores, share):
    remove = round(share * scores.numel())
    mask = keep_largest_per_row(scores, remove)
    removed = (~mask).reshape(scores.shape[0], -1).sum(1)
    assert int(removed.sum()) == remove
    assert int(removed.max() - removed.min()) <= 1
    for row, kept, gone in zip(scores, mask, removed, strict=True):
        assert torch.equal(kept, keep_largest(row, int(gone)))


def test_refuses_a_count_that_does_not_fit():
    with pytest.raises(PlanError, match="Between 0 and 4"):
        keep_largest(torch.zeros(4), 5)


def test_two_and_a_half_million_weights_are_quick():
    scores = torch.rand(2_500_000)
    start = time.process_time()
    assert int((~keep_largest(scores, 2_000_000)).sum()) == 2_000_000
    assert time.process_time() - start < 1.0


def test_apply_writes_zeros_only_where_the_mask_says():
    model = mixed()
    before = {n: m.weight.detach().clone() for n, m in model.prunable().items()}
    masks = masks_for({n: w.abs() for n, w in before.items()}, {n: w.numel() // 2 for n, w in before.items()})
    apply_masks(model, masks)
    for name, module in model.prunable().items():
        assert torch.equal(module.weight, before[name] * masks[name])
        assert torch.equal(extract_masks(model)[name], masks[name])


@pytest.mark.parametrize("build", [mixed, tied])
def test_parametrised_equals_applied_and_comes_off_again(build):
    model, permanent = build(), build()
    x = torch.randn(3, *model.input_shape)
    masks = {n: torch.rand(m.weight.shape) > 0.5 for n, m in list(model.prunable().items())[:2]}
    apply_masks(permanent, masks)
    dense = model.predict(x)
    keys = set(model.state_dict())
    parametrise(model, masks)
    torch.testing.assert_close(model.predict(x), permanent.predict(x))
    remove_parametrisation(model, apply=False)
    torch.testing.assert_close(model.predict(x), dense)
    assert set(model.state_dict()) == keys
    parametrise(model, masks)
    remove_parametrisation(model)
    torch.testing.assert_close(model.predict(x), permanent.predict(x))


def test_hidden_weights_get_no_gradient_and_keep_their_value():
    model = mixed()
    name, module = next(iter(model.prunable().items()))
    stored = module.weight.detach().clone()
    mask = torch.rand(stored.shape) > 0.5
    parametrise(model, {name: mask})
    model.predict(torch.randn(2, *model.input_shape)).square().sum().backward()
    original = module.parametrizations.weight.original
    assert torch.equal(original, stored)
    assert torch.all(original.grad[~mask] == 0)
    assert torch.any(original.grad[mask] != 0)


def test_statistics_say_what_went_where():
    model = mixed()
    weight = model.prunable()["grouped"].weight
    mask = torch.ones_like(weight, dtype=torch.bool)
    mask[2] = False
    mask[5, 0] = False
    row = mask_statistics(model, {"grouped": mask})[0]
    energy = weight.detach().square()
    assert (row["name"], row["kind"], row["size"], row["channels"]) == ("grouped", "Conv2d", weight.numel(), 12)
    assert row["removed"] == weight[2].numel() + 9
    assert row["nonzero"] == row["size"] - row["removed"]
    assert row["empty_channels"] == 1
    assert row["energy_removed"] == pytest.approx(float(energy[~mask].sum() / energy.sum()))
