"""Milliseconds of the server for one what-if: a slider moved, everything answered from what is stored.

    .venv/bin/python -m tests.benchmarks.what_if_speed --models resnet56 resnet20

For each model and kind of plan: another sparsity each time; counts, bytes, latency, the expected score and its band are
computed anew, the calibration (from 30 measured plans) too. Curves and measured plans are made up, the network, its
weights and its groups are real: the time does not depend on what the numbers say. CPU time, so that other work on the
machine does not count; wall time beside it.
"""

import argparse
import time
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from core.analysis.describe import describe_model
from core.analysis.weights import weight_statistics
from core.comb.sheet import GroupSheet
from core.jobs.grouping import find_groups
from core.models.opening import open_model
from core.models.specs import ModelSpec
from core.planning.outlook import LayerOutlook, Outlook, UnitOutlook
from core.planning.whatif import Basis
from core.pruning.estimate import LEVELS
from core.pruning.plan import Plan

PAIRS = 30
MEASURED = {"estimated": False, "metric": "accuracy", "n": 500, "dense": {"loss": 0.3, "score": 0.93, "n": 500}}
SIZES = {"dense_bytes": 3_500_000, "sparse_bytes": 3_300_000}


def curves_of(names: list[str]) -> dict[str, Any]:
    """A measurement of the usual size."""
    return {
        name: [
            {"sparsity": s, "score": 0.9, "dloss": (0.1 + k % 7) * s**3, "dloss_se": 0.01, "dscore_se": 0.01}
            for s in LEVELS
        ]
        for k, name in enumerate(names)
    }


def timed(outlook: Outlook, basis: Basis, plan: Plan) -> tuple[np.ndarray, np.ndarray]:
    """CPU and wall milliseconds of answers at many positions of the slider."""
    cpu, wall = [], []
    for sparsity in np.linspace(0.2, 0.8, 25):
        moved = plan.changed(sparsity=round(float(sparsity), 4))
        fresh = replace(basis)
        before = time.process_time(), time.perf_counter()
        outlook.costs(moved)
        assert fresh.estimate(outlook.effect(moved)) is not None
        cpu.append(1e3 * (time.process_time() - before[0]))
        wall.append(1e3 * (time.perf_counter() - before[1]))
    return np.array(cpu), np.array(wall)


def main() -> None:
    """Print a line per model and kind."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--models", nargs="+", default=["resnet56"])
    given = options.parse_args()
    torch.set_num_threads(1)
    for name in given.models:
        cifar = name.removeprefix("resnet") in ("20", "32", "44", "56", "110")
        model = open_model(ModelSpec(source="cifar" if cifar else "torchvision", name=name, weights="random"))
        description, sheet = describe_model(model), find_groups(model)
        for kind in ("weights", "units"):
            _line(name, kind, model, description, sheet)


def _line(name: str, kind: str, model: Any, description: dict[str, Any], sheet: GroupSheet) -> None:
    if kind == "weights":
        weights = weight_statistics(model)
        own = {"layers": curves_of(list(weights))}
        outlook: Outlook = LayerOutlook(weights, description, sizes=SIZES, sensitivity={**MEASURED, **own})
        plans = [Plan(allocation=allocation) for allocation in ("lamp", "global", "sensitivity")]
    else:
        own = {"groups": curves_of([group.name for group in sheet.groups])}
        outlook = UnitOutlook(sheet, sizes=SIZES)
        plans = [
            Plan(method="one_shot_structured", allocation=allocation, method_settings={"budget": "macs"})
            for allocation in ("global", "isomorphic")
        ]
    outcomes = [
        outlook.effect(plans[0].changed(sparsity=s)).outcome(score=0.9, dense_score=0.93, n=500, estimated=None)
        for s in np.linspace(0.2, 0.8, PAIRS).round(3).tolist()
    ]
    body: Any = {"layers" if kind == "weights" else "groups": own}
    basis = Basis.of(description, {"metric": "accuracy", "score": 0.93, "n": 1000}, outcomes=outcomes, **body)
    for plan in plans:
        cpu, wall = timed(outlook, basis, plan)
        print(
            f"{name:14}{kind:8}{plan.allocation:12} {np.median(cpu):5.1f} ms of CPU in the median, {cpu.max():5.1f} at "
            f"most; wall {np.median(wall):5.1f} ms in the median",
            flush=True,
        )


if __name__ == "__main__":
    main()
