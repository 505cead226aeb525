"""Counts without tensors equal the counts of the pruned model, and come at once."""

import time

import pytest
from torchvision.models import get_model

from core.analysis.cost import count_macs, count_parameters, layer_table
from core.comb.combing import comb
from core.comb.preview import Previewer, preview
from core.comb.surgery import remove
from core.models.cifar_resnet import CifarResNet

from .adversaries import ADVERSARIES
from .checks import random_removal, traced

pytestmark = pytest.mark.filterwarnings("ignore")

MODELS = {
    "resnet20": lambda: traced(CifarResNet(20), 32),
    "shufflenet": lambda: traced(get_model("shufflenet_v2_x0_5", weights=None), 32),
    **{name: (lambda kind=kind: traced(kind())) for name, kind in ADVERSARIES.items() if name != "ManyOutputs"},
}


@pytest.mark.parametrize("name", MODELS)
def test_counts_equal_those_of_the_pruned_model(name: str) -> None:
    model = MODELS[name]()
    found = comb(model)
    previewer = Previewer(found)
    assert (previewer.dense.parameters, previewer.dense.macs) == (count_parameters(model), count_macs(model))
    for seed, ratio in enumerate((0.3, 0.8)):
        removal = random_removal(found, seed, ratio=ratio)
        pruned, counted = remove(found, removal), previewer(removal)
        assert counted.parameters == count_parameters(pruned)
        assert counted.macs == count_macs(pruned)
        for row in layer_table(pruned):
            if row.weight_shape is not None and row.kind != "Parameter" and row.name in counted.weight_shapes:
                assert counted.weight_shapes[row.name] == tuple(row.weight_shape)
            if row.prunable:
                assert counted.layer_macs[row.name] == row.macs


def test_preview_of_resnet56_takes_milliseconds() -> None:
    found = comb(traced(CifarResNet(56), 32))
    previewer = Previewer(found)
    removals = [random_removal(found, seed) for seed in range(5)]
    started = time.thread_time()
    counts = [previewer(removal) for removal in removals]
    seconds = (time.thread_time() - started) / len(removals)
    assert seconds < 0.1, seconds
    assert counts[0] == preview(found, removals[0])
    assert counts[0].macs < previewer.dense.macs
