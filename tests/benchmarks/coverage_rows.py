"""What ``comb_coverage`` measures of one model: our side and Torch-Pruning's, each meant to run in its own process.

Every step reports as soon as it is done, so that a row which runs out of time keeps what it has. Times are CPU seconds
of one thread, with torch warm.
"""

import gc
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..comb.checks import check_trains, images, random_removal, randomised, zeroed_difference
from ..zoo import catalogue, timm_catalogue

__all__ = ["OURS", "PEER", "RATIO", "all_names", "ours", "peer", "warm_up"]

RATIO = 0.3
OURS = (
    *("parameters", "trace_s", "comb_s", "remove_s", "groups", "frozen", "removed", "traced", "exact", "difference"),
    *("zeroed", "smaller", "forward_backward", "onnx", "onnx_difference", "onnx_s", "problem"),
)
PEER = ("peer_group_s", "peer_prune_s", "peer_removed", "peer_forward", "peer_backward", "peer_problem")
_GRADIENTS_UP_TO = 400_000_000
"""Parameters; the gradients of larger models do not fit beside the others' memory."""
_EXPORTED_UP_TO = 60_000_000
"""Parameters; exporting a larger one takes minutes and proves nothing new."""
_LATER = 18
"""The opset that is tried when the default one lacks an operation (``Fold``)."""

Report = Callable[[dict[str, Any]], None]


def all_names() -> tuple[str, ...]:
    """``torchvision/NAME`` and ``timm/NAME``."""
    return (*(f"torchvision/{n}" for n in catalogue.names()), *(f"timm/{n}" for n in timm_catalogue.TIMM))


def _built(name: str) -> tuple[nn.Module, int, str]:
    source, _, model = name.partition("/")
    if source == "timm":
        return timm_catalogue.build_timm(model), timm_catalogue.timm_input_size(model), "classification"
    task = "segmentation" if catalogue.is_segmentation(model) else "classification"
    return catalogue.build(model), catalogue.input_size(model), task


def warm_up(*, peer: bool) -> None:
    """Both sides once on a small network: what torch and its libraries load at the first call is nobody's time."""
    from core.comb.combing import comb
    from core.models.capture import trace

    module = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(288, 4)).eval()
    comb(trace(module, (3, 8, 8), verify=False))
    if peer:
        import torch_pruning as tp

        graph = tp.DependencyGraph().build_dependency(module, example_inputs=torch.randn(1, 3, 8, 8))
        list(graph.get_all_groups(ignored_layers=[module[4]]))


def ours(name: str, report: Report, *, onnx: bool) -> None:
    """Trace, comb, remove 30 % of every group at random, and prove what is left."""
    from core.comb.combing import comb
    from core.comb.surgery import remove
    from core.comb.verify import verify
    from core.models.capture import trace

    module, size, task = _built(name)
    module = randomised(module)
    parameters = sum(parameter.numel() for parameter in module.parameters())
    report({"parameters": parameters})
    started = time.process_time()
    model = trace(module, (3, size, size), task=task, verify=False)  # type: ignore[arg-type]
    report({"trace_s": time.process_time() - started})
    x = images(model, 2)
    with torch.no_grad():
        same = bool(torch.allclose(model.predict(x), _main(module(x)), rtol=1e-4, atol=1e-5))
    report({"traced": same} if same else {"traced": False, "problem": "the graph differs from the model"})
    del module
    gc.collect()
    started = time.process_time()
    found = comb(model)
    report({"comb_s": time.process_time() - started, "groups": len(found.groups), "frozen": len(found.frozen)})
    removal = random_removal(found, 0, ratio=RATIO)
    started = time.process_time()
    pruned = remove(found, removal)
    report({"remove_s": time.process_time() - started})
    left = sum(parameter.numel() for _, parameter in pruned.named_parameters())
    report({"removed": 1 - left / parameters, "smaller": left <= 0.75 * parameters})
    proof = verify(found, removal, pruned, x)
    report({"exact": proof.passed, "difference": proof.max_relative_difference})
    if not proof.passed:
        report({"problem": proof.sentence})
    second = zeroed_difference(found, x)
    report({"zeroed": "every group is normed" if second is None else second})
    del found, model
    gc.collect()
    with torch.no_grad():
        for batch in (1, 2, 7):
            assert len(pruned.eval().predict(images(pruned, batch))) == batch
    if parameters <= _GRADIENTS_UP_TO:
        check_trains(pruned)
        pruned.eval()
        for _, parameter in pruned.named_parameters():
            parameter.grad = None
    report({"forward_backward": "yes" if parameters <= _GRADIENTS_UP_TO else "forward only"})
    if onnx:
        _onnx(pruned, parameters, report)


def _main(value: Any) -> Tensor:
    if isinstance(value, Mapping):
        value = value["out"]
    return value[0] if isinstance(value, tuple | list) else value


def _onnx(pruned: Any, parameters: int, report: Report) -> None:
    from core.errors import ExportError
    from core.export.onnx_file import export_onnx
    from core.export.onnx_settings import OnnxSettings

    if parameters > _EXPORTED_UP_TO:
        report({"onnx": "skipped: large"})
        return
    started = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        try:
            written = export_onnx(pruned, Path(folder) / "m.onnx", settings=OnnxSettings(images=10))
        except ExportError:  # some operations came later than our default
            written = export_onnx(pruned, Path(folder) / "m.onnx", settings=OnnxSettings(images=10, opset=_LATER))
    difference = written["relative_difference"]
    good = difference is not None and difference <= 1e-3
    report({"onnx": good, "onnx_difference": difference, "onnx_s": time.process_time() - started})
    if not good:
        report({"problem": " ".join(written["problems"])})


def peer(name: str, report: Report) -> None:
    """Torch-Pruning out of the box: its dependency graph, its groups, its magnitude pruner."""
    import torch_pruning as tp

    module, size, _ = _built(name)
    example = torch.randn(1, 3, size, size)
    layers = [m for m in module.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    classes = {21} if name.startswith("torchvision/") and size and _is_segmentation(name) else {1000}
    head = [m for m in layers if (m.out_features if isinstance(m, nn.Linear) else m.out_channels) in classes]
    before = sum(parameter.numel() for parameter in module.parameters())
    expected = _main(module(example)).shape[1:]
    started = time.process_time()
    graph = tp.DependencyGraph().build_dependency(module, example_inputs=example)
    list(graph.get_all_groups(ignored_layers=head))
    report({"peer_group_s": time.process_time() - started})
    importance = tp.importance.MagnitudeImportance(p=2)
    pruner = tp.pruner.MagnitudePruner(module, example, importance=importance, pruning_ratio=RATIO, ignored_layers=head)
    started = time.process_time()
    pruner.step()
    after = sum(parameter.numel() for parameter in module.parameters())
    report({"peer_prune_s": time.process_time() - started, "peer_removed": 1 - after / before})
    with torch.no_grad():
        forward = _main(module.eval()(torch.randn(2, 3, size, size))).shape[1:] == expected
    report({"peer_forward": bool(forward)})
    _main(module.train()(torch.randn(4, 3, size, size))).square().mean().backward()
    report({"peer_backward": True})


def _is_segmentation(name: str) -> bool:
    return catalogue.is_segmentation(name.partition("/")[2])
