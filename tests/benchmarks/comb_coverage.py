"""Coverage of comb: one CSV row per model over torchvision and timm, and Torch-Pruning on the same rows.

``python -m tests.benchmarks.comb_coverage --out rows.csv [--peer] [--resume] [--no-onnx] [--only REGEX] [--limit S]``

Random weights, 30 % of every group removed at random, the classifier protected, nothing told about any architecture.
Each side of each row runs in its own process (forked from one that has imported torch, so that a row costs its own
work and nothing else) with a limit on its CPU time, and on ten times as much wall-clock time.
With ``--resume`` rows that are in the file stay,
and only missing sides are measured. At the end the summary is printed; ``--summary`` prints it and measures nothing.
"""

import argparse
import csv
import json
import multiprocessing
import os
import re
import resource
import signal
import statistics
import time
import warnings
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from . import coverage_rows

COLUMNS = ("model", *coverage_rows.OURS, *coverage_rows.PEER)
_TORCHVISION = """resnet18 resnet50 mobilenet_v2 densenet121 googlenet efficientnet_b0 regnet_y_400mf convnext_tiny
    shufflenet_v2_x0_5 swin_t vit_b_32"""
_TIMM = """vit_tiny_patch16_224 xcit_nano_12_p16_224 levit_128s edgenext_xx_small fastvit_t8 poolformer_s12
    swin_tiny_patch4_window7_224 resnet10t efficientvit_b0 mobilevit_xxs repvgg_a0"""
PEER_ROWS = (
    *(f"torchvision/{name}" for name in _TORCHVISION.split()),
    *(f"timm/{name}" for name in _TIMM.split()),
)
"""22 rows like those of the issue: 11 of torchvision, 11 of timm."""


