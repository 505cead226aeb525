"""From a finished training run to what a method returns. Importing this needs no torch."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .base import MethodResult

if TYPE_CHECKING:
    from torch import Tensor

    from ..training.loop import Run

__all__ = ["masked_result"]


def masked_result(dense: Any, run: "Run", masks: "Mapping[str, Tensor]") -> MethodResult:
    """The trained model with its masks, and sentences on how it came about."""
    from ..pruning.masks import mask_statistics

    history = run.history.to_json()
    trained, planned = len(history["epochs"]), sum(stage["epochs"] for stage in history["stages"])
    best = history["restored_epoch"]
    origin = f"its state after epoch {best}" if best else "its state before training"
    notes = [
        f"Trained {trained} of at most {planned} epochs in {history['precision']}; the result is {origin}, the best on "
        "the selection split.",
        *run.notes,
    ]
    on_cpu = {name: mask.cpu() for name, mask in masks.items()}
    return MethodResult(run.model, on_cpu, mask_statistics(dense, masks), tuple(notes), history)
