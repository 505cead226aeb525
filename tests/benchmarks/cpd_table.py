"""CPD beside its controls and Torch-Pruning at equal epochs: CIFAR-10 ResNets on the lossless test images, and samples.

    .venv/bin/python -m tests.benchmarks.cpd_table --models resnet20 --shares 0.53 0.6 --epochs 12 --csv cpd.csv
    .venv/bin/python -m tests.benchmarks.cpd_table --models scenes_fcn --shares 0.5 --epochs 12 --batch 16

``--shares``: of the MACs that go (0.53: 2.1× fewer). CPD prunes in a third of the epochs and fine-tunes in the rest;
the controls remove at once and fine-tune in all of them. Torch-Pruning's row: its group-norm pruning, global and
iterative, then the same fine-tuning (out of the box its result does not run, see ``torch_pruned``). Rows are printed
and written as they finish; a row that the CSV has already is not computed again.
"""

import argparse
import csv
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from core.analysis.cost import count_macs, count_parameters
from core.analysis.evaluation import Evaluation, evaluate
from core.analysis.latency import LatencySettings, measure_latency
from core.analysis.statistics import compare_paired
from core.data.opening import open_data
from core.data.splits import Splits
from core.jobs.matching import fit_data
from core.methods import prune
from core.models.capture import trace
from core.models.cifar_resnet import CifarResNet
from core.models.opening import open_model
from core.models.traced import TracedModel
from core.pruning.plan import Plan

COLUMNS = (
    "model", "share", "method", "seed", "epochs", "score", "low", "high", "n", "difference", "difference_low",
    "difference_high", "macs", "parameters", "speedup", "speedup_low", "speedup_high", "seconds",
)  # fmt: skip
SAMPLES = {"digits_resnet": "digits", "digits_vit": "digits", "scenes_fcn": "scenes"}
CHECKPOINTS = {"resnet20": "resnet20-12fca82f.th", "resnet56": "resnet56-4bfd9763.th"}