def _measure(name: str, side: str, onnx: bool, limit_s: int, pipe: Connection) -> None:
    """In the child: send every result as it comes."""
    import torch

    resource.setrlimit(resource.RLIMIT_CPU, (limit_s, limit_s + 5))
    warnings.simplefilter("ignore")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)  # the exporters print whole graphs when they give up
    os.dup2(nowhere, 2)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    try:
        if side == "ours":
            coverage_rows.ours(name, pipe.send, onnx=onnx)
        else:
            coverage_rows.peer(name, pipe.send)
    except Exception as error:
        key = "problem" if side == "ours" else "peer_problem"
        pipe.send({key: f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"})
    pipe.close()
    os._exit(0)


def _row(name: str, side: str, *, onnx: bool, limit_s: int) -> dict[str, Any]:
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_measure, args=(name, side, onnx, limit_s, sender))
    child.start()
    sender.close()
    row: dict[str, Any] = {}
    key = "problem" if side == "ours" else "peer_problem"
    deadline = time.monotonic() + 10 * limit_s
    try:
        while True:
            if not receiver.poll(max(0.0, deadline - time.monotonic())):
                row[key] = f"not finished after {10 * limit_s} s"
                break
            row.update(receiver.recv())
    except EOFError:
        pass
    child.kill() if key in row else child.join(5)
    child.join()
    if child.exitcode == -signal.SIGXCPU:
        row[key] = f"not finished after {limit_s} s of CPU time"
    elif child.exitcode and key not in row:
        row[key] = f"the process died with {child.exitcode}"
    return row


def _written(path: Path) -> dict[str, dict[str, Any]]:
    if not path.exists():
        return {}
    with path.open(newline="") as file:
        return {row["model"]: dict(row) for row in csv.DictReader(file)}


def _write(path: Path, rows: dict[str, dict[str, Any]]) -> None:
    draft = path.with_suffix(".draft")
    with draft.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for row in rows.values():
            writer.writerow({key: f"{v:.4g}" if isinstance(v, float) else v for key, v in row.items()})
    draft.replace(path)


def passed(row: dict[str, Any]) -> bool:
    """Everything that the bar asks of our side."""
    values = {key: str(row.get(key, "")) for key in ("traced", "exact", "smaller", "forward_backward", "onnx")}
    shown = all(values[key] == "True" for key in ("traced", "exact", "smaller"))
    ran = values["forward_backward"] in ("yes", "forward only")
    return shown and ran and values["onnx"] in ("True", "", "skipped: large") and not row.get("problem")


def peer_passed(row: dict[str, Any]) -> bool:
    """The peer runs forward and backward and is at least 25 % smaller; nobody checked that its numbers are right."""
    runs = str(row.get("peer_forward")) == "True" and str(row.get("peer_backward")) == "True"
    return runs and float(row.get("peer_removed") or 0) >= 0.25


def summary(rows: dict[str, dict[str, Any]]) -> str:
    """Coverage and medians, in words."""
    lines = []
    for source in ("torchvision", "timm"):
        mine = [row for name, row in rows.items() if name.startswith(source) and row.get("parameters")]
        if not mine:
            continue
        counts = {
            key: sum(str(row.get(key)) == "True" for row in mine) for key in ("traced", "exact", "smaller", "onnx")
        }
        good = sum(map(passed, mine))
        skipped = sum(str(row.get("onnx")).startswith("skipped") for row in mine)
        lines.append(
            f"{source}: {good} of {len(mine)} pass everything ({good / len(mine):.1%}); traced {counts['traced']}, "
            f"exact {counts['exact']}, ≥ 25 % smaller {counts['smaller']}, equal in ONNX Runtime {counts['onnx']} "
            f"({skipped} large ones skipped)"
        )
    wrong = [name for name, row in rows.items() if str(row.get("exact")) == "False"]
    lines.append(f"wrong results: {len(wrong)}{' (' + ', '.join(wrong) + ')' if wrong else ''}")
    for title, key in (("tracing", "trace_s"), ("grouping", "comb_s"), ("surgery", "remove_s")):
        lines.append(_median(f"median {title} time", [row.get(key) for row in rows.values()]))
    both = [row for row in rows.values() if row.get("peer_group_s") or row.get("peer_problem")]
    if both:
        good, theirs = sum(map(passed, both)), sum(map(peer_passed, both))
        lines.append(f"rows with Torch-Pruning: ours {good} of {len(both)}, Torch-Pruning {theirs} of {len(both)}")
        shared = [row for row in both if row.get("peer_group_s") and row.get("comb_s")]
        if shared:
            lines.append(_median("  grouping, ours", [row["comb_s"] for row in shared]))
            whole = [float(row["comb_s"]) + float(row["trace_s"]) for row in shared]
            lines.append(_median("  tracing and grouping, ours", whole))
            lines.append(_median("  grouping, Torch-Pruning", [row["peer_group_s"] for row in shared]))
            lines.append(_median("  surgery, ours", [row["remove_s"] for row in shared]))
            lines.append(_median("  surgery, Torch-Pruning", [row.get("peer_prune_s") for row in shared]))
    lines.extend(
        f"not passed: {name}: {row.get('problem') or 'see its row'}"
        for name, row in rows.items()
        if row.get("parameters") and not passed(row)
    )
    return "\n".join(lines)


def _median(title: str, values: list[Any]) -> str:
    numbers = [float(value) for value in values if value not in (None, "")]
    return f"{title}: {statistics.median(numbers):.2f} s CPU (n = {len(numbers)})" if numbers else f"{title}: –"


def _preload(peer: bool) -> None:
    """Import once what every row needs, and let both sides run once."""
    import onnxruntime  # noqa: F401
    import timm  # noqa: F401
    import torch
    import torchvision  # noqa: F401

    import core.comb.combing
    import core.comb.verify
    import core.export.onnx_file
    import core.models.capture  # noqa: F401

    torch.set_num_threads(1)
    coverage_rows.warm_up(peer=peer)


def main() -> None:
    """Parse arguments; measure and write row by row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", default="", help="a regular expression over names")
    parser.add_argument("--issue", action="store_true", help="only the 22 rows that the peer was first measured on")
    parser.add_argument("--peer", action=argparse.BooleanOptionalAction, default=False)
    parser.add_argument("--onnx", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--retry", action="store_true", help="with --resume: measure our side of failed rows again")
    parser.add_argument("--again", action="store_true", help="with --resume: measure our side of all rows again")
    parser.add_argument("--summary", action="store_true", help="print the summary of the file, and measure nothing")
    parser.add_argument("--limit", type=int, default=300, help="CPU seconds for each side of a row")
    given = parser.parse_args()
    rows = _written(given.out) if given.resume or given.summary else {}
    names = PEER_ROWS if given.issue else coverage_rows.all_names()
    if not given.summary:
        _preload(given.peer)
        warnings.simplefilter("ignore")
        for name in [name for name in names if re.search(given.only, name)]:
            row = rows.setdefault(name, {"model": name})
            missing = not row.get("parameters") or (given.onnx and not row.get("onnx") and not row.get("problem"))
            if missing or given.again or (given.retry and not passed(row)):
                row.update(dict.fromkeys(coverage_rows.OURS, ""))
                row.update(_row(name, "ours", onnx=given.onnx, limit_s=given.limit))
            if given.peer and not row.get("peer_group_s") and not row.get("peer_problem"):
                row.update(_row(name, "peer", onnx=False, limit_s=given.limit))
            _write(given.out, rows)
            print(json.dumps({k: v for k, v in row.items() if v not in ("", None)}, default=str), flush=True)
    print(summary(rows))


if __name__ == "__main__":
    main()
