"""What a traced model offers: copies, names, notes, modes, and errors in words where capture is impossible."""

import copy

import pytest
import torch
import torchvision
from torch import nn

from core.errors import ModelError
from core.models.capture import relative_difference, trace
from core.models.layers import StochasticDepth
from core.models.traced import main_output
from core.models.vocabulary import FUNCTIONS, arguments, name_of

from . import invariants
from .examples import (
    EXAMPLES,
    BatchFraction,
    BatchLoop,
    Encoder,
    FunctionalDropout,
    HalfBatch,
    OwnLayers,
    RandomInEval,
    Scalar,
    SizeArithmetic,
    StaleView,
    Tied,
    TwoInputs,
    TwoOutputs,
    ValueControlFlow,
)

SHAPE = (3, 16, 16)


def _trace(build: type[nn.Module], **settings: object):
    torch.manual_seed(0)
    return trace(invariants.unusual_weights(build()), SHAPE, **settings)


def test_a_clone_is_equal_and_independent() -> None:
    traced = _trace(Tied)
    twin = copy.deepcopy(traced)
    x = invariants.images(traced, 2)
    assert torch.equal(twin.predict(x), traced.predict(x))
    assert twin.fingerprint() == traced.fingerprint()
    with torch.no_grad():
        twin.prunable()["shared"].weight.zero_()
    assert not torch.equal(twin.predict(x), traced.predict(x))
    assert twin.fingerprint() != traced.fingerprint()
    layers = twin.prunable()
    assert layers["up"].weight is layers["down"].weight  # still tied


@pytest.mark.row("B24")
def test_tied_tensors_keep_both_names() -> None:
    module = Tied()
    assert set(trace(module, SHAPE).state_dict()) == set(module.state_dict())


def test_prunable_layers_come_in_execution_order() -> None:
    assert list(_trace(Tied).prunable()) == ["stem", "shared", "up", "down", "head"]
    assert list(_trace(SizeArithmetic).prunable()) == ["embed", "qkv", "head"]


@pytest.mark.parametrize("causal", [False, True])
def test_attention_opens_into_linear_layers_under_the_original_names(causal: bool) -> None:
    module = Encoder(causal=causal)
    traced = trace(module, SHAPE)
    packed = traced.prunable()["encoder.layers.0.self_attn.in_proj"]
    assert packed.weight is module.encoder.layers[0].self_attn.in_proj_weight
    assert set(traced.state_dict()) == set(module.state_dict())
    assert "encoder.layers.0.self_attn.in_proj_weight" in dict(traced.named_parameters())


def test_subclasses_become_standard_layers_and_computed_weights_stay_glue() -> None:
    traced = _trace(OwnLayers)
    kinds = {name: type(layer) for name, layer in traced.prunable().items()}
    assert kinds == {"same": nn.Conv2d, "hooked": nn.Linear, "head": nn.Linear}
    assert type(traced.graph_module.get_submodule("norm")) is nn.BatchNorm2d
    assert type(traced.graph_module.get_submodule("norm.act")) is nn.SiLU


def test_functional_dropout_becomes_a_layer() -> None:
    traced = _trace(FunctionalDropout)
    kinds = {type(module) for module in traced.graph_module.modules()}
    assert {nn.Dropout, nn.Dropout2d} <= kinds
    x = invariants.images(traced, 2)
    traced.train()
    assert traced.training
    assert not torch.equal(traced.predict(x), traced.predict(x))
    traced.eval()
    assert torch.equal(traced.predict(x), traced.predict(x))


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_function_is_canonical_and_out_of_place(name: str) -> None:
    torch.manual_seed(0)
    traced = trace(EXAMPLES[name](), SHAPE)
    for node in traced.graph_module.graph.nodes:
        assert node.op in ("placeholder", "get_attr", "call_module", "call_function", "output")
        if node.op == "call_function":
            assert name_of(node.target) in FUNCTIONS
            given = arguments(node)
            assert all(given[key] >= 0 for key in ("dim",) if isinstance(given.get(key), int))
        if node.op == "call_module":
            assert not getattr(traced.graph_module.get_submodule(node.target), "inplace", False)


def test_the_batch_is_the_only_free_size() -> None:
    graph = _trace(SizeArithmetic).graph_module.graph
    sizes = [node for node in graph.nodes if node.op == "call_function" and name_of(node.target) == "size"]
    assert len(sizes) == 1
    assert arguments(sizes[0])["dim"] == 0


