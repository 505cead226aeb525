"""What must hold for any removal from any model: checks that tests share."""

import random
from collections.abc import Collection

import torch
from torch import Tensor, nn

from core.comb.combing import comb
from core.comb.groups import Comb
from core.comb.surgery import remove
from core.comb.survivors import Survivors
from core.comb.verify import verify
from core.models.capture import relative_difference, trace
from core.models.traced import TracedModel


def random_removal(found: Comb, seed: int, *, ratio: float = 0.3) -> dict[str, list[int]]:
    """About ``ratio`` of the units of every group, at random; fewer where groups meet and would empty a dimension."""
    rng = random.Random(seed)
    removal: dict[str, list[int]] = {}
    for group in found.groups:
        if group.units > 1:
            count = min(max(1, int(group.units * ratio)), group.units - 1)
            removal[group.name] = rng.sample(range(group.units), count)
            if Survivors(found, removal, check=False).emptied():
                del removal[group.name]
    return removal


def randomised(module: nn.Module, seed: int = 0) -> nn.Module:
    """Give every tensor a value that matters: fresh norms do nothing, and some heads start at zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in module.modules():
            for name, buffer in layer.named_buffers(recurse=False):
                if name == "running_mean":
                    buffer.normal_(0, 0.1, generator=generator)
                elif name == "running_var":
                    buffer.uniform_(0.5, 1.5, generator=generator)
        for parameter in module.parameters():
            if parameter.numel() > 1 and bool((parameter == parameter.flatten()[0]).all()):
                parameter.add_(torch.empty_like(parameter).uniform_(-0.2, 0.2, generator=generator))
            elif parameter.numel() > 1 and float(parameter.detach().abs().max()) < 1e-3:
                parameter.normal_(0, 0.1, generator=generator)
    return module.eval()


def traced(module: nn.Module, size: int = 16, task: str = "classification") -> TracedModel:
    return trace(randomised(module), (3, size, size), task=task)  # type: ignore[arg-type]


def images(model: TracedModel, batch: int = 2, seed: int = 0) -> Tensor:
    return torch.randn((batch, *model.input_shape), generator=torch.Generator().manual_seed(seed))


def check_exact(model: TracedModel, *, seeds: int = 3, tolerance: float = 1e-5) -> Comb:
    """Removals from few to nearly all units are exact at several batch sizes; the result trains."""
    found = comb(model)
    for seed, ratio in zip(range(seeds), (0.3, 0.7, 0.1), strict=False):
        removal = random_removal(found, seed, ratio=ratio)
        pruned = remove(found, removal)
        for batch in (1, 2, 7):
            proof = verify(found, removal, pruned, images(model, batch, seed), tolerance=tolerance)
            assert proof.passed, (ratio, removal, proof)
        again = comb(pruned)
        assert sum(group.units for group in again.groups) > 0 or not any(group.units > 1 for group in found.groups)
    check_trains(pruned)
    return found


@torch.no_grad()
def zeroed_difference(found: Comb, x: Tensor, *, kinds: Collection[str] = (), seed: int = 1) -> float | None:
    """A second opinion that knows nothing of the graph: every weight of the removed units is set to 0 instead.

    Groups whose units a norm looks at keep all units here, as zeros change its statistics, and so do those of other
    kinds than ``kinds``; None when no group is left. A network in which zero weights do not give zero contributions
    (``elu(x) + 1``, a softmaxed kernel) differs by right. Returns the relative difference of the outputs.
    """
    plain = {group.name for group in found.groups if not group.normed and (not kinds or group.kind in kinds)}
    removal = {name: units for name, units in random_removal(found, seed).items() if name in plain}
    if not removal:
        return None
    pruned, zeroed = remove(found, removal), found.model.clone()
    survivors = Survivors(found, removal)
    tensors = dict([*zeroed.graph_module.named_parameters(), *zeroed.graph_module.named_buffers()])
    for name, dim in found.columns:
        kept = survivors.kept(name, dim)
        if kept is not None and name in tensors and not name.endswith("running_var"):
            shape = [1] * tensors[name].ndim
            shape[dim] = -1
            tensors[name].mul_(torch.from_numpy(kept).reshape(shape))
    return float(relative_difference(pruned.eval().predict(x), zeroed.eval().predict(x)))


def check_trains(model: TracedModel) -> None:
    """Gradients reach every trainable parameter, from all outputs together."""
    outputs = model.train()(images(model, 4))
    tensors = outputs.values() if isinstance(outputs, dict) else outputs if isinstance(outputs, tuple) else [outputs]
    sum(tensor.square().mean() for tensor in tensors if isinstance(tensor, Tensor)).backward()  # type: ignore[union-attr]
    missing = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not missing, missing
