"""How much the prefix cache of ``measure_sensitivity`` saves against the obvious loop.

    .venv/bin/python -m tests.benchmarks.sensitivity_speed resnet20 --images 250 --threads 1

CPU seconds are compared, so that other work on the machine disturbs little; wall-clock seconds are printed beside them.
"""

import argparse
import time

import torch

from core.analysis.evaluation import evaluate
from core.analysis.sensitivity import SensitivitySettings, measure_sensitivity
from core.models.opening import open_model
from core.models.specs import ModelSpec
from core.pruning.masks import apply_masks, keep_largest

from ..pruning.data import random_splits


def main() -> None:
    """Print CPU and wall-clock seconds of both ways, and their ratio."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("model", nargs="?", default="resnet20")
    options.add_argument("--images", type=int, default=250)
    options.add_argument("--threads", type=int, default=1)
    options.add_argument("--layers", type=int, default=None, help="only every n-th layer")
    options.add_argument("--no-naive", action="store_true")
    options.add_argument("--precision", default="float32")
    given = options.parse_args()
    torch.set_num_threads(given.threads)
    model = open_model(ModelSpec(source="cifar", name=given.model, weights="random"))
    splits = random_splits(model, select=given.images)
    settings = SensitivitySettings(images=given.images, precision=given.precision)
    layers = list(model.prunable())[:: given.layers or 1]

    cpu, wall = time.process_time(), time.perf_counter()
    measure_sensitivity(model, splits, settings, layers=layers)
    cpu_s, wall_s = time.process_time() - cpu, time.perf_counter() - wall
    print(f"{given.model}: {len(layers)} layers x {len(settings.levels)} levels x {given.images} images")
    print(f"prefix cached: {cpu_s:.1f} s of CPU, {wall_s:.1f} s")
    if given.no_naive:
        return

    cpu, wall = time.process_time(), time.perf_counter()
    evaluate(model, splits, "select")
    clone = model.clone()
    for name in layers:
        weight = clone.prunable()[name].weight
        dense = weight.detach().clone()
        for level in settings.levels:
            apply_masks(clone, {name: keep_largest(dense.abs(), round(level * dense.numel()))})
            evaluate(clone, splits, "select")
            weight.data.copy_(dense)
    naive_cpu_s, naive_wall_s = time.process_time() - cpu, time.perf_counter() - wall
    print(f"naive loop:    {naive_cpu_s:.1f} s of CPU, {naive_wall_s:.1f} s")
    print(f"ratio:         {naive_cpu_s / cpu_s:.2f} (CPU), {naive_wall_s / wall_s:.2f} (wall clock)")


if __name__ == "__main__":
    main()
