"""DG2PF beside its controls at equal epochs: ResNet-20 on CIFAR-10, measured on the 1,017 lossless test images.

    .venv/bin/python -m tests.benchmarks.dg2pf_table --data ../shared/data --epochs 20 --seeds 2 --csv table.csv

Rows are printed and written as they finish; a row that the CSV has already is not computed again, and a row that was
interrupted continues from its last epoch (checkpoints lie beside the CSV). Training images: cifar10-mini's training
split, and with ``--jpeg N`` N more of cifar10-jpeg that are neither in cifar10-mini's training nor in its selection
images. Methods with two stages share the epochs half and half; patience is off, so that epochs are equal.
"""

import argparse
import csv
import io
import tarfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from core.analysis.evaluation import Evaluation, evaluate
from core.analysis.statistics import compare_paired
from core.data.fingerprint import refined
from core.data.opening import open_data
from core.data.splits import Splits
from core.methods import prune
from core.models.opening import open_model
from core.models.traced import TracedModel
from core.progress import Progress
from core.pruning.plan import Plan
from core.training.checkpoints import Checkpoints

COLUMNS = (
    "method", "sparsity", "seed", "epochs", "train_images", "allocation", "score", "low", "high", "n", "difference",
    "difference_low", "difference_high", "select_score", "restored_epoch", "revived", "precision", "threads", "seconds",
)  # fmt: skip
IMAGES_PER_BATCH_FILE, IN_MINI = 10_000, 1_017


def with_jpeg(splits: Splits, folder: Path, count: int) -> Splits:
    """More training images: the first ``count`` JPEGs of CIFAR-10's training set that cifar10-mini does not hold."""
    labels = np.load(folder / "train_labels_original_order.npy")
    rank, wanted = np.zeros(10, int), {}
    for index, label in enumerate(labels):  # image k of a class is the k-th of that class in the original order
        if index % IMAGES_PER_BATCH_FILE >= IN_MINI and len(wanted) < count:
            wanted[(int(label), int(rank[label]))] = len(wanted)
        rank[label] += 1
    images, targets = np.zeros((len(wanted), 3, 32, 32), np.uint8), np.zeros(len(wanted), np.int64)
    with tarfile.open(folder / "cifar10-jpeg.tar.gz") as archive:
        for member in archive:
            parts = Path(member.name).parts
            if not member.name.endswith(".jpg") or "train" not in parts:
                continue
            label = splits.class_names.index(parts[-2])
            place = wanted.get((label, int(Path(parts[-1]).stem)))
            file = archive.extractfile(member) if place is not None else None
            if file is not None:
                images[place] = np.asarray(Image.open(io.BytesIO(file.read())).convert("RGB")).transpose(2, 0, 1)
                targets[place] = label
    train = replace(
        splits.train,
        images=torch.cat([splits.train.pixels(np.arange(len(splits.train))), torch.from_numpy(images)]),
        targets=torch.cat([splits.train.targets, torch.from_numpy(targets)]),
    )
    return replace(splits, train=train, fingerprint=refined(splits.fingerprint, ("jpeg", count)))


