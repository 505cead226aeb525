"""Comb over the zoo: 30 % of every group goes, and what is left must be exact, smaller, trainable and exportable."""

import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch

from core.comb.combing import comb
from core.comb.preview import Previewer
from core.comb.surgery import remove
from core.comb.verify import verify
from core.errors import EspalierError
from core.models.capture import trace
from core.models.traced import TracedModel

from ..comb.checks import check_trains, images, random_removal, randomised
from .catalogue import build, input_size, is_segmentation

__all__ = ["EXPORTED", "RATIO", "CombOutcome", "check_comb"]

RATIO = 0.3
EXPORTED = (
    "resnet18",
    "densenet121",
    "shufflenet_v2_x0_5",
    "vit_b_32",
    "swin_t",
    "maxvit_t",
    "lraspp_mobilenet_v3_large",
)
"""Models whose pruned form is exported and compared in ONNX Runtime."""


@dataclass
class CombOutcome:
    """One row. Times are CPU seconds; ``problems`` says in words what was not shown."""

    name: str
    groups: int = 0
    frozen: int = 0
    comb_s: float = 0.0
    remove_s: float = 0.0
    parameters: int = 0
    removed: float = 0.0
    difference: float = float("nan")
    problems: list[str] = field(default_factory=list)


def check_comb(name: str, *, onnx: bool = False) -> CombOutcome:
    """Comb, remove, verify, count, train, run at batches 1, 2, 7 (and export); never raises."""
    outcome = CombOutcome(name)
    try:
        size = input_size(name)
        task = "segmentation" if is_segmentation(name) else "classification"
        model = trace(randomised(build(name)), (3, size, size), task=task, verify=False)  # type: ignore[arg-type]
        _check(model, outcome, onnx=onnx)
    except (EspalierError, AssertionError, RuntimeError, ValueError, TypeError, KeyError, IndexError) as error:
        outcome.problems.append(f"{type(error).__name__}: {str(error).strip()[:300]}")
    return outcome


def _check(model: TracedModel, outcome: CombOutcome, *, onnx: bool) -> None:
    started = time.process_time()
    found = comb(model)
    outcome.comb_s = time.process_time() - started
    outcome.groups, outcome.frozen = len(found.groups), len(found.frozen)
    removal = random_removal(found, 0, ratio=RATIO)
    started = time.process_time()
    pruned = remove(found, removal)
    outcome.remove_s = time.process_time() - started
    count = Previewer(found)
    outcome.parameters = count.dense.parameters
    left = sum(parameter.numel() for _, parameter in pruned.named_parameters())
    outcome.removed = 1 - left / outcome.parameters
    if count(removal).parameters != left:
        outcome.problems.append(f"the preview counts {count(removal).parameters} parameters, there are {left}")
    if outcome.removed < 0.25:
        outcome.problems.append(f"only {outcome.removed:.1%} of the parameters went")
    proof = verify(found, removal, pruned, images(model))
    outcome.difference = proof.max_relative_difference or 0.0
    if not proof.passed:
        outcome.problems.append(proof.sentence)
    for batch in (1, 2, 7):
        with torch.no_grad():
            shape = pruned.eval().predict(images(model, batch)).shape
        assert shape[0] == batch, shape
    if outcome.parameters < 400_000_000:  # gradients of larger models do not fit beside the others' memory
        check_trains(pruned)
    if onnx:
        _export(pruned, outcome)


def _export(pruned: TracedModel, outcome: CombOutcome) -> None:
    from core.export.onnx_file import export_onnx

    with tempfile.TemporaryDirectory() as folder:
        report = export_onnx(pruned.eval(), Path(folder) / "m.onnx")
    if not report["passed"]:
        outcome.problems.append(f"ONNX: {report['problems']}")
