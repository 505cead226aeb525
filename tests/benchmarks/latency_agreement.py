"""Does ``measure_latency`` agree with independent timing loops around ONNX Runtime?

All measure the same exported files in the same process, alternating round by round, so that the machine's mood is the
same for all. Compared are the ratios (dense ÷ variant) with two loops: a naive one, each model many times in a row, and
an interleaved one, the models turn by turn and the median of the ratios of each turn. “inside” counts the rounds in
which the interleaved loop's ratio lies in the 95 % interval that ``measure_latency`` states; with both estimates
uncertain, somewhat fewer than 95 % are expected. Milliseconds are printed beside them.

    uv run python tests/benchmarks/latency_agreement.py [--rounds 5] [--pairs 30] [--image-size 64] [--json]
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import onnxruntime
import torch
from torchvision.models import mobilenet_v3_small, resnet18, resnet34

from core.analysis.latency import LatencySettings, measure_latency
from core.analysis.machine import CpuUse, machine_facts
from core.export.onnx_file import OnnxSettings, export_onnx
from core.models.capture import trace
from core.models.traced import TracedModel

IN_A_ROW = 4


def networks(size: int) -> dict[str, TracedModel]:
    """A reference, the same with 80 % zeros, one with about twice the work, and one with much less."""
    torch.manual_seed(0)
    dense = trace(resnet18(num_classes=10).eval(), (3, size, size))
    zeros = dense.clone()
    with torch.no_grad():
        for layer in zeros.prunable().values():
            layer.weight.mul_(torch.rand_like(layer.weight) > 0.8)
    return {
        "dense": dense,
        "80 % zeros": zeros,
        "resnet34": trace(resnet34(num_classes=10).eval(), (3, size, size)),
        "mobilenet_v3_small": trace(mobilenet_v3_small(num_classes=10).eval(), (3, size, size)),
    }


def _sessions(files: dict[str, Path]) -> dict[str, onnxruntime.InferenceSession]:
    found = {}
    for name, file in files.items():
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        found[name] = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    return found


def turn_by_turn(files: dict[str, Path], size: int, *, repeats: int) -> dict[str, float]:
    """An independent interleaved loop: ratio of dense to each model within every turn, then the median.

    In its turn a model runs ``IN_A_ROW`` times, and the first is not timed: it pays for the model before it.
    """
    images = np.random.default_rng(1).standard_normal((1, 3, size, size), dtype=np.float32)
    sessions = _sessions(files)
    feeds = {name: {session.get_inputs()[0].name: images} for name, session in sessions.items()}
    turns: list[dict[str, float]] = []
    for _ in range(repeats + 3):
        turn = {}
        for name, session in sessions.items():
            session.run(None, feeds[name])
            start = time.perf_counter()
            for _ in range(IN_A_ROW - 1):
                session.run(None, feeds[name])
            turn[name] = time.perf_counter() - start
        turns.append(turn)
    return {name: statistics.median(turn["dense"] / turn[name] for turn in turns[3:]) for name in files}


def naive(files: dict[str, Path], size: int, *, repeats: int) -> dict[str, float]:
    """What anyone would write: for each model a session, a few warm-up runs, then the median of many in a row (ms)."""
    images = np.random.default_rng(1).standard_normal((1, 3, size, size), dtype=np.float32)
    medians_ms = {}
    for name, session in _sessions(files).items():
        feed = {session.get_inputs()[0].name: images}
        for _ in range(5):
            session.run(None, feed)
        times_ms = []
        for _ in range(repeats):
            start = time.perf_counter()
            session.run(None, feed)
            times_ms.append((time.perf_counter() - start) * 1e3)
        medians_ms[name] = statistics.median(times_ms)
    return medians_ms


def compare(*, rounds: int, pairs: int, size: int) -> dict[str, Any]:
    """Ratios of both ways, round by round, and how far apart they are."""
    models = networks(size)
    settings = LatencySettings(runtimes=("onnxruntime",), pairs=pairs)
    use = CpuUse()
    ours: dict[str, list[dict[str, Any]]] = {name: [] for name in models}
    loops: dict[str, list[float]] = {name: [] for name in models}
    turns: dict[str, list[float]] = {name: [] for name in models}
    milliseconds: dict[str, list[float]] = {name: [] for name in models}
    with tempfile.TemporaryDirectory() as folder:
        files = {name: Path(folder) / f"{number}.onnx" for number, name in enumerate(models)}
        for name, model in models.items():
            export_onnx(model, files[name], settings=OnnxSettings(check=False))
        for _ in range(rounds):
            for row in measure_latency(models, reference="dense", settings=settings)["rows"]:
                ours[row["variant"]].append(row)
            for name, ratio in turn_by_turn(files, size, repeats=2 * pairs).items():
                turns[name].append(ratio)
            medians_ms = naive(files, size, repeats=2 * pairs)
            for name, median_ms in medians_ms.items():
                loops[name].append(medians_ms["dense"] / median_ms)
                milliseconds[name].append(median_ms)
    rows = []
    for name in models:
        mine = [row["ratio"] for row in ours[name]]
        inside = [
            row["ratio_low"] <= ratio <= row["ratio_high"] for row, ratio in zip(ours[name], turns[name], strict=True)
        ]
        rows.append(
            {
                "variant": name,
                "interleaved": statistics.median(mine),
                "interleaved_spread": [min(mine), max(mine)],
                "interleaved_ms": statistics.median(row["median_ms"] for row in ours[name]),
                "naive": statistics.median(loops[name]),
                "naive_spread": [min(loops[name]), max(loops[name])],
                "naive_ms": statistics.median(milliseconds[name]),
                "turn_by_turn": statistics.median(turns[name]),
                "interval": [statistics.median(row[f"ratio_{end}"] for row in ours[name]) for end in ("low", "high")],
                "inside": sum(inside),
                "agreement": statistics.median(mine) / statistics.median(turns[name]),
            }
        )
    return {"rows": rows, "rounds": rounds, "machine": machine_facts(), "others_cores": round(use.others_cores(), 2)}


def main() -> None:
    """Read the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pairs", type=int, default=30)
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    result = compare(rounds=arguments.rounds, pairs=arguments.pairs, size=arguments.image_size)
    if arguments.json:
        print(json.dumps(result, indent=2))
        return
    print(f"{result['machine']['cpu']}, others used {result['others_cores']} cores, {result['rounds']} rounds")
    print(
        f"{'variant':20} {'measure_latency [95 %]':>26} {'turn by turn':>13} {'inside':>7} {'agreement':>10} "
        f"{'naive loop':>26}  {'ms':>6} {'ms':>6}"
    )
    for row in result["rows"]:
        mine = f"{row['interleaved']:.3f} [{row['interval'][0]:.3f}–{row['interval'][1]:.3f}]"
        loop = f"{row['naive']:.3f} ({row['naive_spread'][0]:.3f}–{row['naive_spread'][1]:.3f})"
        inside = "" if row["variant"] == "dense" else f"{row['inside']}/{result['rounds']}"
        both_ms = f"{row['interleaved_ms']:6.2f} {row['naive_ms']:6.2f}"
        print(
            f"{row['variant']:20} {mine:>26} {row['turn_by_turn']:>13.3f} {inside:>7} {row['agreement']:>10.3f} "
            f"{loop:>26}  {both_ms}"
        )


if __name__ == "__main__":
    main()
