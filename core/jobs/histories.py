"""The history of a training run as it is kept: small enough to be written and read while the run goes on.

See ``MethodResult.history`` for what a method reports. Numbers of the whole network are kept for every epoch; the
sparsity of single layers, by far the largest part, for some 120 epochs, evenly spread, always with the last one.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ..progress import Progress

__all__ = ["KeepsHistory", "compact", "training_summary"]

_LAYER_EPOCHS = 120
_LAYER_DIGITS = 4


def compact(history: Mapping[str, Any]) -> dict[str, Any]:
    """The history with rounded sparsities of layers, and without those of most epochs of a long run."""
    epochs: Sequence[Mapping[str, Any]] = history.get("epochs") or ()
    every = -(-len(epochs) // _LAYER_EPOCHS)
    kept = []
    for index, epoch in enumerate(epochs):
        row = dict(epoch)
        layers = row.pop("layers", None)
        if layers and (index % every == 0 or index == len(epochs) - 1):
            row["layers"] = {name: round(float(value), _LAYER_DIGITS) for name, value in layers.items()}
        kept.append(row)
    return {**history, "epochs": kept}


def training_summary(history: Mapping[str, Any]) -> dict[str, Any]:
    """What lists of runs and forecasts need to know of a finished training; a few numbers."""
    epochs: Sequence[Mapping[str, Any]] = history.get("epochs") or ()
    speeds = sorted(float(epoch["images_per_s"]) for epoch in epochs if epoch.get("images_per_s"))
    return {
        "epochs": len(epochs),
        "seconds": sum(float(epoch.get("seconds") or 0.0) for epoch in epochs),
        "images_per_s": speeds[len(speeds) // 2] if speeds else None,
        "threads": history.get("threads"),
        "precision": history.get("precision"),
        "restored_epoch": history.get("restored_epoch"),
    }


class KeepsHistory(Progress):
    """Passes everything on and makes partial results small on the way."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def update(self, done: float, total: float, message: str = "") -> None:
        """As ``Progress.update``."""
        self._progress.update(done, total, message)

    def publish(self, partial: Mapping[str, Any]) -> None:
        """As ``Progress.publish``, with the history made compact."""
        self._progress.publish(compact(partial) if partial.get("kind") == "training" else partial)

    def check(self) -> None:
        """As ``Progress.check``."""
        self._progress.check()
