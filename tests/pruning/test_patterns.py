"""N:M patterns: exact masks in every block, in every method that masks weights, refused where a layer cannot."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import PlanError
from core.methods import prune
from core.models.capture import trace
from core.pruning.allocation import LayerScores, allocate
from core.pruning.criteria import CalibrationContext
from core.pruning.gradual import masks_at, pattern_shares, plan_at
from core.pruning.masks import keep_pattern
from core.pruning.patterns import PATTERNS, Pattern, pattern_of, pattern_problem
from core.pruning.plan import PLAN_VERSION, Plan
from core.pruning.schedules import SCHEDULES
from tests.pruning.data import random_splits
from tests.pruning.networks import Mixed, Tied


@pytest.fixture
def model():
    torch.manual_seed(0)
    return trace(Mixed().eval(), (3, 16, 16))


def blocks(mask: torch.Tensor, of: int) -> torch.Tensor:
    """[blocks, of], the slow and obvious way: neighbours along the input dimension."""
    rows = []
    flat = mask.reshape(mask.shape[0], mask.shape[1], -1)
    for out in range(flat.shape[0]):
        for place in range(flat.shape[2]):
            column = flat[out, :, place]
            rows += [column[start : start + of] for start in range(0, len(column), of)]
    return torch.stack(rows)


SHAPES = st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(0, 2), st.integers(1, 3))


@given(SHAPES, st.sampled_from([*PATTERNS, "3:4", "1:2", "7:8"]), st.integers(0, 2**31))
@settings(max_examples=60, deadline=None)
def test_every_block_keeps_its_largest(sizes, text, seed):
    out, groups, rank, kernel = sizes
    pattern = pattern_of(text)
    draw = torch.Generator().manual_seed(seed)
    # few values: ties are the rule
    scores = torch.randint(0, 4, (out, groups * pattern.of, *[kernel] * rank), generator=draw).float()
    mask = keep_pattern(scores, pattern)
    kept, values = blocks(mask, pattern.of), blocks(scores, pattern.of)
    assert bool((kept.sum(1) == pattern.keep).all())
    for keep, value in zip(kept, values, strict=True):
        assert value[keep].min() >= value[~keep].max()
    assert int((~mask).sum()) == pattern.removed(mask.numel())


@given(st.integers(0, 100), st.integers(0, 2**31))
@settings(max_examples=30, deadline=None)
def test_on_the_way_a_mask_lies_inside_the_pattern(remove, seed):
    scores = torch.rand(4, 8, 3, 3, generator=torch.Generator().manual_seed(seed))
    whole = keep_pattern(scores, Pattern(2, 4))
    part = keep_pattern(scores, Pattern(2, 4), remove=remove)
    assert int((~part).sum()) == remove
    assert not bool((~part & whole).any())


@pytest.mark.parametrize(
    "text", ["", "2", "2:", ":4", "4:4", "5:4", "0:4", "2:33", "2:4 ", "２:4", "-2:4", "2/4", "99:100"]
)
def test_what_is_no_pattern(text):
    with pytest.raises(ValueError, match="a pattern is N:M"):
        pattern_of(text)
    with pytest.raises(PlanError, match=r"“patterns”.*N:M"):
        Plan.parse({"patterns": {"conv": text}})


def test_old_plans_are_read_and_new_ones_survive_their_file():
    old = {"version": 1, "sparsity": 0.3, "overrides": {"conv": 0.5}}
    assert Plan.parse(old) == Plan(sparsity=0.3, overrides={"conv": 0.5})
    plan = Plan(patterns={"conv": "2:4"}, start="abc")
    assert Plan.from_text(plan.to_text()) == plan
    assert json.loads(plan.to_text())["version"] == PLAN_VERSION == 2


class TestAllocate:
    layers = (LayerScores("a", (8, 16, 3, 3), 1152), LayerScores("b", (8, 6), 48), LayerScores("c", (10, 100), 1000))

    def test_the_free_layers_share_the_sparsity_alone(self):
        plan = Plan(sparsity=0.25, patterns={"a": "2:4"}, overrides={"b": 0.5}, allocation="uniform")
        assert allocate(self.layers, plan) == {"a": 576, "b": 24, "c": 250}

    @pytest.mark.parametrize(
        ("fields", "words"),
        [
            ({"patterns": {"b": "2:4"}}, "“b” cannot be pruned 2:4: its input dimension is 6"),
            ({"patterns": {"a": "2:4"}, "overrides": {"a": 0.5}}, "choose one"),
            ({"patterns": {"a": "2:4"}, "protected": ("a",)}, "choose one"),
            ({"patterns": {"nowhere": "2:4"}}, "“nowhere”"),
        ],
    )
    def test_refusals(self, fields, words):
        with pytest.raises(PlanError, match=words):
            allocate(self.layers, Plan(sparsity=0.1, allocation="uniform", **fields))

    def test_shapes_that_cannot(self):
        assert pattern_problem(Pattern(2, 4), (12, 1, 3, 3)) is not None
        assert pattern_problem(Pattern(2, 4), (12,)) is not None
        assert pattern_problem(Pattern(2, 4), (12, 4, 3, 3)) is None


CHOSEN = {"pointwise": "2:4", "head": "1:4"}


@pytest.mark.parametrize("method", ["one_shot", "one_shot_structured"])
def test_one_shot_methods_keep_pattern_free_sparsity_and_protection(model, method):
    splits = random_splits(model)
    plan = Plan(method=method, sparsity=0.0, patterns=CHOSEN, allocation="global")
    if method == "one_shot":
        plan = plan.changed(sparsity=0.5, protected=("stem",), overrides={"depthwise": 0.25})
    result = prune(model, splits, plan)
    for name, text in CHOSEN.items():
        pattern, weight = pattern_of(text), result.model.prunable()[name].weight
        assert bool((blocks(weight != 0, pattern.of).sum(1) == pattern.keep).all())
        row = next(row for row in result.layers if row["name"] == name)
        assert row["sparsity"] == pattern.sparsity
        assert bool((result.masks[name] == (weight != 0)).all())
    if method == "one_shot":
        assert bool((result.model.prunable()["stem"].weight == model.prunable()["stem"].weight).all())
        assert int((result.model.prunable()["depthwise"].weight == 0).sum()) == 27


def test_structure_and_pattern_in_one_plan():
    from core.models.cifar_resnet import CifarResNet

    torch.manual_seed(0)
    dense = trace(CifarResNet(8).eval(), (3, 32, 32))
    names = [name for name in dense.prunable() if name.endswith("conv2")]
    plan = Plan(
        method="one_shot_structured",
        sparsity=0.4,
        allocation="uniform",
        patterns=dict.fromkeys(names, "2:4"),
        method_settings={"round_to": 4, "recalibrate": False},
    )
    result = prune(dense, None, plan)
    plain = prune(dense, None, plan.changed(patterns={}))
    for name in names:
        weight, same = result.model.prunable()[name].weight, plain.model.prunable()[name].weight
        assert weight.shape == same.shape
        assert weight.shape[1] < dense.prunable()[name].weight.shape[1]
        assert bool((blocks(weight != 0, 4).sum(1) == 2).all())
        assert bool((weight[weight != 0] == same[weight != 0]).all())
        row = next(row for row in result.layers if row["name"] == name)
        assert row["size"] - row["removed"] == int((weight != 0).sum())
        assert row["kept_shape"] == list(weight.shape)
    with pytest.raises(PlanError, match=r"After the removal.*Round channels"):
        prune(dense, None, plan.changed(method_settings={"round_to": 3, "recalibrate": False}))


def quick(epochs: int) -> dict:
    stage = {"epochs": epochs, "learning_rate": 0.01}
    return {"training": {"batch_size": 16, "precision": "fp32"}, "prune": stage, "tune": stage | {"epochs": 1}}


@pytest.mark.parametrize(
    ("method", "mode"),
    [("gradual", ""), ("one_shot_fine_tune", ""), *[("dg2pf", m) for m in ("simulated", "hard", "dense-gradient")]],
)
def test_training_methods_end_in_the_pattern(model, method, mode):
    settings = quick(2)
    if method == "dg2pf":
        settings |= {"mode": mode, "tail_epochs": 1, "distillation": {"form": "off"}}
    if method == "one_shot_fine_tune":
        settings.pop("prune")
    plan = Plan(method=method, sparsity=0.5, patterns=CHOSEN, allocation="uniform", method_settings=settings)
    result = prune(model, random_splits(model), plan)
    for name, text in CHOSEN.items():
        pattern = pattern_of(text)
        kept = blocks(result.model.prunable()[name].weight != 0, pattern.of).sum(1)
        assert int(kept.max()) <= pattern.keep
        assert int((~result.masks[name]).sum()) == pattern.removed(result.masks[name].numel())
    epochs = [row["layers"]["pointwise"] for row in result.history["epochs"]]
    assert epochs[-1] == 0.5


@pytest.mark.parametrize("schedule", list(SCHEDULES))
def test_a_hard_gradual_run_never_leaves_the_pattern(model, schedule):
    plan = Plan(sparsity=0.6, patterns=CHOSEN, allocation="uniform")
    masks, steps = None, 6
    for step in range(1, steps + 1):
        moment = step / steps
        with torch.no_grad():  # weights move between the levels
            for layer in model.prunable().values():
                layer.weight.add_(0.3 * torch.randn_like(layer.weight))
        masks = masks_at(
            model,
            plan_at(plan, schedule, moment),
            CalibrationContext(),
            gone=masks,
            shares=pattern_shares(plan, schedule, moment),
        )
    assert masks is not None
    for name, text in CHOSEN.items():
        pattern = pattern_of(text)
        assert bool((blocks(masks[name], pattern.of).sum(1) == pattern.keep).all())


def test_shared_weights_have_one_pattern():
    torch.manual_seed(0)
    model = trace(Tied().eval(), (3, 2, 2))
    result = prune(model, None, Plan(sparsity=0.0, patterns={"again": "2:4"}))
    assert int((result.model.prunable()["embed"].weight == 0).sum()) == 72
    with pytest.raises(PlanError, match="give both the same"):
        prune(model, None, Plan(sparsity=0.0, patterns={"again": "2:4", "embed": "1:4"}))


def test_methods_that_train_on_units_refuse(model):
    with pytest.raises(PlanError, match="knows no N:M patterns"):
        prune(model, random_splits(model), Plan(method="cpd", patterns=CHOSEN))
