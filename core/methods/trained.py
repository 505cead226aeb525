"""What methods that train have in common: one ``Run`` over the stages of their course."""

from typing import TYPE_CHECKING, Any

from ..progress import Progress
from ..pruning.plan import Plan
from .base import Method

if TYPE_CHECKING:
    from ..training.checkpoints import Checkpoints
    from ..training.loop import Run

__all__ = ["TrainedMethod"]


class TrainedMethod(Method):
    """A method with ``training`` among its settings and, where it removes units, ``budget``."""

    trains = True

    @classmethod
    def _run(
        cls, model: Any, splits: Any, plan: Plan, *, progress: Progress, checkpoints: "Checkpoints | None"
    ) -> "Run":
        from ..training.loop import Run

        settings: Any = cls.Settings.parse(plan.method_settings)
        course = cls.course(plan)
        assert course is not None  # a method that trains has one
        unit: Any = settings.budget if cls.removes == "units" else "weights"
        return Run(
            model,
            splits,
            plan,
            settings.training,
            stages=course.stages,
            target=plan.sparsity,
            unit="ms" if unit == "latency" else unit,
            progress=progress,
            checkpoints=checkpoints,
        )
