"""How much quicker sensitivity is than the obvious loop, whether it agrees with it, and how soon there is a picture.

    OMP_NUM_THREADS=1 .venv/bin/python -m tests.benchmarks.sensitivity_speed resnet20 --data ../shared/data
    OMP_NUM_THREADS=1 .venv/bin/python -m tests.benchmarks.sensitivity_speed resnet56 --data ../shared/data --layers 14
    OMP_NUM_THREADS=1 .venv/bin/python -m tests.benchmarks.sensitivity_speed resnet20 --data ../shared/data --groups

The obvious loop prunes a copy of the model (masks a layer, or removes units by surgery) and evaluates all of it, eager,
in float32, for every layer and level. A whole forward costs the same whatever layer is pruned, so with ``--layers n``
the loop runs over every n-th layer only and its time is scaled to all of them; the output says so. With ``--groups``
smaller networks are evaluated, which are quicker themselves. CPU seconds are compared, so that other work on the
machine disturbs little; wall-clock seconds stand beside them. Without ``--data`` the weights are random, and so are the
images.
"""

import argparse
import resource
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from core.analysis.changes import group_targets
from core.analysis.evaluation import evaluate
from core.analysis.sensitivity import SensitivitySettings, measure_sensitivity
from core.comb.combing import comb
from core.comb.surgery import remove
from core.data.opening import open_data
from core.data.splits import Splits
from core.jobs.matching import fit_data
from core.models.opening import open_model
from core.models.specs import ModelSpec
from core.models.traced import TracedModel
from core.progress import Progress
from core.pruning.criteria import CalibrationContext
from core.pruning.masks import apply_masks, keep_largest

from ..pruning.data import random_splits

CHECKPOINTS = {"resnet20": "resnet20-12fca82f.th", "resnet56": "resnet56-4bfd9763.th"}
Z95 = 1.959964


class Clock:
    """CPU and wall-clock seconds since it was made."""

    def __init__(self) -> None:
        self._cpu, self._wall = time.process_time(), time.perf_counter()

    def read(self) -> tuple[float, float]:
        return time.process_time() - self._cpu, time.perf_counter() - self._wall


class Pictures(Progress):
    """Notes when every layer or group was first shown with a measured cell."""

    def __init__(self, kind: str) -> None:
        self.kind, self.clock, self.preview, self.first = kind, Clock(), None, None

    def publish(self, partial: Mapping[str, Any]) -> None:
        wanted = len(partial.get("preview", partial)[self.kind])
        self.preview = self.preview or self.clock.read()
        if self.first is None and len(partial[self.kind]) == wanted:
            self.first = self.clock.read()


def opened(name: str, data: Path | None, images: int) -> tuple[TracedModel, Splits]:
    """The real checkpoint and images, or noise."""
    if data is None:
        model = open_model(ModelSpec(source="cifar", name=name, weights="random"))
        return model, random_splits(model, select=images)
    model = open_model(name, checkpoint=data / "checkpoints" / CHECKPOINTS[name])
    return model, fit_data(open_data("cifar10", root=data / "cifar10-mini"), model)


def naive_layers(model: TracedModel, splits: Splits, settings: SensitivitySettings, names: list[str]) -> Any:
    """Mask one layer of a copy, evaluate, put it back, next."""
    clone, found = model.clone(), {}
    for name in names:
        weight = clone.prunable()[name].weight
        dense = weight.detach().clone()
        for level in settings.levels:
            count = min(round(level * dense.numel()), dense.numel() - 1)
            apply_masks(clone, {name: keep_largest(dense.abs(), count)})
            found[name, level] = evaluate(clone, splits, "select", limit=settings.images)
            weight.data.copy_(dense)
    return found


def naive_groups(model: TracedModel, splits: Splits, settings: SensitivitySettings, names: list[str]) -> Any:
    """Remove the units of one group, evaluate the smaller network, next."""
    combed, found = comb(model), {}
    context = CalibrationContext(splits=splits, images=settings.calibration_images)
    for target in group_targets(model, settings.criterion, context, names, settings.levels):
        for level in settings.levels:
            units = target.removal(target.count(level))
            smaller = remove(combed, {target.name: units}) if units else model.clone()
            found[target.name, level] = evaluate(smaller, splits, "select", limit=settings.images)
    return found


