"""Print the zoo table: ``python -m tests.zoo.report [names…]``. One process, one model at a time."""

import gc
import resource
import sys

import torch

from .catalogue import CHECKS, Outcome, check, input_size, names


def _row(outcome: Outcome) -> str:
    marks = "  ".join(f"{'yes' if step in outcome.passed else 'NO':^9}" for step in CHECKS)
    size, millions = input_size(outcome.name), outcome.parameters / 1e6
    return f"{outcome.name:<28}{size:>4}{millions:>9.2f}  {outcome.captured_by:<9}{outcome.trace_s:>7.2f}  {marks}"


def main(wanted: list[str]) -> int:
    torch.set_num_threads(1)
    header = "  ".join(f"{step:^9}" for step in CHECKS)
    print(f"{'model':<28}{'size':>4}{'M param':>9}  {'by':<9}{'CPU s':>7}  {header}")
    outcomes = []
    for name in wanted:
        outcomes.append(check(name))
        print(_row(outcomes[-1]), flush=True)
        for problem in outcomes[-1].problems:
            print(f"    {problem}", flush=True)
        gc.collect()
    for step in CHECKS:
        passed = sum(step in outcome.passed for outcome in outcomes)
        print(f"{step}: {passed} of {len(outcomes)}")
    whole = [outcome for outcome in outcomes if not outcome.problems]
    print(f"all of it: {len(whole)} of {len(outcomes)}")
    print("failed: " + (", ".join(outcome.name for outcome in outcomes if outcome.problems) or "none"))
    print(f"peak memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GiB")
    return int(len(whole) != len(outcomes))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or names()))
