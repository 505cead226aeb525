"""Every torchvision classification and segmentation model, at an input size that keeps the check short."""

from dataclasses import dataclass, field
from typing import Any

import torch
import torchvision
from torch import nn

from core.models.capture import trace
from core.models.traced import TracedModel

from ..models import invariants

__all__ = ["CHECKS", "Outcome", "build", "check", "input_size", "names"]

_SMALL = 64
_PARAMETER_GRADIENTS_UP_TO = 150_000_000
"""Above, gradients are compared at the input alone: two sets of parameter gradients would not fit into 8 GB."""

CHECKS = ("traced", "outputs", "gradients", "training", "state", "saving", "macs")


@dataclass
class Outcome:
    """What was shown for one model; ``problems`` says in words what was not."""

    name: str
    parameters: int = 0
    captured_by: str = "-"
    trace_s: float = 0.0
    passed: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def names() -> list[str]:
    """Names in torchvision's registry."""
    classification = torchvision.models.list_models(module=torchvision.models)
    return [*classification, *torchvision.models.list_models(module=torchvision.models.segmentation)]


def is_segmentation(name: str) -> bool:
    return name in torchvision.models.list_models(module=torchvision.models.segmentation)


def input_size(name: str) -> int:
    """Side of the square images."""
    if name.startswith("maxvit"):
        return 224  # its window partition divides nothing smaller
    return {"inception_v3": 96, "vit_h_14": 56}.get(name, _SMALL)


def build(name: str) -> nn.Module:
    """The model with random weights. The auxiliary heads of Inception and GoogLeNet run in training only: without."""
    settings: dict[str, Any] = {}
    if name.startswith("vit"):
        settings["image_size"] = input_size(name)
    if name in ("googlenet", "inception_v3"):
        settings |= {"aux_logits": False, "init_weights": False}
    if is_segmentation(name):
        settings["weights_backbone"] = None
    torch.manual_seed(0)
    return invariants.unusual_weights(torchvision.models.get_model(name, weights=None, **settings))


def check(name: str) -> Outcome:
    """Run every invariant on one model; never raises."""
    import time

    outcome = Outcome(name)
    module = build(name)
    outcome.parameters = sum(parameter.numel() for parameter in module.parameters())
    size = input_size(name)
    started = time.process_time()
    try:
        traced = trace(
            module, (3, size, size), task="segmentation" if is_segmentation(name) else "classification", verify=False
        )
    except Exception as error:
        outcome.problems.append(f"traced: {error}")
        return outcome
    outcome.trace_s = time.process_time() - started
    outcome.captured_by = traced.captured_by
    outcome.passed.append("traced")
    _run(outcome, module, traced)
    return outcome


def _run(outcome: Outcome, module: nn.Module, traced: TracedModel) -> None:
    small = outcome.parameters <= _PARAMETER_GRADIENTS_UP_TO
    steps = {
        "outputs": lambda: invariants.same_outputs(module, traced),
        "gradients": lambda: invariants.same_gradients(module, traced, of_parameters=small),
        "training": lambda: invariants.same_training(module, traced),
        "state": lambda: invariants.same_state(module, traced),
        "saving": lambda: invariants.survives_saving(traced),
        "macs": lambda: invariants.same_macs(module, traced),
    }
    for step, run in steps.items():
        try:
            run()
            outcome.passed.append(step)
        except Exception as error:
            outcome.problems.append(f"{step}: {type(error).__name__}: {str(error).strip()[:300]}")