def agreement(result: Mapping[str, Any], dense: Any, naive: Mapping[Any, Any]) -> None:
    """Print how many of the loop's values lie within the stated intervals."""
    points = {(n, p["sparsity"]): p for n, curve in result[result["kind"]].items() for p in curve}
    for key, value in (("dscore", lambda e: e.score - dense.score), ("dloss", lambda e: e.loss - dense.loss)):
        differences = {cell: abs(points[cell][key] - value(one)) for cell, one in naive.items()}
        inside = sum(differences[cell] <= Z95 * points[cell][f"{key}_se"] + 1e-6 for cell in naive)
        worst = max(differences, key=lambda cell: differences[cell])
        print(
            f"agreement, {key}: {inside} of {len(naive)} cells within the stated interval ({inside / len(naive):.1%}), "
            f"largest difference {differences[worst]:.4f} at {worst[0]} {worst[1]:.0%} (there the loop says "
            f"{value(naive[worst]):+.4f}, the cell {points[worst][key]:+.4f} ± {Z95 * points[worst][f'{key}_se']:.4f})"
        )


def main() -> None:
    """Print seconds of both ways, their ratio, the first picture, memory and agreement."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("model", nargs="?", default="resnet20")
    options.add_argument("--data", type=Path, default=None, help="folder with checkpoints/ and cifar10-mini/")
    options.add_argument("--images", type=int, default=1000)
    options.add_argument("--threads", type=int, default=1)
    options.add_argument("--layers", type=int, default=1, help="the obvious loop runs over every n-th one only")
    options.add_argument("--groups", action="store_true")
    options.add_argument("--exact", action="store_true")
    options.add_argument("--no-naive", action="store_true")
    given = options.parse_args()
    torch.set_num_threads(given.threads)
    model, splits = opened(given.model, given.data, given.images)
    kind = "groups" if given.groups else "layers"
    settings = SensitivitySettings(of=kind, images=given.images, exact=given.exact)
    names = [group.name for group in comb(model).groups] if given.groups else list(model.prunable())
    evaluate(model, splits, "select", limit=given.images)  # so that neither way pays for what comes once

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    pictures = Pictures(kind)
    clock = Clock()
    result = measure_sensitivity(model, splits, settings, progress=pictures)
    cpu_s, wall_s = clock.read()
    more = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    levels = len(settings.levels)
    seen = [point["n"] for curve in result[kind].values() for point in curve]
    print(f"{given.model}: {len(names)} {kind} x {levels} levels x {result['n']} images, {given.threads} thread(s)")
    print(f"precision {result['precision']}; a cell saw {sum(seen) / len(seen):.0f} images on average")
    for what, when in (("preview", pictures.preview), ("first measured picture", pictures.first)):
        if when is not None:
            print(f"{what + ':':25}{when[0]:8.2f} s of CPU {when[1]:8.2f} s")
    print(f"{'sensitivity:':25}{cpu_s:8.1f} s of CPU {wall_s:8.1f} s; {more:.0f} MB more than an evaluation")
    if given.no_naive:
        return

    chosen = names[:: given.layers]
    dense = evaluate(model, splits, "select", limit=given.images)
    clock = Clock()
    naive = (naive_groups if given.groups else naive_layers)(model, splits, settings, chosen)
    scale = len(names) / len(chosen)
    naive_cpu_s, naive_wall_s = (seconds * scale for seconds in clock.read())
    note = "" if scale == 1 else f" (scaled from {len(chosen)} {kind})"
    print(f"{'obvious loop:':25}{naive_cpu_s:8.1f} s of CPU {naive_wall_s:8.1f} s{note}")
    print(f"{'ratio:':25}{naive_cpu_s / cpu_s:8.1f} (CPU) {naive_wall_s / wall_s:10.1f} (wall clock)")
    agreement(result, dense, naive)


if __name__ == "__main__":
    main()
