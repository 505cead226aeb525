"""What a stage descends: a loss of the student's outputs, the targets and, with a teacher, the teacher's outputs."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor

from ..data.tasks import training_loss

if TYPE_CHECKING:
    import numpy as np

    from .loop import Run

__all__ = ["CrossEntropy", "Objective"]


class Objective:
    """Base: a loss without a teacher overrides ``loss`` only."""

    def begin(self, run: "Run", indices: "np.ndarray[Any, Any]") -> None:
        """A stage begins, or is continued, on these training examples."""

    def teach(self, x_NCHW: Tensor, indices: "np.ndarray[Any, Any]") -> Tensor | None:
        """The teacher's logits for a batch as the student sees it; None without a teacher."""
        return None

    def loss(self, student: Tensor, targets: Tensor, teacher: Tensor | None) -> tuple[Tensor, Mapping[str, Tensor]]:
        """The scalar to descend, and its parts for the curves.

        ``student``, ``teacher``: logits [N, K] or [N, K, h, w]; ``targets``: int64 [N] or [N, H, W].
        """
        raise NotImplementedError

    def end(self, run: "Run") -> None:
        """The stage is over: let go of the model."""


class CrossEntropy(Objective):
    """Cross-entropy with the targets (over all pixels that are not ignored, for segmentation)."""

    def __init__(self, *, ignore_index: int | None = None) -> None:
        self.ignore_index = ignore_index

    def loss(self, student: Tensor, targets: Tensor, teacher: Tensor | None) -> tuple[Tensor, Mapping[str, Tensor]]:
        """See ``Objective.loss``."""
        loss = training_loss(student, targets, ignore_index=self.ignore_index)
        return loss, {"ce": loss}