def rows(given: argparse.Namespace) -> Iterator[tuple[str, Plan | None]]:
    """Name and plan of every row; seeds beyond the first at the middle level only, unless ``--all-seeds``."""
    epochs, half = given.epochs, max(1, given.epochs // 2)
    training = {"batch_size": given.batch, "images": given.train_images, "precision": given.precision}
    sgd = {"epochs": epochs, "optimizer": "sgd", "learning_rate": given.tune_rate, "schedule": "cosine"}
    adamw = {"epochs": half, "optimizer": "adamw", "learning_rate": given.prune_rate, "schedule": "constant"}
    adamw["clip_norm"] = 1.0
    rest = sgd | {"epochs": max(1, epochs - half)}
    dg2pf = {"training": training, "tail_epochs": 0, "prune": adamw, "tune": rest}
    methods: dict[str, tuple[str, dict[str, Any]]] = {
        "one-shot": ("one_shot", {}),
        "one-shot + fine-tune": ("one_shot_fine_tune", {"training": training, "tune": sgd}),
        "gradual": (
            "gradual",
            {"training": training, "prune": sgd | {"epochs": half, "schedule": "constant"}, "tune": rest},
        ),
        "DG2PF, no distillation": ("dg2pf", dg2pf | {"distillation": {"form": "off"}}),
        "DG2PF": ("dg2pf", dg2pf),
    }
    yield "dense", None
    yield (
        "dense, trained",
        Plan(method="dense_trained", sparsity=0.0, method_settings={"training": training, "tune": sgd}),
    )
    middle = given.levels[len(given.levels) // 2]
    for seed in range(given.seeds):
        for level in given.levels:
            if seed and level != middle and not given.all_seeds:
                continue
            for name, (method, settings) in methods.items():
                if seed and method == "one_shot":
                    continue  # it draws nothing
                yield (
                    name,
                    Plan(
                        method=method, sparsity=level, allocation=given.allocation, seed=seed, method_settings=settings
                    ),
                )


class Say(Progress):
    """One line per epoch."""

    def __init__(self) -> None:
        self._said = 0

    def publish(self, partial: Any) -> None:
        if len(partial["epochs"]) > self._said:
            self._said = len(partial["epochs"])
            row = partial["epochs"][-1]
            print(
                f"    epoch {row['epoch']}: loss {row['loss']:.4f}, select {row['select_score']:.4f}, sparsity "
                f"{row['sparsity']:.3f}, {row['images_per_s']:.0f} images/s",
                flush=True,
            )


def measured(
    name: str, plan: Plan | None, model: TracedModel, splits: Splits, dense: Evaluation, given: argparse.Namespace
) -> dict[str, Any]:
    """One row of the table."""
    began = time.perf_counter()
    row: dict[str, Any] = dict.fromkeys(COLUMNS, "")
    row.update(method=name, sparsity=0.0, seed="", epochs=0, train_images=_images(splits, given))
    test = dense
    if plan is not None:
        key = f"{name}-{plan.sparsity}-{plan.seed}".replace(" ", "_")
        checkpoints = Checkpoints(given.csv.with_suffix("") / key)
        result = prune(model, splits, plan, progress=Say(), checkpoints=checkpoints)
        checkpoints.clear()
        test = evaluate(result.model, splits, "test")
        row.update(sparsity=plan.sparsity, seed=plan.seed, allocation=plan.allocation)
        if result.history:
            epochs, best = result.history["epochs"], result.history["restored_epoch"]
            row.update(
                epochs=len(epochs),
                restored_epoch=best,
                select_score=epochs[best - 1]["select_score"] if best else "",
                revived=sum(epoch["revived"] or 0 for epoch in epochs),
                precision=result.history["precision"],
            )
        paired = compare_paired(dense, test)
        row.update(difference=paired.difference, difference_low=paired.low, difference_high=paired.high)
    low, high = test.interval
    row.update(score=test.score, low=low, high=high, n=test.n, threads=given.threads)
    row.update(seconds=round(time.perf_counter() - began, 1))
    return row


def _images(splits: Splits, given: argparse.Namespace) -> int:
    return min(len(splits.train), given.train_images or len(splits.train))


def _key(row: dict[str, Any]) -> tuple[str, ...]:
    return str(row["method"]), str(row["sparsity"]), str(row["seed"])


def main() -> None:
    """Compute the rows that the CSV lacks."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", type=Path, default=Path("../shared/data"))
    options.add_argument("--csv", type=Path, default=Path("dg2pf_table.csv"))
    options.add_argument("--epochs", type=int, default=20)
    options.add_argument("--levels", type=float, nargs="+", default=[0.8, 0.9, 0.95])
    options.add_argument("--seeds", type=int, default=2)
    options.add_argument("--all-seeds", action="store_true", help="every seed at every level")
    options.add_argument("--train-images", type=int, default=None, help="a stratified part of the training images")
    options.add_argument("--jpeg", type=int, default=0, help="more training images, from cifar10-jpeg")
    options.add_argument("--batch", type=int, default=128)
    options.add_argument("--allocation", default="global")
    options.add_argument("--prune-rate", type=float, default=1e-3, help="AdamW, DG2PF's first stage")
    options.add_argument("--tune-rate", type=float, default=0.01, help="SGD")
    options.add_argument("--precision", default="auto")
    options.add_argument("--threads", type=int, default=2)
    given = options.parse_args()
    torch.set_num_threads(given.threads)
    model = open_model("resnet20", checkpoint=given.data / "checkpoints" / "resnet20-12fca82f.th")
    mean, std = (tuple(model.origin[key]) for key in ("mean", "std"))
    splits = open_data("cifar10", root=given.data / "cifar10-mini", mean=mean, std=std)
    if given.jpeg:
        splits = with_jpeg(splits, given.data / "cifar10-jpeg", given.jpeg)
    print(splits, flush=True)
    done = set()
    if given.csv.exists():
        with given.csv.open(newline="") as file:
            done = {_key(row) for row in csv.DictReader(file)}
    dense = evaluate(model, splits, "test")
    for name, plan in rows(given):
        wanted = {
            "method": name,
            "sparsity": 0.0 if plan is None else plan.sparsity,
            "seed": "" if plan is None else plan.seed,
        }
        if _key(wanted) in done:
            continue
        row = measured(name, plan, model, splits, dense, given)
        fresh = not given.csv.exists()
        with given.csv.open("a", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            if fresh:
                writer.writeheader()
            writer.writerow(row)
        print(
            f"{name:24} {row['sparsity']:.0%}  seed {row['seed'] or 0}: {row['score']:.4f} ({row['low']:.4f} to "
            f"{row['high']:.4f}, n = {row['n']})  {row['epochs']} epochs, {row['seconds']:.0f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
