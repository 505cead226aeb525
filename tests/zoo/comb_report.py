"""Print the table of comb over the zoo: ``python -m tests.zoo.comb_report [names…]``. One model at a time."""

import gc
import statistics
import sys

import torch

from .catalogue import names
from .comb_catalogue import EXPORTED, check_comb


def main(wanted: list[str]) -> int:
    torch.set_num_threads(1)
    print(
        f"{'model':<28}{'M param':>9}{'groups':>8}{'frozen':>8}{'comb s':>8}{'cut s':>8}{'gone':>8}{'difference':>12}"
    )
    outcomes = []
    for name in wanted:
        one = check_comb(name, onnx=name in EXPORTED)
        outcomes.append(one)
        print(
            f"{one.name:<28}{one.parameters / 1e6:>9.2f}{one.groups:>8}{one.frozen:>8}{one.comb_s:>8.2f}"
            f"{one.remove_s:>8.2f}{one.removed:>8.1%}{one.difference:>12.1e}",
            flush=True,
        )
        for problem in one.problems:
            print(f"    {problem}", flush=True)
        gc.collect()
    good = [one for one in outcomes if not one.problems]
    print(f"exact, ≥ 25 % smaller, trainable: {len(good)} of {len(outcomes)}")
    print(f"median grouping time {statistics.median(one.comb_s for one in outcomes):.2f} s CPU")
    print("failed: " + (", ".join(one.name for one in outcomes if one.problems) or "none"))
    return int(len(good) != len(outcomes))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or names()))
