"""The sample models: what their cards say is true, and they hold what pruning must handle."""

from pathlib import Path

import pytest
import torch
from torch import nn

from core.analysis.evaluation import evaluate
from core.data.opening import open_data
from core.models.opening import open_model
from sample_models import SAMPLES
from sample_models.networks import NETWORKS
from sample_models.train import RECIPES, Recipe, train

FEW = 200


def test_every_sample_has_a_network_a_recipe_a_card_and_weights() -> None:
    assert set(SAMPLES) == set(NETWORKS) == set(RECIPES)
    for info in SAMPLES.values():
        assert info.weights_file.exists()
        assert info.weights_file.stat().st_size < 1_000_000
        assert info.card_file.exists()


@pytest.mark.parametrize("name", SAMPLES)
class TestSample:
    def test_card_states_what_the_network_is(self, name: str) -> None:
        info = SAMPLES[name]
        network = NETWORKS[name](info.num_classes)
        assert info.facts["parameters"] == sum(parameter.numel() for parameter in network.parameters())
        assert info.facts["low"] <= info.facts["score"] <= info.facts["high"]
        text = info.card_file.read_text()
        assert f"n = {info.facts['n']} images" in text
        assert f"python -m sample_models.train {name}" in text
        output = network.eval()(torch.zeros(2, *info.input_shape))
        assert output.shape[:2] == (2, info.num_classes)
        if info.task == "segmentation":
            assert output.shape[2:] == info.input_shape[1:]

    def test_card_belongs_to_the_data_as_they_are(self, name: str) -> None:
        info = SAMPLES[name]
        splits = open_data(info.data)
        assert info.facts["data_fingerprint"] == splits.fingerprint, "retrain: python -m sample_models.train"
        assert tuple(info.facts["mean"]) == splits.mean
        assert splits.input_shape == info.input_shape
        assert splits.class_names == info.class_names
        assert splits.task == info.task

    def test_opened_model_is_as_good_as_the_card_says_on_a_part(self, name: str) -> None:
        model = open_model(name)
        found = evaluate(model, open_data(SAMPLES[name].data), "test", limit=FEW)
        facts = SAMPLES[name].facts
        assert found.metric == facts["metric"]
        assert found.interval[0] - 0.02 <= facts["score"] <= found.interval[1] + 0.02
        assert model.origin["class_names"] == list(SAMPLES[name].class_names)
        assert model.origin["mean"] == facts["mean"]

    @pytest.mark.slow
    def test_opened_model_is_exactly_as_good_as_the_card_says(self, name: str) -> None:
        found = evaluate(open_model(name), open_data(SAMPLES[name].data), "test")
        facts = SAMPLES[name].facts
        assert found.n == facts["n"]
        assert found.score == pytest.approx(facts["score"], abs=1e-3)  # other machines round otherwise

    def test_it_leaves_room_for_pruning(self, name: str) -> None:
        facts = SAMPLES[name].facts
        assert facts["score"] > (0.75 if SAMPLES[name].task == "segmentation" else 0.97)
        assert facts["parameters"] > 100_000


def test_the_networks_hold_what_pruning_must_handle() -> None:
    layers = [layer for build in NETWORKS.values() for layer in build().modules()]
    convolutions = [layer for layer in layers if isinstance(layer, nn.Conv2d)]
    assert any(1 < layer.groups == layer.in_channels for layer in convolutions), "depthwise"
    assert any(layer.stride[0] > 1 and layer.kernel_size[0] == 1 for layer in convolutions), "projected shortcut"
    assert any(layer.dilation[0] > 1 for layer in convolutions)
    assert {nn.BatchNorm2d, nn.LayerNorm, nn.Linear} <= {type(layer) for layer in layers}


@pytest.mark.parametrize("name", SAMPLES)
def test_training_lowers_the_loss_and_repeats_exactly(name: str) -> None:
    info = SAMPLES[name]
    splits = open_data(info.data, limit=64)
    recipe = Recipe(epochs=2, learning_rate=RECIPES[name].learning_rate, batch_size=32)
    states = []
    for _ in range(2):
        torch.manual_seed(0)
        network = NETWORKS[name](info.num_classes)
        train(network, splits, recipe, say=False)
        assert not network.training
        states.append(network.state_dict())
    for key, tensor in states[0].items():
        assert torch.equal(tensor, states[1][key]), key


def test_a_checkpoint_of_the_sample_can_be_brought_back(tmp_path: Path) -> None:
    model = open_model("digits_resnet")
    torch.save(NETWORKS["digits_resnet"](4).state_dict(), tmp_path / "four.pt")
    other = open_model("digits_resnet", checkpoint=tmp_path / "four.pt")
    assert (model.num_classes, other.num_classes) == (10, 4)
    assert "class_names" not in other.origin
