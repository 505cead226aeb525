"""States that may be the result of a stage: the best of them is restored in its end."""

import math

from torch import Tensor

from ..analysis.evaluation import Evaluation

__all__ = ["Candidate", "rank"]


class Candidate:
    """A state that may be the result: its score on the selection split, and all tensors."""

    def __init__(self, score: float, loss: float | None, epoch: int, state: dict[str, Tensor]) -> None:
        self.score, self.loss, self.epoch, self.state = score, loss, epoch, state

    @property
    def rank(self) -> tuple[float, float]:
        """As the function ``rank``."""
        return self.score, -math.inf if self.loss is None else -self.loss


def rank(measured: Evaluation) -> tuple[float, float]:
    """The better score wins; equal scores are told apart by the loss."""
    return measured.score, -measured.loss if math.isfinite(measured.loss) else -math.inf
