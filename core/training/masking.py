"""Hooks that prune weights while a model trains: masks that are chosen anew every epoch, and masks that stay."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from ..pruning.criteria import CalibrationContext
from ..pruning.gradual import Exchange, masks_at, pattern_shares, plan_at
from ..pruning.masks import apply_masks, parametrise, remove_parametrisation, stored_weights
from ..pruning.plan import Plan
from .hooks import Hook

if TYPE_CHECKING:
    from .loop import Run

__all__ = ["GradualMasks", "KeepMasks", "RecoveryMode"]

RecoveryMode = Literal["simulated", "hard", "dense-gradient"]


class KeepMasks(Hook):
    """The model trains with fixed masks: what they remove is 0 and stays 0."""

    def __init__(self, masks: Mapping[str, Tensor]) -> None:
        self.masks = dict(masks)

    def epoch_start(self, run: "Run") -> None:
        remove_parametrisation(run.model, apply=False)
        apply_masks(run.model, self.masks)
        _attach(run, self.masks)

    def epoch_end(self, run: "Run", row: dict[str, Any]) -> None:
        row.update(sparsity_row(self.masks))

    def end(self, run: "Run") -> None:
        remove_parametrisation(run.model, apply=False)
        apply_masks(run.model, self.masks)


class GradualMasks(Hook):
    """METHODS §A3: one sparsity level per epoch for ``epochs`` epochs; then the masks are final.

    At the start of epoch i the mask M of level i is chosen from the stored weights θ and holds for the epoch.

    ``simulated``: the model computes with θ·M; hidden weights keep their stored value bit for bit and compete again at
    the next level. ``hard``: what M hides becomes 0 and never returns. ``dense-gradient``: as simulated, and hidden
    weights receive the gradient of θ·M (Lin et al., DPF, ICLR 2020).
    """

    def __init__(
        self,
        plan: Plan,
        *,
        schedule: str,
        epochs: int,
        mode: RecoveryMode,
        context: CalibrationContext,
        sensitivity: Mapping[str, Any] | None = None,
    ) -> None:
        self.plan, self.schedule, self.epochs, self.mode = plan, schedule, epochs, mode
        self.context, self.sensitivity = context, sensitivity
        self.masks: dict[str, Tensor] = {}
        self._exchange: Exchange | None = None

    def level(self, epoch: int) -> int:
        """Which level, 1 to ``epochs``, an epoch of the stage trains."""
        return min(epoch, self.epochs)

    def begin(self, run: "Run") -> None:
        self.masks = {name: mask.to(run.device) for name, mask in self.masks.items()}  # a checkpoint's lie on the CPU

    def epoch_start(self, run: "Run") -> None:
        final = run.stage_epoch > self.epochs
        before = self.masks
        remove_parametrisation(run.model, apply=False)  # the criterion sees θ
        if not final:
            moment = run.stage_epoch / self.epochs
            self.masks = masks_at(
                run.model,
                plan_at(self.plan, self.schedule, moment),
                self.context,
                sensitivity=self.sensitivity,
                gone=before if self.mode == "hard" and before else None,
                shares=pattern_shares(self.plan, self.schedule, moment),
            )
        self._exchange = Exchange(before or None, self.masks)
        if final or self.mode == "hard":
            apply_masks(run.model, self.masks)
        _attach(run, self.masks, freeze=final or self.mode != "dense-gradient")

    def epoch_end(self, run: "Run", row: dict[str, Any]) -> None:
        assert self._exchange is not None
        row.update(sparsity_row(self.masks), **self._exchange.to_json())

    def end(self, run: "Run") -> None:
        remove_parametrisation(run.model, apply=False)
        apply_masks(run.model, self.masks)

    def state(self) -> dict[str, Any]:
        return {"masks": {name: mask.clone() for name, mask in self.masks.items()}}

    def load(self, state: Mapping[str, Any]) -> None:
        self.masks = dict(state["masks"])


def sparsity_row(masks: Mapping[str, Tensor]) -> dict[str, Any]:
    """``sparsity`` over all prunable weights, and ``layers``: that of each layer."""
    kept = {name: int(mask.sum()) for name, mask in masks.items()}
    total = sum(mask.numel() for mask in masks.values())
    return {
        "sparsity": 1.0 - sum(kept.values()) / total if total else 0.0,
        "layers": {name: 1.0 - kept[name] / mask.numel() for name, mask in masks.items() if mask.numel()},
    }


def _attach(run: "Run", masks: Mapping[str, Tensor], *, freeze: bool = True) -> None:
    """Compute with θ·M, and let the optimizer leave hidden weights alone."""
    partial = {name: mask.to(run.device) for name, mask in masks.items() if not bool(torch.all(mask))}
    parametrise(run.model, partial, straight_through=not freeze)
    run.optimizer.hold(stored_weights(run.model, partial), freeze=freeze)