def rows(given: argparse.Namespace) -> Iterator[tuple[str, float, int, str, Plan | None]]:
    """Model, share, seed, name and plan of every row; no plan for Torch-Pruning."""
    training = {"batch_size": given.batch, "precision": given.precision}
    tune = {"epochs": given.epochs, "learning_rate": 0.01, "schedule": "step", "weight_decay": 5e-4}
    first = max(1, given.epochs // 3)
    cpd = {
        "training": training,
        "round_to": given.round_to,
        "prune": {**tune, "epochs": first, "schedule": "constant"},
        "tune": {**tune, "epochs": given.epochs - first},
    }
    control = {"training": training, "tune": tune, "round_to": given.round_to}
    methods: dict[str, dict[str, Any] | None] = {
        "CPD": {"method": "cpd", "method_settings": cpd},
        "CPD, its authors' Fisher": {
            "method": "cpd",
            "method_settings": {**cpd, "criterion": "fisher", "cost": "none"},
        },
        "CPD, no distillation": {"method": "cpd", "method_settings": {**cpd, "distillation": {"form": "off"}}},
        "L2 at once": {"method": "one_shot_structured_fine_tune", "allocation": "global", "method_settings": control},
        "random at once": {
            "method": "one_shot_structured_fine_tune",
            "allocation": "uniform",
            "criterion": "random",
            "method_settings": control,
        },
        "Torch-Pruning (residual ignored)": None,
        "dense, trained as long": {"method": "dense_trained", "method_settings": {"training": training, "tune": tune}},
    }
    for name in given.models:
        for share in given.shares:
            for seed in range(given.seeds):
                for title, fields in methods.items():
                    if (given.methods and title not in given.methods) or (fields is None and name in SAMPLES):
                        continue
                    yield name, share, seed, title, Plan(sparsity=share, seed=seed, **fields) if fields else None


def opened(name: str, data: Path) -> tuple[TracedModel, Splits]:
    """A CIFAR network with its checkpoint, or a sample network, and its data."""
    if name in SAMPLES:
        model = open_model(name)
        return model, fit_data(open_data(SAMPLES[name]), model)
    model = open_model(name, checkpoint=data / "checkpoints" / CHECKPOINTS[name])
    return model, fit_data(open_data("cifar10", root=data / "cifar10-mini"), model)


def torch_pruned(dense: TracedModel, name: str, share: float, round_to: int) -> TracedModel:
    """The dense network as Torch-Pruning prunes it to this share of the MACs, traced again.

    Out of the box the shortcuts without parameters (zero-padded channels) lead it to a network that does not run; so
    the layers of the residual stream are given to it as ignored.
    """
    import torch_pruning

    module = CifarResNet(int(name.removeprefix("resnet")))
    module.load_state_dict(dense.state_dict(), strict=False)
    x = torch.randn(1, 3, 32, 32)
    base, _ = torch_pruning.utils.count_ops_and_params(module, x)
    residual = [layer for key, layer in module.named_modules() if key == "conv1" or key.endswith("conv2")]
    pruner = torch_pruning.pruner.GroupNormPruner(
        module,
        x,
        importance=torch_pruning.importance.GroupMagnitudeImportance(p=2),
        global_pruning=True,
        pruning_ratio=0.9,
        max_pruning_ratio=0.9,
        iterative_steps=200,
        round_to=round_to,
        ignored_layers=[module.linear, *residual],
    )
    while torch_pruning.utils.count_ops_and_params(module, x)[0] > (1 - share) * base:
        pruner.step()
    traced = trace(module, dense.input_shape)
    traced.origin.update({key: dense.origin[key] for key in ("mean", "std") if key in dense.origin})
    return traced


def result_of(
    plan: Plan | None, dense: TracedModel, splits: Splits, name: str, share: float, seed: int, given: argparse.Namespace
) -> tuple[TracedModel, int]:
    """The small network, and the epochs that it was trained."""
    if plan is None:
        small = torch_pruned(dense, name, share, given.round_to)
        settings = {"training": {"batch_size": given.batch, "precision": given.precision}}
        settings["tune"] = {"epochs": given.epochs, "learning_rate": 0.01, "schedule": "step", "weight_decay": 5e-4}
        plan, dense = Plan(method="dense_trained", sparsity=0.0, seed=seed, method_settings=settings), small
    result = prune(dense, splits, plan)
    return result.model, len(result.history["epochs"])


def measured(dense: TracedModel, small: TracedModel, splits: Splits, before: Evaluation, pairs: int) -> dict[str, Any]:
    """Accuracy on the test images, MACs, parameters, and the paired latency ratio in ONNX Runtime."""
    test = evaluate(small, splits, "test")
    paired = compare_paired(before, test)
    settings = LatencySettings(runtimes=("onnxruntime",), pairs=pairs)
    latency = measure_latency({"dense": dense, "small": small}, reference="dense", settings=settings)
    (times,) = [row for row in latency["rows"] if row["variant"] == "small"]
    return {
        "score": test.score,
        "low": test.interval[0],
        "high": test.interval[1],
        "n": test.n,
        "difference": paired.difference,
        "difference_low": paired.low,
        "difference_high": paired.high,
        "macs": count_macs(small),
        "parameters": count_parameters(small),
        "speedup": times["ratio"],
        "speedup_low": times["ratio_low"],
        "speedup_high": times["ratio_high"],
    }


def main() -> None:
    """Compute the rows that the CSV lacks."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", type=Path, default=Path("../shared/data"))
    options.add_argument("--csv", type=Path, default=Path("cpd_table.csv"))
    options.add_argument("--models", nargs="+", default=["resnet20", "resnet56"], choices=[*CHECKPOINTS, *SAMPLES])
    options.add_argument("--shares", type=float, nargs="+", default=[0.53, 0.6])
    options.add_argument("--methods", nargs="+", default=[], help="rows to compute; all when not given")
    options.add_argument("--epochs", type=int, default=12)
    options.add_argument("--seeds", type=int, default=1)
    options.add_argument("--round-to", type=int, default=4)
    options.add_argument("--batch", type=int, default=128)
    options.add_argument("--pairs", type=int, default=60)
    options.add_argument("--precision", default="auto")
    options.add_argument("--threads", type=int, default=2)
    given = options.parse_args()
    torch.set_num_threads(given.threads)
    done: set[tuple[str, ...]] = set()
    if given.csv.exists():
        with given.csv.open(newline="") as file:
            done = {(row["model"], row["share"], row["method"], row["seed"]) for row in csv.DictReader(file)}
    ready: dict[str, tuple[TracedModel, Splits, Evaluation]] = {}
    for name, share, seed, title, plan in rows(given):
        if (name, str(share), title, str(seed)) in done:
            continue
        if name not in ready:
            dense, splits = opened(name, given.data)
            ready[name] = dense, splits, evaluate(dense, splits, "test")
            print(f"{name}: dense {ready[name][2].score:.4f}, {count_macs(dense) / 1e6:.2f} MMACs", flush=True)
        dense, splits, before = ready[name]
        began = time.perf_counter()
        small, epochs = result_of(plan, dense, splits, name, share, seed, given)
        row = {"model": name, "share": share, "method": title, "seed": seed, "epochs": epochs}
        row |= measured(dense, small, splits, before, given.pairs)
        row["seconds"] = round(time.perf_counter() - began, 1)
        fresh = not given.csv.exists()
        with given.csv.open("a", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            if fresh:
                writer.writeheader()
            writer.writerow(row)
        print(
            f"{name} −{share:.0%} {title:22} seed {seed}: {row['score']:.4f} ({row['low']:.4f} to {row['high']:.4f}), "
            f"{row['macs'] / 1e6:.2f} MMACs, {row['parameters'] / 1e3:.0f} k parameters, {row['speedup']:.2f}× "
            f"({row['speedup_low']:.2f} to {row['speedup_high']:.2f}), {row['seconds']:.0f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
