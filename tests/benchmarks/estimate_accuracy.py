"""How right are the instant estimates? Random plans: estimated first, all of them, then pruned, measured and timed.

    .venv/bin/python -m tests.benchmarks.estimate_accuracy --models resnet20 digits_resnet --csv estimates.csv

For each model, for plans on single weights and on units of groups: curves are measured, ``--learn`` other random plans
are measured so that the band can learn, then ``--plans`` plans are estimated, written down, and only then looked at.
Score: selection split, the same images for estimate and measurement. Latency: one image, ONNX Runtime, one thread, as a
ratio to the dense network: estimated from the times of layers, measured in interleaved pairs. The last lines give the
distribution of the errors, with and without what was learnt, and the server's milliseconds for one what-if.
"""

import argparse
import csv
import random
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from core.analysis.describe import describe_model
from core.analysis.latency import LatencySettings, measure_latency
from core.analysis.network_latency import NetworkLatency
from core.analysis.sensitivity import SensitivitySettings, measure_sensitivity
from core.analysis.weights import weight_statistics
from core.comb.combing import comb
from core.comb.sheet import GroupSheet
from core.data.opening import open_data
from core.data.splits import Splits
from core.errors import PlanError
from core.jobs.matching import fit_data
from core.methods import prune
from core.methods.one_shot_structured import planned_removal
from core.models.opening import open_model
from core.models.traced import TracedModel
from core.planning.latency import LatencyProfile, measure_profile
from core.planning.outlook import LayerOutlook, Outlook, UnitOutlook
from core.planning.trying import Trial
from core.planning.whatif import Basis
from core.pruning.allocation import ALLOCATIONS
from core.pruning.groups import GROUP_ALLOCATIONS
from core.pruning.plan import Plan

COLUMNS = (
    "model", "kind", "plan", "sparsity", "allocation", "fixed", "estimated", "low", "high", "unlearnt", "unlearnt_low",
    "unlearnt_high", "measured", "n", "error", "inside", "ratio_estimated", "ratio_measured", "ratio_low", "ratio_high",
)  # fmt: skip
CHECKPOINTS = {"resnet20": "resnet20-12fca82f.th", "resnet56": "resnet56-4bfd9763.th"}


def opened(name: str, data: Path) -> tuple[TracedModel, Splits]:
    """A CIFAR network with its checkpoint, or a sample network, and its data."""
    if name not in CHECKPOINTS:
        model = open_model(name)
        return model, fit_data(open_data(name.split("_")[0]), model)
    model = open_model(name, checkpoint=data / "checkpoints" / CHECKPOINTS[name])
    return model, fit_data(open_data("cifar10", root=data / "cifar10-mini"), model)


def random_plan(draw: random.Random, kind: str, names: Sequence[str]) -> Plan:
    """Any allocation, any amount from little to too much, and now and then some layers or groups fixed by hand."""
    fixed = {name: round(draw.uniform(0.0, 0.9), 2) for name in draw.sample(list(names), draw.choice((0, 0, 0, 2, 4)))}
    if kind == "weights":
        sparsity = round(min(0.97, 1.0 - 0.7 * 0.05 ** draw.random()), 3)
        return Plan(sparsity=sparsity, allocation=draw.choice(list(ALLOCATIONS)), overrides=fixed)
    return Plan(
        method="one_shot_structured",
        sparsity=round(1.0 - 0.95 * 0.25 ** draw.random(), 3),
        allocation=draw.choice(list(GROUP_ALLOCATIONS)),
        overrides={f"group:{name}": value for name, value in fixed.items()},
        method_settings={"budget": draw.choice(("parameters", "macs")), "round_to": draw.choice((1, 8, 8))},
    )


def possible_plans(draw: random.Random, kind: str, outlook: Outlook, names: Sequence[str], count: int) -> list[Plan]:
    """Random plans, those that are refused left out."""
    plans: list[Plan] = []
    while len(plans) < count:
        plan = random_plan(draw, kind, names)
        try:
            outlook.effect(plan)
        except PlanError:
            continue
        plans.append(plan)
    return plans


def rows_of(name: str, kind: str, given: argparse.Namespace) -> list[dict[str, Any]]:
    """Estimate, then measure, all random plans of one model and kind."""
    model, splits = opened(name, given.data)
    of = "layers" if kind == "weights" else "groups"
    curves = measure_sensitivity(model, splits, SensitivitySettings(of=of, images=given.images))
    sheet, profile = None, None
    trial = Trial(model, splits, images=given.images, sensitivity=curves if kind == "weights" else None)
    description = describe_model(model)
    if kind == "weights":
        outlook: Outlook = LayerOutlook(
            weight_statistics(model), description, sizes=trial.dense_sizes, sensitivity=curves
        )
        names = list(curves["layers"])
    else:
        sheet = trial.sheet
        profile = measure_profile(NetworkLatency(comb(model)), sheet)
        outlook = UnitOutlook(sheet, sizes=trial.dense_sizes, milliseconds=profile)
        names = [group.name for group in sheet.groups]
    basis = Basis.of(description, trial.dense.summary(), **{of: curves})
    start = basis
    draw = random.Random(given.seed)
    for plan in possible_plans(draw, kind, outlook, names, given.learn):
        basis = replace(basis, outcomes=(trial.run(plan, basis).outcome, *basis.outcomes))
        print(".", end="", flush=True)
    print(f" {name} {kind}: learnt from {given.learn} plans", flush=True)
    rows = []
    for plan in possible_plans(draw, kind, outlook, names, given.plans):
        rows.append(_estimated(name, kind, plan, outlook, start, basis, sheet, profile))
    for number, row in enumerate(rows):
        _measure(row, trial, basis, given)
        _print(row, number)
    print(f"{name} {kind}: one what-if takes {_what_if_ms(outlook, basis, rows):.1f} ms of the server", flush=True)
    return rows


