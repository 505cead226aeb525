"""Where a method acts inside the loop. A hook overrides what it needs; the loop calls hooks in their given order.

::

    begin                          once per stage, also when a run is continued (after ``load``)
    for each epoch:
        epoch_start
        for each batch:  forward, loss, backward → after_backward → clip, optimizer step → after_step
        evaluate on the selection split → epoch_end → checkpoint (``state``)
    end                            once per stage, with the best state restored
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .loop import Run

__all__ = ["Hook"]


class Hook:
    """Does nothing. ``run`` gives the model, the optimizer and where training stands."""

    def begin(self, run: "Run") -> None:
        """A stage begins, or is continued: attach to ``run.model``."""

    def epoch_start(self, run: "Run") -> None:
        """Before the first batch of epoch ``run.stage_epoch`` (1, 2, …)."""

    def after_backward(self, run: "Run") -> None:
        """Gradients are there, neither clipped nor applied."""

    def after_step(self, run: "Run") -> None:
        """The optimizer has stepped. The model may be made smaller here: ``run.remove_units``."""

    def epoch_end(self, run: "Run", row: dict[str, Any]) -> None:
        """The epoch is evaluated. Keys added to ``row`` (JSON) are published with it."""

    def end(self, run: "Run") -> None:
        """The stage is over: leave a plain model behind."""

    def state(self) -> dict[str, Any]:
        """What a continued run needs: nested dicts of tensors and plain values."""
        return {}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take up what ``state`` gave."""
