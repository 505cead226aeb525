"""Contract of every criterion over the registry, and Wanda against a slow reference."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from core.errors import PlanError
from core.pruning.activations import conv_input_energy, input_energy, linear_input_energy
from core.pruning.criteria import CRITERIA, CalibrationContext, score_layers

from .data import random_splits
from .networks import mixed, tied


def _context(model, **fields):
    return CalibrationContext(splits=random_splits(model, train=24), images=24, batch_size=7, **fields)


@pytest.mark.parametrize("name", list(CRITERIA))
class TestEveryCriterion:
    @pytest.mark.parametrize("build", [mixed, tied])
    def test_scores_are_finite_nonnegative_and_shaped_like_weights(self, name, build):
        model = build()
        scores = score_layers(name, model, list(model.prunable()), _context(model))
        for layer, module in model.prunable().items():
            assert scores[layer].shape == module.weight.shape
            assert scores[layer].dtype == torch.float32
            assert torch.all(scores[layer] >= 0)
            assert torch.all(torch.isfinite(scores[layer]))

    def test_repeats_and_leaves_the_model_alone(self, name):
        model = mixed().train()
        before = {k: v.clone() for k, v in model.state_dict().items()}
        first = score_layers(name, model, list(model.prunable()), _context(model))
        second = score_layers(name, model, list(model.prunable()), _context(model))
        assert all(torch.equal(first[k], second[k]) for k in first)
        assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
        assert model.graph_module.training

    def test_layers_do_not_depend_on_each_other(self, name):
        model = mixed()
        names = list(model.prunable())
        together = score_layers(name, model, names, _context(model))
        alone = score_layers(name, model, names[::-1][:2], _context(model))
        assert all(torch.equal(alone[k], together[k]) for k in alone)

    @pytest.mark.row("B14")
    def test_refuses_weights_that_are_not_finite_and_names_the_layer(self, name):
        model = mixed()
        with torch.no_grad():
            model.prunable()["pointwise"].weight[0, 0] = float("nan")
        with pytest.raises(PlanError, match="“pointwise”"):
            score_layers(name, model, list(model.prunable()), _context(model))

    def test_says_whether_it_needs_data(self, name):
        model = mixed()
        if CRITERIA[name].needs_data:
            with pytest.raises(PlanError, match="needs training images"):
                score_layers(name, model, list(model.prunable()), CalibrationContext())
        else:
            assert score_layers(name, model, list(model.prunable()), CalibrationContext())

    def test_menu_has_a_sentence(self, name):
        assert CRITERIA.summary(name).endswith(".")
        assert CRITERIA[name].title


def test_unknown_criterion_lists_the_known():
    with pytest.raises(PlanError, match=r"known: .*magnitude"):
        score_layers("nope", mixed(), [], CalibrationContext())


def test_random_changes_with_the_seed():
    model = mixed()
    one, two = (score_layers("random", model, ["stem"], CalibrationContext(seed=s))["stem"] for s in (0, 1))
    assert not torch.equal(one, two)


@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv2d(6, 8, 3),
        nn.Conv2d(6, 8, (3, 5), stride=(2, 3), padding=(1, 2), dilation=(2, 1)),
        nn.Conv2d(6, 9, 3, padding="same", groups=3, dilation=2),
        nn.Conv2d(6, 6, 4, padding=2, groups=6, padding_mode="reflect"),
        nn.Conv2d(6, 8, 3, padding=1, padding_mode="circular", stride=2),
        nn.Conv1d(6, 4, 3, padding=1, groups=2),
        nn.Conv3d(6, 4, 2, stride=2),
    ],
    ids=str,
)
def test_input_energy_of_convolutions_equals_the_weight_gradient_of_squares(conv):
    """Σ of squared inputs under weight w = ∂(Σ output)/∂w of the same convolution over squared inputs."""
    dims = len(conv.kernel_size)
    x = torch.randn(3, 6, *((11, 13, 6)[:dims]))
    reference = nn.Module.__new__(type(conv))
    reference.__dict__.update(conv.__dict__)
    weight = torch.zeros_like(conv.weight, dtype=torch.float64, requires_grad=True)
    conv._conv_forward(x.double().square(), weight, None).sum().backward()
    energy = conv_input_energy(x, conv)
    per_row = energy.repeat_interleave(conv.out_channels // conv.groups, dim=0)
    torch.testing.assert_close(per_row, weight.grad)


def test_input_energy_equals_unfold():
    conv, x = nn.Conv2d(4, 6, 3, stride=2, padding=1), torch.randn(5, 4, 9, 9)
    unfolded = F.unfold(x.double(), 3, stride=2, padding=1)  # [N, 4·9, L]
    expected = unfolded.square().sum((0, 2)).reshape(1, 4, 3, 3)
    torch.testing.assert_close(conv_input_energy(x, conv), expected)


def test_input_energy_of_linear_layers_sums_all_leading_dimensions():
    x = torch.randn(2, 7, 5)
    torch.testing.assert_close(linear_input_energy(x)[0], x.double().reshape(-1, 5).square().sum(0))


def test_calibration_batches_add_up_to_one_big_batch():
    model = mixed()
    splits, names = random_splits(model, train=24), list(model.prunable())
    small = input_energy(model, names, CalibrationContext(splits=splits, images=24, batch_size=5))
    large = input_energy(model, names, CalibrationContext(splits=splits, images=24, batch_size=24))
    for name in names:
        torch.testing.assert_close(small[name], large[name], rtol=1e-5, atol=1e-6)


def test_wanda_ranks_a_weight_on_silent_input_last():
    model = mixed()
    scores = score_layers("wanda", model, ["head"], _context(model))["head"]
    energy = input_energy(model, ["head"], _context(model))["head"][0]
    expected = model.prunable()["head"].weight.detach().abs() * energy.sqrt().float()
    torch.testing.assert_close(scores, expected)
