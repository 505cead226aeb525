"""The ResNet-56 checkpoint of the shared data at 80 % LAMP: exact counts, and what recalibration gives back."""

import pytest

from core.analysis.evaluation import evaluate
from core.data.opening import open_data
from core.methods import prune
from core.models.opening import open_model
from core.pruning.plan import Plan


@pytest.mark.slow
def test_resnet56_at_80_percent_lamp(shared_data):
    model = open_model("resnet56", checkpoint=shared_data / "checkpoints" / "resnet56-4bfd9763.th")
    mean, std = (tuple(model.origin[key]) for key in ("mean", "std"))
    splits = open_data("cifar10", root=shared_data / "cifar10-mini", mean=mean, std=std)
    dense = evaluate(model, splits)
    assert int(dense.correct.sum()) == 943  # the value in the shared data's README

    scores = {}
    for recalibrate in (False, True):
        plan = Plan(allocation="lamp", sparsity=0.8, method_settings={"recalibrate": recalibrate})
        result = prune(model, splits, plan)
        assert result.removed == round(0.8 * result.size)
        scores[recalibrate] = evaluate(result.model, splits).score
    print(scores)
    assert scores[True] > 0.8
    assert scores[True] > scores[False] + 0.2
