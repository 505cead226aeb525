"""Comb beside Torch-Pruning (PyPI ``torch-pruning``), on the same models in the same run.

``python -m tests.benchmarks.comb_speed [--out rows.csv] [names…]`` writes one CSV row per model, each measured in its
own process with a time limit. Times are CPU seconds of one thread. Both sides remove 30 % of every group of a randomly
initialised model and keep the classifier; nothing is told about the architecture.

``same`` compares the shapes of all convolutions and linear layers afterwards: equal, or how many differ.
"""

import argparse
import csv
import json
import math
import subprocess
import sys
import time
import warnings
from typing import Any

RATIO = 0.3
LIMIT_S = 300
MODELS = (
    *("resnet18", "resnet50", "vgg11_bn", "mobilenet_v2", "densenet121", "googlenet", "squeezenet1_1"),
    *("efficientnet_b0", "mnasnet0_5", "regnet_y_400mf", "convnext_tiny", "resnext50_32x4d", "inception_v3"),
    *("shufflenet_v2_x0_5", "mobilenet_v3_small", "vit_b_32", "swin_t", "maxvit_t"),
)
COLUMNS = (
    *("model", "ours_trace_s", "ours_comb_s", "ours_remove_s", "ours_removed", "ours_exact", "ours_problem"),
    *("peer_group_s", "peer_prune_s", "peer_removed", "peer_forward", "peer_problem", "same"),
)


def _model(name: str) -> tuple[Any, int]:
    from ..zoo.catalogue import build, input_size

    return build(name), input_size(name)


def _ours(name: str) -> tuple[dict[str, Any], dict[str, list[int]]]:
    from core.comb.combing import comb
    from core.comb.surgery import remove
    from core.comb.survivors import Survivors
    from core.comb.verify import verify
    from core.models.capture import trace

    from ..comb.checks import images

    module, size = _model(name)
    started = time.process_time()
    model = trace(module, (3, size, size), verify=False)
    traced = time.process_time()
    found = comb(model)
    combed = time.process_time()
    removal: dict[str, list[int]] = {}
    for group in found.groups:
        removal[group.name] = list(range(group.units - math.floor(group.units * (1 - RATIO))))
        if len(removal[group.name]) >= group.units or Survivors(found, removal, check=False).emptied():
            del removal[group.name]
    chosen = time.process_time()
    pruned = remove(found, removal)
    removed = time.process_time()
    before = sum(parameter.numel() for _, parameter in model.named_parameters())
    after = sum(parameter.numel() for _, parameter in pruned.named_parameters())
    row = {
        "ours_trace_s": traced - started,
        "ours_comb_s": combed - traced,
        "ours_remove_s": removed - chosen,
        "ours_removed": 1 - after / before,
        "ours_exact": verify(found, removal, pruned, images(model)).passed,
    }
    return row, {key: list(layer.weight.shape) for key, layer in pruned.prunable().items()}  # type: ignore[union-attr,arg-type]


def _peer(name: str) -> tuple[dict[str, Any], dict[str, list[int]]]:
    import torch
    import torch_pruning as tp
    from torch import nn

    module, size = _model(name)
    example = torch.randn(1, 3, size, size)
    layers = [m for m in module.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    head = [m for m in layers if (m.out_features if isinstance(m, nn.Linear) else m.out_channels) == 1000]
    before = sum(parameter.numel() for parameter in module.parameters())
    started = time.process_time()
    graph = tp.DependencyGraph().build_dependency(module, example_inputs=example)
    list(graph.get_all_groups(ignored_layers=head))
    grouped = time.process_time()
    pruner = tp.pruner.MagnitudePruner(
        module,
        example,
        importance=tp.importance.MagnitudeImportance(p=2),
        pruning_ratio=RATIO,
        ignored_layers=head,
    )
    ready = time.process_time()
    pruner.step()
    pruned = time.process_time()
    after = sum(parameter.numel() for parameter in module.parameters())
    row = {"peer_group_s": grouped - started, "peer_prune_s": pruned - ready, "peer_removed": 1 - after / before}
    shapes = {key: list(m.weight.shape) for key, m in module.named_modules() if isinstance(m, nn.Linear | nn.Conv2d)}
    with torch.no_grad():
        row["peer_forward"] = tuple(module(torch.randn(2, 3, size, size)).shape) == (2, 1000)
    return row, shapes


def measure(name: str, side: str) -> dict[str, Any]:
    """One side of one row, in this process."""
    import torch

    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    try:
        row, shapes = (_ours if side == "ours" else _peer)(name)
        return {**row, "shapes": shapes}
    except Exception as error:
        return {f"{side}_problem": f"{type(error).__name__}: {str(error)[:160]}"}


def _in_own_process(name: str, side: str) -> dict[str, Any]:
    command = [sys.executable, "-W", "ignore", "-m", "tests.benchmarks.comb_speed", "--one", name, side]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
        return dict(json.loads(done.stdout.splitlines()[-1]))
    except subprocess.TimeoutExpired:
        return {f"{side}_problem": f"not finished after {LIMIT_S} s"}
    except (IndexError, ValueError):
        return {f"{side}_problem": f"exit {done.returncode}: {done.stderr[-160:]}"}


def _same(ours: dict[str, list[int]], peer: dict[str, list[int]]) -> str:
    common = ours.keys() & peer.keys()
    different = [name for name in common if ours[name] != peer[name]]
    return "yes" if common and not different else f"{len(different)} of {len(common)} differ"


def main() -> None:
    """Parse arguments and write rows as they come."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one", nargs=2, metavar=("NAME", "SIDE"))
    parser.add_argument("--out")
    parser.add_argument("names", nargs="*")
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measure(*given.one)))
        return
    with open(given.out, "w", newline="") if given.out else sys.stdout as file:  # type: ignore[union-attr]
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for name in given.names or MODELS:
            ours, peer = _in_own_process(name, "ours"), _in_own_process(name, "peer")
            shapes = ours.pop("shapes", {}), peer.pop("shapes", {})
            row = {"model": name, **ours, **peer, "same": _same(*shapes) if all(shapes) else ""}
            writer.writerow({key: round(v, 3) if isinstance(v, float) else v for key, v in row.items()})
            file.flush()


if __name__ == "__main__":
    main()
