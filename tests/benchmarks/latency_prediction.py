"""Predicted against measured latency of structured variants: ratios to the dense network, measured in one run.

    .venv/bin/python -m tests.benchmarks.latency_prediction --models resnet56 mobilenet_v2 --round-to 8 1

Every variant loses a random share of each group. Predicted: ``NetworkLatency``, from layers timed by themselves.
Measured: ONNX Runtime, interleaved pairs with the dense network, median of the ratios with its interval.
"""

import argparse
import random

import numpy as np
import torch

from core.analysis.latency import LatencySettings, measure_latency
from core.analysis.latency_table import LatencyTable
from core.analysis.network_latency import NetworkLatency
from core.comb.combing import comb
from core.comb.groups import Comb
from core.comb.summary import summarise
from core.comb.surgery import remove
from core.models.opening import open_model
from core.models.specs import ModelSpec


def random_removal(found: Comb, share: float, round_to: int, seed: int) -> dict[str, list[int]]:
    """About this share of every group, what stays in multiples of ``round_to``."""
    draw = random.Random(seed)
    removal = {}
    for group in found.groups:
        if group.kind in ("channels", "neurons"):
            wanted = group.units * (1 - draw.uniform(0.5, 1.5) * share)
            keep = min(group.units, max(round_to, round(wanted / round_to) * round_to))
            if keep < group.units:
                removal[group.name] = draw.sample(range(group.units), group.units - keep)
    return removal


def main() -> None:
    """Print a row per variant and the error over all."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--models", nargs="+", default=["resnet56", "mobilenet_v2"])
    options.add_argument("--shares", type=float, nargs="+", default=[0.2, 0.4, 0.6])
    options.add_argument("--round-to", type=int, nargs="+", default=[8, 1])
    options.add_argument("--pairs", type=int, default=60)
    given = options.parse_args()
    torch.set_num_threads(1)
    errors = []
    for name in given.models:
        source = "cifar" if name.startswith("resnet") and name[6:] in ("20", "32", "44", "56", "110") else "torchvision"
        model = open_model(ModelSpec(source=source, name=name, weights="random"))
        found = comb(model)
        sheet, times = summarise(found), NetworkLatency(found, table=LatencyTable())
        for round_to in given.round_to:
            for seed, share in enumerate(given.shares):
                removal = random_removal(found, share, round_to, seed)
                counts = sheet.counts(removal)
                predicted = times(counts) / times(sheet.dense)
                settings = LatencySettings(runtimes=("onnxruntime",), pairs=given.pairs)
                measured = measure_latency(
                    {"dense": model, "small": remove(found, removal)}, reference="dense", settings=settings
                )
                (row,) = [row for row in measured["rows"] if row["variant"] == "small"]
                ratio, low, high = 1 / row["ratio"], 1 / row["ratio_high"], 1 / row["ratio_low"]
                errors.append(abs(predicted / ratio - 1))
                print(
                    f"{name:14} round to {round_to:2}: {counts.macs / sheet.dense.macs:5.0%} of the MACs, predicted "
                    f"{predicted:.2f}× the time, measured {ratio:.2f}× ({low:.2f} to {high:.2f}), error "
                    f"{predicted / ratio - 1:+.0%}",
                    flush=True,
                )
        print(f"{name:14} {times.table.measured} layer shapes were timed", flush=True)
    print(f"median error {np.median(errors):.0%}, 90th percentile {np.quantile(errors, 0.9):.0%}, n = {len(errors)}")


if __name__ == "__main__":
    main()
