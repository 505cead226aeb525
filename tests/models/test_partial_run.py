"""Runs that start in the middle of the graph equal whole runs, bit for bit."""

import pytest
import torch
import torchvision

from core.errors import ModelError
from core.models.capture import trace
from core.models.traced import TracedModel

from . import invariants
from .examples import EXAMPLES


def _models() -> dict[str, TracedModel]:
    torch.manual_seed(0)
    found = {name: trace(EXAMPLES[name](), (3, 16, 16)) for name in ("tied", "in_place", "mixed", "size_arithmetic")}
    found["two_outputs"] = trace(EXAMPLES["two_outputs"](), (3, 16, 16), task="segmentation")
    found["densenet"] = trace(torchvision.models.DenseNet(8, (2, 2), 16, num_classes=10), (3, 32, 32))
    return found


MODELS = _models()


@pytest.mark.parametrize("name", MODELS)
def test_resuming_equals_predicting(name: str) -> None:
    model = MODELS[name].eval()
    x = invariants.images(model, 3)
    with torch.no_grad():
        whole = model.predict(x)
        for layer in model.prunable():
            assert torch.equal(model.resume(model.prefix(x, layer), layer), whole), layer


@pytest.mark.parametrize("name", MODELS)
def test_changed_weights_are_used_and_the_prefix_stays_usable(name: str) -> None:
    model = MODELS[name].clone().eval()
    x = invariants.images(model, 2)
    with torch.no_grad():
        for layer, module in model.prunable().items():
            before = module.weight.clone()
            activations = model.prefix(x, layer)
            clean = model.resume(activations, layer)
            for factor in (0.0, -1.5):
                module.weight.copy_(before * factor)
                assert torch.equal(model.resume(activations, layer), model.predict(x)), layer
            module.weight.copy_(before)
            assert torch.equal(model.resume(activations, layer), clean), layer


def test_only_what_the_rest_needs_is_kept() -> None:
    model = MODELS["densenet"]
    last = list(model.prunable())[-1]
    activations = model.prefix(invariants.images(model, 2), last)
    assert len(activations) == 1
    assert model.suffix(last)[0].target == last
    assert model.suffix(last)[-1].op == "output"
    assert len(model.suffix(last)) < len(model.suffix(next(iter(model.prunable()))))


def test_a_tied_weight_starts_at_its_first_use() -> None:
    model = MODELS["tied"]
    assert model.suffix("down")[0].target == "up"


def test_unknown_layers_are_refused() -> None:
    with pytest.raises(ModelError, match="no layer named “nothing”"):
        MODELS["tied"].suffix("nothing")
