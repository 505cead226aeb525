"""SEAP beside what it must beat, at equal epochs and equal MACs: VGG-16-BN-like and ResNet-20/56 on CIFAR-10.

    .venv/bin/python -m tests.benchmarks.seap_table --data ../shared/data --models resnet20 --epochs 20 --csv seap.csv

SEAP gets a rate in channels; what it saved in MACs is the target of the others: channels by lot, the same share of
every group; smallest |γ| of BatchNorm over all groups; CPD. All train for the same number of epochs with the same SGD,
with the dense network as teacher and without. Accuracy is measured on the 1,017 lossless test images of cifar10-mini,
with its Wilson interval, and compared with the dense network image by image (exact McNemar test, Tango's interval).

Rows are printed and written as they finish; a row that the CSV has is not computed again, and a row that was
interrupted goes on from its last epoch (checkpoints lie beside the CSV). There are no published weights of a VGG for
CIFAR here: a narrower VGG-16 with BatchNorm is trained first, once, with ``--vgg-epochs``.
"""

import argparse
import csv
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from core.analysis.cost import count_macs, count_parameters
from core.analysis.evaluation import Evaluation, evaluate
from core.analysis.statistics import compare_paired
from core.data.opening import open_data
from core.data.splits import Splits
from core.methods import METHODS, prune
from core.models.capture import trace
from core.models.opening import open_model
from core.models.traced import TracedModel
from core.pruning.plan import Plan
from core.training.checkpoints import Checkpoints

from .dg2pf_table import Say, with_jpeg

COLUMNS = (
    "model", "method", "teacher", "rate", "seed", "epochs", "train_images", "parameters_removed", "macs_removed",
    "score", "low", "high", "n", "difference", "difference_low", "difference_high", "p_value", "differs",
    "select_score", "restored_epoch", "reopened", "least_kept", "most_kept", "precision", "threads", "seconds",
)  # fmt: skip
CHECKPOINTS = {"resnet20": "resnet20-12fca82f.th", "resnet56": "resnet56-4bfd9763.th"}
VGG = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512)
TEACHERS = {"dense": {"form": "canonical", "temperature": 4.0, "alpha": 0.7}, "none": {"form": "off"}}


