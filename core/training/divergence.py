"""Why a loss is no longer finite, and what to do: one sentence each, from what can be seen at that step."""

import torch
from torch import Tensor

from ..models.traced import TracedModel
from .settings import StageSettings
from .state import plain_parameters

__all__ = ["divergence"]


def divergence(
    model: TracedModel, x_NCHW: Tensor, logits: Tensor, *, stage: StageSettings, learning_rate: float, precision: str
) -> str:
    """The likely cause of a loss that is NaN or infinite, and the advice that follows from it."""
    if not bool(torch.isfinite(x_NCHW).all()):
        return "The images of this batch hold NaN or infinite values: check the data set and its normalisation."
    broken = [
        name
        for name, parameter in plain_parameters(model.graph_module).items()
        if not bool(torch.isfinite(parameter).all())
    ]
    advice = [f"lower the learning rate (it was {learning_rate:.3g})"]
    if stage.warmup_epochs == 0:
        advice.append("add warm-up epochs")
    if stage.clip_norm == 0:
        advice.append("clip the gradients at norm 1")
    todo = ", ".join(advice[:-1]) + (" or " if len(advice) > 1 else "") + advice[-1]
    if broken:
        return f"The weights grew without bound ({len(broken)} tensors, first “{broken[0]}”): {todo}."
    if not bool(torch.isfinite(logits).all()):
        narrow = " bf16 may also be too coarse for this model: try fp32." if precision == "bf16" else ""
        return f"The activations overflowed while the weights are still finite: {todo}.{narrow}"
    return (
        "The model's outputs are finite and their loss is not: check that targets are classes of the data, raise the "
        "distillation temperature, or " + todo + "."
    )
