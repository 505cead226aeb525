"""What a pruning method is. Importing this needs no torch: forms are drawn from ``Settings`` before a model exists."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ..progress import SILENT, Progress
from ..pruning.plan import Plan
from ..registry import Registry
from ..settings import Settings

if TYPE_CHECKING:
    from torch import Tensor

    from ..training.checkpoints import Checkpoints

__all__ = ["METHODS", "Course", "Method", "MethodResult"]


@dataclass(frozen=True)
class Course:
    """What a training method is going to do, known before the run: pages draw it, runs follow it.

    ``stages``: (name, epochs at most) in order. ``sparsity``: planned at the end of each epoch, over all stages.
    """

    stages: tuple[tuple[str, int], ...]
    sparsity: tuple[float, ...]

    @property
    def epochs(self) -> int:
        """Epochs at most, over all stages."""
        return sum(epochs for _, epochs in self.stages)


@dataclass(frozen=True)
class MethodResult:
    """What a method made.

    ``model``: a new TracedModel (the dense one is untouched). ``masks``: layer name → bool tensor, True where a
    weight stays. ``layers``: one JSON row per prunable layer, see ``core.pruning.masks.mask_statistics``.
    ``notes``: sentences that a person should read beside the result. ``history``: JSON of what happened over time,
    for methods that train.
    """

    model: Any
    masks: Mapping[str, "Tensor"]
    layers: list[dict[str, Any]]
    notes: tuple[str, ...] = ()
    history: dict[str, Any] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Prunable weights of the dense model, shared ones counted once."""
        return sum(row["size"] for row in self.layers)

    @property
    def removed(self) -> int:
        """Weights that were removed."""
        return sum(row["removed"] for row in self.layers)

    @property
    def sparsity(self) -> float:
        """Fraction of the prunable weights that was removed."""
        return self.removed / self.size if self.size else 0.0


class Method(ABC):
    """A pruning method; a class that is never instantiated.

    ``title`` is the menu's name, ``provenance`` says what is printed in a paper [P], read in its authors' code [C]
    or our own reconstruction [D]. ``Settings`` validates ``plan.method_settings`` and becomes the form.
    """

    title: ClassVar[str]
    provenance: ClassVar[str]
    Settings: ClassVar[type[Settings]]
    removes: ClassVar[Literal["weights", "units", "nothing"]] = "weights"
    """Single weights (zeros in tensors of the same shape), units of groups (tensors become smaller), or nothing."""
    trains: ClassVar[bool] = False
    """Whether it trains: it needs data, has a ``course`` and makes use of checkpoints."""

    @classmethod
    def course(cls, plan: Plan) -> Course | None:
        """The stages and the planned sparsity of a training method, before the run and without torch; else None.

        Raises:
            PlanError: when ``plan.method_settings`` are not this method's.
        """
        return None

    @classmethod
    def check(cls, model: Any, splits: Any, plan: Plan) -> None:
        """Refuse a plan that cannot work on this model before anything is computed.

        Raises:
            PlanError: see ``core.pruning.ranking.check_plan``; methods with names of their own check those.
        """
        from ..pruning.ranking import check_plan

        check_plan(model, splits, plan)

    @classmethod
    @abstractmethod
    def run(
        cls,
        model: Any,
        splits: Any,
        plan: Plan,
        *,
        sensitivity: Mapping[str, Any] | None = None,
        progress: Progress = SILENT,
        checkpoints: "Checkpoints | None" = None,
    ) -> MethodResult:
        """Prune a copy of ``model`` as ``plan`` says. Called by ``prune``, which has checked the plan.

        Methods that train write ``checkpoints`` after every epoch, and continue from one that is there already.

        Raises:
            PlanError: when the plan asks for the impossible.
            TrainingError: when training diverges before there is a result.
            Cancelled: when the person cancelled.
        """


METHODS: Registry[type[Method]] = Registry("method")
