"""Which units go first: accuracy right after a removal, without training, for every criterion at equal MACs.

    .venv/bin/python -m tests.benchmarks.criteria_table --model resnet20 --shares 0.15 0.3 0.5

BatchNorm is recalibrated on 1,000 training images; criteria that look at data see 512. CIFAR-10, lossless test images.
"""

import argparse
from pathlib import Path

import torch

from core.analysis.evaluation import evaluate
from core.analysis.recalibration import recalibrate_batchnorm
from core.comb.combing import comb
from core.comb.summary import summarise
from core.comb.surgery import remove
from core.pruning.criteria import CalibrationContext
from core.pruning.groups import GROUP_CRITERIA
from core.pruning.groups.base import score_groups
from core.pruning.groups.budget import Limits
from core.pruning.groups.choosing import choose_units, savings

from .cpd_table import CHECKPOINTS, opened


def main() -> None:
    """Print a row for every criterion, allocation and cost."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", type=Path, default=Path("../shared/data"))
    options.add_argument("--model", default="resnet20", choices=list(CHECKPOINTS))
    options.add_argument("--shares", type=float, nargs="+", default=[0.15, 0.3, 0.5])
    options.add_argument("--threads", type=int, default=1)
    given = options.parse_args()
    torch.set_num_threads(given.threads)
    dense, splits = opened(given.model, given.data)
    found = comb(dense)
    sheet = summarise(found)
    per_mac = savings(sheet, "macs")
    print(f"{'criterion':14} {'allocation':11} {'per':5}" + "".join(f"  −{share:.0%} MACs" for share in given.shares))
    for criterion in GROUP_CRITERIA:
        scores = score_groups(criterion, found, CalibrationContext(splits, 512))
        for allocation in ("global", "isomorphic"):
            for saving in ({}, per_mac):
                line = f"{criterion:14} {allocation:11} {'MAC' if saving else '–':5}"
                for share in given.shares:
                    removal = choose_units(
                        sheet, scores, share, criterion=criterion, allocation=allocation, budget="macs",
                        limits=Limits(1, 0.1), overrides={}, protected=(), kinds=("channels",), saving=saving,
                    )  # fmt: skip
                    small = remove(found, {name: units for name, units in removal.items() if units})
                    recalibrate_batchnorm(small, splits, images=1000, seed=0)
                    line += f"  {evaluate(small, splits, 'test').score:9.2%}"
                print(line, flush=True)


if __name__ == "__main__":
    main()