class NarrowVGG(nn.Module):
    """VGG-16 with BatchNorm for 32×32 images and one linear layer (Simonyan & Zisserman 2015), ``width`` times as wide;
    0 stands for a pooling."""

    def __init__(self, width: float) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = 3
        for channels in VGG:
            if channels:
                outputs = max(8, round(channels * width))
                layers += [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
                inputs = outputs
            else:
                layers.append(nn.MaxPool2d(2))
        self.features, self.head = nn.Sequential(*layers), nn.Linear(inputs, 10)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        return self.head(self.features(x_NCHW).mean((2, 3)))


def dense_vgg(splits: Splits, given: argparse.Namespace) -> TracedModel:
    """Trained from random weights on the first call, read on later ones."""
    folder = given.csv.with_suffix("") / f"vgg-{given.vgg_width}-{given.vgg_epochs}-{len(splits.train)}"
    if not folder.exists():
        torch.manual_seed(0)
        fresh = trace(NarrowVGG(given.vgg_width).eval(), (3, 32, 32))
        stage = {"epochs": given.vgg_epochs, "learning_rate": 0.05, "weight_decay": 5e-4, "warmup_epochs": 1.0}
        settings = {"training": _training(given), "tune": stage}
        print("training the dense VGG", flush=True)
        prune(fresh, splits, Plan(method="dense_trained", method_settings=settings), progress=Say()).model.save(folder)
    return TracedModel.load(folder)


def opened(name: str, given: argparse.Namespace) -> tuple[TracedModel, Splits]:
    """A dense network and the data as it wants them."""
    reference = open_model("resnet20", checkpoint=given.data / "checkpoints" / CHECKPOINTS["resnet20"])
    mean, std = (tuple(reference.origin[key]) for key in ("mean", "std"))
    splits = open_data("cifar10", root=given.data / "cifar10-mini", mean=mean, std=std)
    if given.jpeg:
        splits = with_jpeg(splits, given.data / "cifar10-jpeg", given.jpeg)
    if name == "vgg16":
        return dense_vgg(splits, given), splits
    return open_model(name, checkpoint=given.data / "checkpoints" / CHECKPOINTS[name]), splits


def _training(given: argparse.Namespace) -> dict[str, Any]:
    return {"batch_size": given.batch, "images": given.train_images, "precision": given.precision}


def _stage(given: argparse.Namespace, epochs: int) -> dict[str, Any]:
    return {"epochs": epochs, "learning_rate": given.learning_rate, "weight_decay": 5e-4}


def plans(rate: float, macs: float | None, teacher: str, seed: int, given: argparse.Namespace) -> dict[str, Plan]:
    """The methods of one block of rows; ``macs``: the share that SEAP saved, None before it has run."""
    epochs = given.epochs
    common = {"training": _training(given), "distillation": TEACHERS[teacher]}
    if macs is None:
        own = common | {"train": _stage(given, epochs), "gate_learning_rate": given.gate_rate}
        return {"SEAP": Plan(method="seap", sparsity=rate, seed=seed, method_settings=own)}
    one_shot = common | {"budget": "macs", "round_to": 1, "tune": _stage(given, epochs)}
    first = max(1, epochs // 2)
    cpd = common | {
        "budget": "macs",
        "round_to": 1,
        "interval": given.cpd_interval,
        "prune": _stage(given, first) | {"schedule": "constant"},
        "tune": _stage(given, max(1, epochs - first)),
    }
    settings: dict[str, tuple[str, dict[str, Any]]] = {
        "random, uniform": (
            "one_shot_structured_fine_tune", one_shot | {"criterion": "random", "allocation": "uniform"},
        ),
        "BN scale, global": (
            "one_shot_structured_fine_tune", one_shot | {"criterion": "bn_scale", "allocation": "global"},
        ),
        "CPD": ("cpd", cpd),
    }  # fmt: skip
    return {
        name: Plan(method=method, sparsity=macs, seed=seed, method_settings=own)
        for name, (method, own) in settings.items()
        if method in METHODS
    }


class Table:
    """The CSV: rows that are there, and how new ones are added."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[dict[str, Any]] = []
        if path.exists():
            with path.open(newline="") as file:
                self.rows = list(csv.DictReader(file))

    def find(self, **wanted: Any) -> dict[str, Any] | None:
        """The row with these values."""
        return next((row for row in self.rows if all(str(row[k]) == str(v) for k, v in wanted.items())), None)

    def add(self, row: dict[str, Any]) -> None:
        """Write and print one."""
        fresh = not self.path.exists()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            if fresh:
                writer.writeheader()
            writer.writerow(row)
        self.rows.append(row)
        compared = "" if row["p_value"] == "" else f"  {row['difference']:+.4f} (p = {row['p_value']:.3f})"
        print(
            f"{row['model']:9} {row['method']:17} teacher {row['teacher']:5} rate {row['rate']!s:4} seed "
            f"{row['seed']!s:2} {row['score']:.4f} ({row['low']:.4f} to {row['high']:.4f}){compared}  parameters "
            f"−{row['parameters_removed']:.1%}, MACs −{row['macs_removed']:.1%}, {row['seconds']:.0f} s",
            flush=True,
        )


def measured(
    plan: Plan | None,
    model: TracedModel,
    splits: Splits,
    dense: Evaluation,
    key: dict[str, Any],
    given: argparse.Namespace,
) -> dict[str, Any]:
    """One row."""
    began = time.perf_counter()
    row: dict[str, Any] = dict.fromkeys(COLUMNS, "")
    row |= key | {"epochs": 0, "parameters_removed": 0.0, "macs_removed": 0.0, "threads": given.threads}
    row["train_images"] = min(len(splits.train), given.train_images or len(splits.train))
    test = dense
    if plan is not None:
        name = "-".join(str(value) for value in key.values()).replace(" ", "_").replace(",", "")
        checkpoints = Checkpoints(given.csv.with_suffix("") / name)
        result = prune(model, splits, plan, progress=Say() if given.verbose else Quiet(), checkpoints=checkpoints)
        checkpoints.clear()
        test = evaluate(result.model, splits, "test")
        epochs, best = result.history["epochs"], result.history["restored_epoch"]
        kept = list((epochs[-1].get("keep") or {}).values())
        paired = compare_paired(dense, test)
        row.update(
            epochs=len(epochs),
            parameters_removed=1 - count_parameters(result.model) / count_parameters(model),
            macs_removed=1 - count_macs(result.model) / count_macs(model),
            difference=paired.difference,
            difference_low=paired.low,
            difference_high=paired.high,
            p_value=paired.p_value,
            differs=paired.differs,
            select_score=epochs[best - 1]["select_score"] if best else "",
            restored_epoch=best,
            reopened=sum(epoch.get("reopened") or 0 for epoch in epochs),
            least_kept=min(kept, default=""),
            most_kept=max(kept, default=""),
            precision=result.history["precision"],
        )
    low, high = test.interval
    row.update(score=test.score, low=low, high=high, n=test.n, seconds=round(time.perf_counter() - began, 1))
    return row


def compute(name: str, table: Table, given: argparse.Namespace) -> None:
    """The rows of one network."""
    model, splits = opened(name, given)
    dense = evaluate(model, splits, "test")

    def row(method: str, teacher: str, rate: Any, seed: Any, plan: Plan | None) -> dict[str, Any]:
        key = {"model": name, "method": method, "teacher": teacher, "rate": rate, "seed": seed}
        known = table.find(**key)
        if known is None:
            known = measured(plan, model, splits, dense, key, given)
            table.add(known)
        return known

    row("dense", "none", 0, "", None)
    for teacher in () if given.alone else given.teachers:
        settings = {
            "training": _training(given),
            "distillation": TEACHERS[teacher],
            "tune": _stage(given, given.epochs),
        }
        row("dense, trained", teacher, 0, 0, Plan(method="dense_trained", method_settings=settings))
    for seed in range(given.seeds):
        for rate in given.rates:
            for teacher in given.teachers:
                (seap,) = plans(rate, None, teacher, seed, given).values()
                macs = float(row("SEAP", teacher, rate, seed, seap)["macs_removed"])
                for method, plan in plans(rate, macs, teacher, seed, given).items():
                    if not given.alone:
                        row(method, teacher, rate, seed, plan)


def summary(table: Table) -> None:
    """How much can go before the paired test tells the network from the dense one."""
    for name in dict.fromkeys(row["model"] for row in table.rows):
        for method in dict.fromkeys(row["method"] for row in table.rows if row["p_value"] != ""):
            alike = [
                float(row["parameters_removed"])
                for row in table.rows
                if (row["model"], row["method"]) == (name, method)
                and (str(row["differs"]) == "False" or float(row["difference"]) > 0)
            ]
            if alike:
                print(f"{name:9} {method:17} no worse than dense with {max(alike):.1%} of the parameters removed")


class Quiet(Say):
    """Says nothing on the way."""

    def publish(self, partial: Any) -> None:
        """Nothing."""


def main() -> None:
    """Compute the rows that the CSV lacks."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", type=Path, default=Path("../shared/data"))
    options.add_argument("--csv", type=Path, default=Path("seap_table.csv"))
    options.add_argument("--models", nargs="+", choices=["resnet20", "resnet56", "vgg16"], default=["resnet20"])
    options.add_argument("--rates", type=float, nargs="+", default=[0.3, 0.5, 0.7], help="of the channels")
    options.add_argument("--teachers", nargs="+", choices=list(TEACHERS), default=list(TEACHERS))
    options.add_argument("--alone", action="store_true", help="SEAP only: what the teacher is worth, over seeds")
    options.add_argument("--seeds", type=int, default=1)
    options.add_argument("--epochs", type=int, default=20, help="of every method")
    options.add_argument("--train-images", type=int, default=None, help="a stratified part of the training images")
    options.add_argument("--jpeg", type=int, default=0, help="more training images, from cifar10-jpeg")
    options.add_argument("--batch", type=int, default=128)
    options.add_argument("--learning-rate", type=float, default=0.01)
    options.add_argument("--gate-rate", type=float, default=1e-3, help="learning rate of SEAP's gates")
    options.add_argument("--cpd-interval", type=int, default=10, help="steps between two removals")
    options.add_argument("--vgg-width", type=float, default=0.5, help="channels of VGG-16, as a part of the original's")
    options.add_argument("--vgg-epochs", type=int, default=60)
    options.add_argument("--precision", default="auto")
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--verbose", action="store_true", help="a line per epoch")
    given = options.parse_args()
    torch.set_num_threads(given.threads)
    table = Table(given.csv)
    for name in given.models:
        compute(name, table, given)
    summary(table)


if __name__ == "__main__":
    main()
