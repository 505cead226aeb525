"""Images per second of the training loop beside a plain PyTorch loop: same model, data, augmentation and precision.

    .venv/bin/python -m tests.benchmarks.training_speed resnet20 --images 1024 --epochs 4 --threads 1

Epochs of both loops alternate within one run, so that other work on the machine disturbs both alike; the ratio is the
median of the pairs. CPU seconds decide, wall-clock seconds are printed beside them. A second run in fp32 gives the
gain of bf16.
"""

import argparse
import statistics
import time
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.nn import functional as F

from core.data.splits import Splits
from core.models.opening import open_model
from core.models.specs import ModelSpec
from core.models.traced import TracedModel
from core.pruning.criteria import CalibrationContext
from core.pruning.plan import Plan
from core.training.engine import chosen_precision
from core.training.hooks import Hook
from core.training.loop import Run
from core.training.masking import GradualMasks
from core.training.objective import CrossEntropy
from core.training.settings import StageSettings, TrainingSettings

from ..pruning.data import random_splits

RATE = 0.01


@dataclass
class Times:
    """CPU and wall-clock seconds of each epoch."""

    cpu: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)
    _began: tuple[float, float] = (0.0, 0.0)

    def begin(self) -> None:
        self._began = time.process_time(), time.perf_counter()

    def end(self) -> None:
        self.cpu.append(time.process_time() - self._began[0])
        self.wall.append(time.perf_counter() - self._began[1])


class Alternate(Hook):
    """Before every epoch of the loop, the same epoch in plain PyTorch."""

    def __init__(self, model: TracedModel, splits: Splits, settings: TrainingSettings, precision: str) -> None:
        self.plain, self.splits, self.settings, self.bf16 = model.clone(), splits, settings, precision == "bf16"
        if settings.channels_last:
            self.plain.graph_module.to(memory_format=torch.channels_last)
        parameters = self.plain.graph_module.parameters()
        self.optimizer = torch.optim.SGD(parameters, lr=RATE, momentum=0.9, nesterov=True)
        self.ours, self.theirs = Times(), Times()

    def epoch_start(self, run: Run) -> None:
        self.theirs.begin()
        self._plain_epoch()
        self.theirs.end()
        self.ours.begin()

    def after_step(self, run: Run) -> None:
        if run.stage_step % run.steps_per_epoch == 0:  # before the evaluation
            self.ours.end()

    def _plain_epoch(self) -> None:
        self.plain.train()
        for x, y in self.splits.train.batches(self.settings.batch_size, shuffle=True, augment=True):
            if self.settings.channels_last:
                x = x.contiguous(memory_format=torch.channels_last)
            with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
                logits = self.plain.predict(x).float()
            loss = F.cross_entropy(logits, y)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()


def measure(model: TracedModel, splits: Splits, given: argparse.Namespace, precision: str, *, masked: bool) -> float:
    """Print one comparison; returns the loop's images per CPU second."""
    settings = TrainingSettings(batch_size=given.batch, precision=precision, channels_last=not given.contiguous)
    both = Alternate(model, splits, settings, chosen_precision(precision, torch.device("cpu")))
    epochs, hooks = given.epochs + 1, [both]  # the first pair warms up
    plan = Plan(sparsity=0.9)
    if masked:
        context = CalibrationContext(splits)
        hooks.insert(0, GradualMasks(plan, schedule="linear", epochs=epochs, mode="simulated", context=context))
    stage: Any = StageSettings(epochs=epochs, learning_rate=RATE, schedule="constant")
    with Run(model, splits, plan, settings, stages=(("Speed", epochs),), target=0.0) as run:
        run.stage(stage, CrossEntropy(), hooks=hooks, best_from=epochs)
    ours, theirs = both.ours, both.theirs
    overhead = [a / b - 1 for a, b in zip(ours.cpu[1:], theirs.cpu[1:], strict=True)]
    images = given.images
    print(
        f"{precision}{', masked θ·M' if masked else ''}: loop {images / statistics.median(ours.cpu[1:]):.0f}, plain "
        f"{images / statistics.median(theirs.cpu[1:]):.0f} images per CPU second (wall clock "
        f"{images / statistics.median(ours.wall[1:]):.0f}, {images / statistics.median(theirs.wall[1:]):.0f}); "
        f"overhead {statistics.median(overhead):+.1%} (of {len(overhead)} pairs: {min(overhead):+.1%} to "
        f"{max(overhead):+.1%})",
        flush=True,
    )
    return images / statistics.median(ours.cpu[1:])


def main() -> None:
    """Compare in the precision that “auto” takes here, then in fp32, then with masks."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("model", nargs="?", default="resnet20")
    options.add_argument("--images", type=int, default=1024)
    options.add_argument("--batch", type=int, default=128)
    options.add_argument("--epochs", type=int, default=4)
    options.add_argument("--threads", type=int, default=1)
    options.add_argument("--contiguous", action="store_true", help="without channels_last")
    given = options.parse_args()
    torch.set_num_threads(given.threads)
    if given.model.startswith(("digits", "scenes")):
        model = open_model(given.model)
    else:
        model = open_model(ModelSpec(source="cifar", name=given.model, weights="random"))
    splits = random_splits(model, train=given.images, select=2, test=2)
    auto = chosen_precision("auto", torch.device("cpu"))
    speeds = {
        precision: measure(model, splits, given, precision, masked=False) for precision in dict.fromkeys((auto, "fp32"))
    }
    measure(model, splits, given, auto, masked=True)
    if auto == "bf16":
        print(f"bf16 against fp32 in the loop: {speeds['bf16'] / speeds['fp32']:.2f} times the images per CPU second")


if __name__ == "__main__":
    main()