def test_outputs_keep_their_structure_and_predict_picks_the_main_one() -> None:
    traced = _trace(TwoOutputs, task="segmentation")
    x = invariants.images(traced, 2)
    assert list(traced(x)) == ["out", "aux"]
    assert torch.equal(traced.predict(x), traced(x)["out"])
    assert traced.num_classes == 4
    with pytest.raises(ModelError, match="logits"):
        main_output({})


def test_tracing_leaves_the_model_as_it_was() -> None:
    module = FunctionalDropout().train()
    module.conv.eval()
    state = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    trace(module, SHAPE)
    assert module.training
    assert not module.conv.training
    assert all(torch.equal(tensor, state[name]) for name, tensor in module.state_dict().items())
    assert nn.Module.__call__.__module__ == "torch.nn.modules.module"


def test_state_can_be_loaded_by_the_original_names() -> None:
    traced, donor = _trace(Encoder), Encoder()
    traced.load_state_dict(donor.state_dict())
    x = invariants.images(traced, 2)
    donor.eval()
    assert relative_difference(traced.predict(x), donor(x)) <= invariants.TOLERANCE
    with pytest.raises(ModelError, match="lacks"):
        traced.load_state_dict({})
    wrong = {name: torch.zeros(1) for name in donor.state_dict()}
    with pytest.raises(ModelError, match="must have shape"):
        traced.load_state_dict(wrong)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_parts_that_only_train_are_left_out_and_said() -> None:
    module = torchvision.models.GoogLeNet(num_classes=4, aux_logits=True, init_weights=False)
    traced = trace(module, (3, 32, 32), origin={"notes": ["first"]}, verify=False)
    assert traced.origin["notes"] == ["first", "Not used when the model predicts, and left out: aux1, aux2."]
    assert not any(name.startswith("aux") for name in traced.state_dict())


def test_stochastic_depth_drops_in_training_only() -> None:
    layer = StochasticDepth(0.5, "row")
    x = torch.ones(64, 2, 2)
    assert torch.equal(layer.eval()(x), x)
    rows = layer.train()(x).amax((1, 2))
    assert set(rows.tolist()) == {0.0, 2.0}
    with pytest.raises(ModelError, match="probability"):
        StochasticDepth(1.5)


def test_half_precision_models_are_captured_in_their_type() -> None:
    module = Tied().to(torch.bfloat16).eval()
    traced = trace(module, SHAPE)
    x = invariants.images(traced, 2).to(torch.bfloat16)
    assert torch.equal(traced.predict(x), module(x))


def test_wrapped_models_are_unwrapped() -> None:
    traced = trace(nn.DataParallel(Tied()), SHAPE)
    assert next(iter(traced.prunable())) == "stem"


def test_in_place_work_behind_a_view_goes_through_export() -> None:
    torch.manual_seed(0)
    module = invariants.unusual_weights(StaleView())
    traced = trace(module, SHAPE)
    assert traced.captured_by == "export"
    assert list(traced.prunable()) == ["conv", "head"]
    assert type(traced.graph_module.get_submodule("norm")) is nn.BatchNorm2d
    invariants.same_outputs(module, traced)
    invariants.same_gradients(module, traced)
    invariants.same_state(module, traced)
    invariants.survives_saving(traced)


@pytest.mark.row("B27")
@pytest.mark.parametrize(
    ("build", "words"),
    [
        (ValueControlFlow, r"depends on the values of a tensor.*examples\.py:\d+"),
        (RandomInEval, "active in eval mode"),
        (BatchLoop, r"takes the batch apart at .*examples\.py:\d+"),
        (HalfBatch, r"computed from the batch size in a way.*examples\.py:\d+"),
        (BatchFraction, "number computed from the batch size"),
        (Scalar, r"must be \[N, classes\]"),
        (TwoInputs, r"needs 2 inputs \(x, tokens\)"),
    ],
)
def test_what_cannot_be_captured_is_said_in_words(build: type[nn.Module], words: str) -> None:
    with pytest.raises(ModelError, match=words):
        trace(build(), SHAPE)


@pytest.mark.row("B29")
@pytest.mark.parametrize("shape", [(3, 16), (3, 0, 16), "x", (1, 16, 16)])
def test_wrong_input_shapes_are_refused(shape: object) -> None:
    with pytest.raises(ModelError):
        trace(Tied(), shape)


def test_lazy_modules_are_refused() -> None:
    with pytest.raises(ModelError, match="no shape yet"):
        trace(nn.Sequential(nn.LazyConv2d(4, 3)), SHAPE)
