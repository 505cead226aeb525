"""What must hold before a run begins or is continued, each in one sentence."""

import hashlib
import json

import torch

from ..data.splits import Splits
from ..errors import PlanError
from ..models.traced import TracedModel
from ..pruning.plan import Plan
from .settings import TrainingSettings
from .state import plain_state

__all__ = ["check_training", "refuse_broken_weights", "run_identity"]

CHECKPOINT_VERSION = 1
"""Rises when the content of checkpoints changes; those of other versions are not continued."""


def check_training(splits: Splits | None, settings: TrainingSettings) -> int:
    """Batches per epoch; a last one of a single image is left out, because BatchNorm cannot train on it.

    Raises:
        PlanError: when there are no data, or fewer training images than one batch has.
    """
    if splits is None:
        raise PlanError("This method trains: choose a data set first.")
    for name in ("train", "select"):
        if not len(splits.split(name)):
            raise PlanError(f"Training needs images in the {name} split, and it is empty: choose other data.")
    images = len(splits.train) if settings.images is None else min(settings.images, len(splits.train))
    if images < settings.batch_size:
        raise PlanError(
            f"The batch size must be at most the number of training images, {images:,}; got {settings.batch_size:,}. "
            "Choose a smaller batch or more images."
        )
    full, rest = divmod(images, settings.batch_size)
    return full + (rest > 1)


def refuse_broken_weights(model: TracedModel) -> None:
    """Training would only spread what is broken.

    Raises:
        PlanError: when a parameter or buffer holds NaN or infinite values.
    """
    for name, tensor in plain_state(model.graph_module).items():
        if not bool(torch.isfinite(tensor).all()):
            raise PlanError(
                f"Weights must be finite to be trained, but “{name}” holds NaN or infinite values. Load a sound "
                "checkpoint."
            )


def run_identity(model: TracedModel, splits: Splits, plan: Plan) -> str:
    """What must be the same for a checkpoint to be continued; names may change."""
    parts = [
        str(CHECKPOINT_VERSION),
        model.fingerprint(),
        splits.fingerprint,
        json.dumps(plan.changed(name="").to_json(), sort_keys=True),
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