def _estimated(
    name: str,
    kind: str,
    plan: Plan,
    outlook: Outlook,
    start: Basis,
    basis: Basis,
    sheet: GroupSheet | None,
    profile: LatencyProfile | None,
) -> dict[str, Any]:
    effect = outlook.effect(plan)
    said, before = basis.estimate(effect), start.estimate(effect)
    assert said is not None
    assert before is not None
    ratio = 1.0
    if sheet is not None and profile is not None:
        ratio = profile(sheet.counts(planned_removal(sheet, plan)[0])) / profile.dense_ms
    row = {"model": name, "kind": kind, "plan": plan, "sparsity": plan.sparsity, "allocation": plan.allocation}
    row |= {"fixed": len(plan.overrides), "ratio_estimated": ratio}
    row |= {"estimated": said.band.score, "low": said.band.low, "high": said.band.high}
    return row | {
        "unlearnt": before.band.score,
        "unlearnt_low": before.band.low,
        "unlearnt_high": before.band.high,
    }


def _measure(row: dict[str, Any], trial: Trial, basis: Basis, given: argparse.Namespace) -> None:
    """Look: score and latency of the plan that was estimated."""
    found = trial.run(row["plan"], basis).body
    row |= {"measured": found["score"], "n": found["n"], "error": row["estimated"] - found["score"]}
    row["inside"] = row["low"] - 1e-9 <= found["score"] <= row["high"] + 1e-9
    small = prune(trial.model, trial.splits, row["plan"], sensitivity=trial.sensitivity).model
    settings = LatencySettings(runtimes=("onnxruntime",), pairs=given.pairs)
    timed = measure_latency({"dense": trial.model, "small": small}, reference="dense", settings=settings)
    (latency,) = [item for item in timed["rows"] if item["variant"] == "small"]
    row["ratio_measured"] = 1.0 / latency["ratio"]
    row |= {"ratio_low": 1.0 / latency["ratio_high"], "ratio_high": 1.0 / latency["ratio_low"]}


def _print(row: dict[str, Any], number: int) -> None:
    print(
        f"{row['model']:14}{row['kind']:8}{number + 1:3} {row['allocation']:12}{row['sparsity']:6.1%} "
        f"{row['fixed']} fixed: estimated {row['estimated']:6.1%} [{row['low']:6.1%}, {row['high']:6.1%}], measured "
        f"{row['measured']:6.1%}{'' if row['inside'] else '  OUTSIDE'}; time {row['ratio_estimated']:.2f}× estimated, "
        f"{row['ratio_measured']:.2f}× measured [{row['ratio_low']:.2f}, {row['ratio_high']:.2f}]",
        flush=True,
    )


def _what_if_ms(outlook: Outlook, basis: Basis, rows: Sequence[dict[str, Any]]) -> float:
    """Median CPU milliseconds of an answer: effect, costs, and the estimate with its calibration fitted anew."""
    times = []
    for row in rows:
        began = time.process_time()
        fresh = replace(basis)
        fresh.estimate(outlook.effect(row["plan"]))
        outlook.costs(row["plan"])
        times.append(1e3 * (time.process_time() - began))
    return statistics.median(times)


def summary(rows: Sequence[dict[str, Any]], title: str) -> str:
    """The distribution of the errors of some rows, in words."""
    error = np.abs([row["error"] for row in rows])
    before = np.abs([row["unlearnt"] - row["measured"] for row in rows])
    held = np.mean([row["unlearnt_low"] - 1e-9 <= row["measured"] <= row["unlearnt_high"] + 1e-9 for row in rows])
    inside = np.mean([row["inside"] for row in rows])
    width = np.median([row["high"] - row["low"] for row in rows])
    ratio = np.abs([row["ratio_estimated"] / row["ratio_measured"] - 1.0 for row in rows])
    return (
        f"{title}: {len(rows)} plans. Score: off by {100 * np.median(error):.1f} points in the median, "
        f"{100 * np.quantile(error, 0.9):.1f} at the 90th percentile; {inside:.0%} "
        f"inside the band (median width {100 * width:.1f} points). Before anything was learnt: "
        f"{100 * np.median(before):.1f}, {100 * np.quantile(before, 0.9):.1f}, {held:.0%} inside. Latency ratio: "
        f"off by {np.median(ratio):.0%} in the median, {np.quantile(ratio, 0.9):.0%} at the 90th percentile."
    )


def main() -> None:
    """Print a row per plan and the distribution of the errors."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--models", nargs="+", default=["resnet20", "digits_resnet"])
    options.add_argument("--kinds", nargs="+", default=["weights", "units"], choices=["weights", "units"])
    options.add_argument("--plans", type=int, default=12)
    options.add_argument("--learn", type=int, default=10)
    options.add_argument("--images", type=int, default=500)
    options.add_argument("--pairs", type=int, default=30)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--data", type=Path, default=Path("../shared/data"))
    options.add_argument("--csv", type=Path)
    given = options.parse_args()
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    for name in given.models:
        for kind in given.kinds:
            rows += rows_of(name, kind, given)
            if given.csv is not None:
                with given.csv.open("w", newline="") as file:
                    writer = csv.DictWriter(file, COLUMNS)
                    writer.writeheader()
                    writer.writerows([{**row, "plan": row["plan"].model_dump_json()} for row in rows])
            print(summary(rows[-given.plans :], f"{name} {kind}"), flush=True)
    print(summary(rows, "All"))


if __name__ == "__main__":
    main()
