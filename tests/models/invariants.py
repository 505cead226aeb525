"""What must hold for every captured model, as functions over (original module, traced model).

Used by the default tests over a handful of models and by ``tests/zoo`` over all of torchvision.
"""

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from core.analysis.cost import count_macs, count_parameters, layer_table
from core.models.capture import relative_difference
from core.models.traced import TracedModel, main_output

TOLERANCE = 1e-5


def images(traced: TracedModel, batch: int, *, seed: int = 0) -> Tensor:
    return torch.randn((batch, *traced.input_shape), generator=torch.Generator().manual_seed(seed))


def same_outputs(module: nn.Module, traced: TracedModel) -> None:
    """Equal at batch 2 and 3: the batch is free. The output structure is the original one."""
    module.eval()
    traced.eval()
    with torch.no_grad():
        for batch in (2, 3):
            x = images(traced, batch)
            expected, found = module(x), traced(x)
            assert relative_difference(found, expected) <= TOLERANCE
            assert torch.equal(traced.predict(x), main_output(found))
    if isinstance(expected, Mapping):
        assert list(found) == list(expected)
    assert found is not None
    assert traced.num_classes == main_output(expected).shape[1]


def same_gradients(module: nn.Module, traced: TracedModel, *, of_parameters: bool = True) -> None:
    """Gradients of a fixed loss by every trainable parameter (or by the input alone) are equal."""
    module.eval()
    traced.eval()
    x = images(traced, 2, seed=1).requires_grad_()
    names = [name for name, parameter in traced.named_parameters() if parameter.requires_grad]
    own = dict(module.named_parameters(remove_duplicate=False))
    ours = dict(traced.named_parameters())
    left = [own[name] for name in names] if of_parameters else []
    right = [ours[name] for name in names] if of_parameters else []
    expected = torch.autograd.grad(_loss(main_output(module(x))), [x, *left], allow_unused=True)
    found = torch.autograd.grad(_loss(traced.predict(x)), [x, *right], allow_unused=True)
    largest = max(float(gradient.abs().max()) for gradient in expected if gradient is not None)
    for name, a, b in zip(["input", *names], expected, found, strict=False):
        a, b = (torch.zeros(()) if gradient is None else gradient for gradient in (a, b))
        # Relative to the larger of this gradient and a thousandth of all: a bias before a norm has a gradient of noise.
        scale = max(float(a.abs().max()), 1e-3 * largest, 1e-12)
        assert float((a - b).abs().max()) / scale <= 1e-4, name


def _loss(logits: Tensor) -> Tensor:
    weights = torch.linspace(-1.0, 1.0, logits.numel()).reshape(logits.shape)
    return (logits * weights).sum()


def unusual_weights(module: nn.Module) -> nn.Module:
    """Make every tensor matter: fresh norms do nothing that could be seen, some heads and gates start at zero."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for child in module.modules():
            if isinstance(child, nn.modules.batchnorm._NormBase) and child.running_mean is not None:
                child.running_mean.uniform_(-0.1, 0.1, generator=generator)
                child.running_var.uniform_(0.8, 1.2, generator=generator)
        for parameter in module.parameters():
            if parameter.numel() > 1 and bool((parameter == parameter.flatten()[0]).all()):
                parameter.add_(torch.empty_like(parameter).uniform_(-0.1, 0.1, generator=generator))
    return module.eval()


def same_training(module: nn.Module, traced: TracedModel, *, batch: int = 4) -> None:
    """In training mode and seeded alike: equal outputs (dropout) and equal running statistics afterwards.

    The numbers that dropout draws depend on the memory layout of its input, which differs inside attention when the
    batch is larger than 1: models with dropout there are compared on one image.
    """
    x = images(traced, batch, seed=2)
    expected, before, after = _train_once(module, lambda: main_output(module(x)))
    found, _, ours = _train_once(traced.graph_module, lambda: traced.predict(x))
    assert relative_difference(found, expected) <= TOLERANCE
    for name, tensor in ours.items():
        if not name.startswith("_constant"):
            assert relative_difference(tensor, after[name]) <= TOLERANCE, name
    assert all(torch.equal(tensor, dict(module.named_buffers())[name]) for name, tensor in before.items())


def _train_once(
    module: nn.Module, forward: Callable[[], Tensor]
) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
    """One seeded forward in training mode; returns the output, the buffers before and after, and restores them."""
    before = {name: buffer.clone() for name, buffer in module.named_buffers()}
    module.train()
    try:
        with torch.no_grad():
            torch.manual_seed(7)
            output = forward()
        return output, before, {name: buffer.clone() for name, buffer in module.named_buffers()}
    finally:
        module.eval()
        with torch.no_grad():
            for name, buffer in module.named_buffers():
                buffer.copy_(before[name])


def same_state(module: nn.Module, traced: TracedModel, *, unused: tuple[str, ...] = ()) -> None:
    """Parameters and buffers are the original tensors under the original names."""
    expected = {name: t for name, t in module.state_dict(keep_vars=True).items() if not name.startswith(unused or "\0")}
    found = traced.state_dict()
    assert set(found) == set(expected)
    for name, tensor in found.items():
        assert tensor.data_ptr() == expected[name].data_ptr(), name
        assert tensor.shape == expected[name].shape
    assert count_parameters(traced) == sum(p.numel() for p in {id(p): p for p in expected.values()
                                                                 if isinstance(p, nn.Parameter)}.values())  # fmt: skip


def survives_saving(traced: TracedModel) -> None:
    """A saved and loaded model is the same model, bit for bit."""
    traced.eval()
    x = images(traced, 2, seed=3)
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        traced.save(Path(folder) / "model")
        loaded = TracedModel.load(Path(folder) / "model")
        assert relative_difference(loaded(x), traced(x)) == 0.0
        assert loaded.fingerprint() == traced.fingerprint()
        assert {n: t.shape for n, t in loaded.state_dict().items()} == {
            n: t.shape for n, t in traced.state_dict().items()
        }
        assert (loaded.input_shape, loaded.task, loaded.origin) == (traced.input_shape, traced.task, traced.origin)
        assert [n for n, p in loaded.named_parameters()] == [n for n, p in traced.named_parameters()]
        assert [p.requires_grad for _, p in loaded.named_parameters()] == [
            p.requires_grad for _, p in traced.named_parameters()
        ]


def same_macs(module: nn.Module, traced: TracedModel) -> None:
    """Our count is half of what torch's FLOP counter counts (fast path off, unfused attention)."""
    module.eval()
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        counter = FlopCounterMode(display=False)
        with counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
            module(images(traced, 1))
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)
    assert 2 * count_macs(traced) == counter.get_total_flops()
    rows = layer_table(traced)
    assert sum(row.parameters for row in rows) == count_parameters(traced)
    assert sum(row.macs for row in rows) <= count_macs(traced)
    assert [row.name for row in rows if row.prunable] == list(traced.prunable())
