"""In which precision sensitivity is measured: a lower one only where it is quick and changes no claim."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from ..models.traced import TracedModel
from ..wording import percent
from .fast_network import FastNetwork
from .pairing import Seen
from .sensitivity import SensitivitySettings

__all__ = ["AGREEMENT_AT_LEAST", "NOT_IN_THIS_PRECISION", "chosen_precision", "judged"]

AGREEMENT_AT_LEAST = 0.99
"""Share of the dense model's answers that a lower precision must leave as they are."""

NOT_IN_THIS_PRECISION = (RuntimeError, TypeError)
"""What torch raises for an operation that has no bfloat16, or will not mix types."""

LOSS_WITHIN = 0.01
"""Nats by which it may change the dense model's loss."""


def chosen_precision(settings: SensitivitySettings, device: torch.device) -> torch.dtype:
    """What to try: bfloat16 where it is asked for, or where the processor has AMX and the choice is left to us."""
    if settings.exact or settings.precision == "float32":
        return torch.float32
    quick = device.type == "cpu" and bool(torch.cpu._is_amx_tile_supported())
    return torch.bfloat16 if quick or settings.precision == "bfloat16" else torch.float32


def judged(
    model: TracedModel, evaluate: Callable[[FastNetwork], Seen], dense: Seen, body: dict[str, Any]
) -> tuple[FastNetwork, Seen]:
    """The network in bfloat16 and what its dense evaluation gave, if it passes; else those in float32.

    ``body`` of the result gets ``precision``, ``agreement`` and a sentence in ``notes``.
    """
    network = FastNetwork(model, dtype=torch.bfloat16)
    try:
        reduced = evaluate(network)
    except NOT_IN_THIS_PRECISION as error:
        body["notes"].append(
            f"Measured in float32: the network does not run in bfloat16 ({str(error).splitlines()[0]})."
        )
        return FastNetwork(model), dense
    same = _agreement(dense, reduced)
    shift = abs(float(np.nanmean(reduced.loss() - dense.loss())))
    body["agreement"] = same
    if same >= AGREEMENT_AT_LEAST and shift <= LOSS_WITHIN:
        body["precision"] = "bfloat16"
        body["notes"].append(
            f"Measured in bfloat16: {percent(same)} of the dense model's answers are the same as in float32, and its "
            f"loss differs by {_small(shift)}."
        )
        return network, reduced
    body["notes"].append(
        f"Measured in float32: in bfloat16 only {percent(same)} of the dense model's answers are the same, and its "
        f"loss differs by {_small(shift)}."
    )
    return FastNetwork(model), dense


def _small(shift: float) -> str:
    return f"{shift:.3f}" if shift >= 0.001 else "less than 0.001"


def _agreement(first: Seen, second: Seen) -> float:
    """Share of answers that are right in both or wrong in both; of pixels, as far as their counts tell."""
    one, other = first.score(), second.score()
    if one.ndim == 1:
        return float((one == other).mean())
    union = one[:, 1].sum()
    return float(1.0 - np.abs(one.astype(np.float64) - other)[:, 0].sum() / max(1.0, float(union)))
