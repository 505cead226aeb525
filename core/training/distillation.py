"""Distillation: a student learns from a teacher's outputs on the same images (METHODS §A4, §B4, §D rule 6).

Shapes: N images, K classes, H rows, W columns. T temperature, α weight of the teacher.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils import parametrize

from ..data.tasks import training_loss
from ..errors import ModelError, PlanError
from ..models.memory_order import to_channels_last
from ..models.traced import TracedModel
from .attention import FeatureMaps, Place, attention_loss, stage_ends
from .hooks import Hook
from .objective import CrossEntropy, Objective
from .settings import DistillationSettings
from .state import load_plain_state, plain_state

if TYPE_CHECKING:
    import numpy as np

    from ..data.splits import Splits
    from .loop import Run

__all__ = [
    "Distillation",
    "ProgressiveTeacher",
    "channel_wise_divergence",
    "make_objective",
    "shared_stage_ends",
    "softened_divergence",
    "teacher_for",
]

CACHE_AT_MOST_BYTES = 256 << 20


def softened_divergence(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """KL(softmax(teacher / T) ‖ softmax(student / T)), mean over images [N, K]; exactly 0 for equal logits.

    Hinton et al. 2015, *Distilling the Knowledge in a Neural Network*.
    """
    log_student = F.log_softmax(student.float() / temperature, dim=1)
    log_teacher = F.log_softmax(teacher.float() / temperature, dim=1)
    return F.kl_div(log_student, log_teacher, reduction="batchmean", log_target=True)


def channel_wise_divergence(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """KL of where each class is seen: softmax over the places of every class map, mean over images and classes.

    Shu et al., *Channel-wise Knowledge Distillation for Dense Prediction*, ICCV 2021, eq. 4 and 5. Logits [N, K, h, w].
    """
    log_student = F.log_softmax(student.float().flatten(2) / temperature, dim=2)
    log_teacher = F.log_softmax(teacher.float().flatten(2) / temperature, dim=2)
    total = F.kl_div(log_student, log_teacher, reduction="sum", log_target=True)
    return total / (student.shape[0] * student.shape[1])


class Distillation(Objective):
    """L = α·T²·KL + (1 − α)·CE (canonical), or T²·[α·KL + (1 − α)·CE] (``authors``: DG2PF's code); plus β·attention
    transfer where β is not 0.

    The teacher is frozen and in eval mode, and sees the same preprocessed batch. Without augmentation and attention its
    logits are computed once, in the order of the training examples, and kept.
    """

    def __init__(
        self, settings: DistillationSettings, teacher: TracedModel, *, ignore_index: int | None = None
    ) -> None:
        self.settings, self.ignore_index = settings, ignore_index
        self.teacher = teacher.clone().eval()
        for parameter in self.teacher.graph_module.parameters():
            parameter.requires_grad_(False)
        self._autocast: Callable[[], Any] | None = None
        self._cache: Tensor | None = None
        self._row: Tensor | None = None
        self._run: Run | None = None
        self._watched: TracedModel | None = None
        self._maps: tuple[FeatureMaps, FeatureMaps] | None = None  # of the student, of the teacher

    def begin(self, run: "Run", indices: "np.ndarray[Any, Any]") -> None:
        """Put the teacher on the run's device; fill the cache where images do not change."""
        self.teacher.to(run.device)
        if run.settings.channels_last:
            to_channels_last(self.teacher.graph_module)
        self._autocast = run.fabric.autocast
        self._run = run
        changes = run.settings.augment and run.splits.train.augmentation != "none"
        if (
            not changes
            and not self.settings.attention
            and self.settings.teacher != "progressive"
            and self._cache is None
        ):
            self._fill(run, indices)

    def _fill(self, run: "Run", indices: "np.ndarray[Any, Any]") -> None:
        """Always in the same batches, so that a continued run finds the same bits."""
        size = run.settings.batch_size
        for start in range(0, len(indices), size):
            run.progress.check()
            x, _ = run.splits.train.batch(indices[start : start + size], device=run.device)
            logits = self._logits(x)
            if self._cache is None:
                if logits[0].numel() * 4 * len(indices) > CACHE_AT_MOST_BYTES:
                    return
                self._cache = torch.empty((len(indices), *logits.shape[1:]))
            self._cache[start : start + len(logits)] = logits.float().cpu()
        self._row = torch.zeros(int(indices.max()) + 1, dtype=torch.int64)
        self._row[torch.from_numpy(indices)] = torch.arange(len(indices))

    def _logits(self, x_NCHW: Tensor) -> Tensor:
        assert self._autocast is not None
        with torch.no_grad(), self._autocast():
            return self.teacher.predict(x_NCHW).float()

    def teach(self, x_NCHW: Tensor, indices: "np.ndarray[Any, Any]") -> Tensor:
        """See ``Objective.teach``."""
        if self.settings.attention:
            self._watch()
        if self._cache is not None and self._row is not None:
            return self._cache[self._row[torch.from_numpy(indices)]].to(x_NCHW.device)
        return self._logits(x_NCHW)

    def _watch(self) -> None:
        """Keep the feature maps of the teacher and of the network that is trained now: a removal replaces it."""
        assert self._run is not None
        if self._watched is self._run.model:
            return
        self.end(self._run)
        self._watched = self._run.model
        places = shared_stage_ends(self._watched, self.teacher)
        self._maps = (
            FeatureMaps(self._watched.graph_module, places[0]),
            FeatureMaps(self.teacher.graph_module, places[1]),
        )

    def loss(self, student: Tensor, targets: Tensor, teacher: Tensor | None) -> tuple[Tensor, Mapping[str, Tensor]]:
        """See ``Objective.loss``; the parts are the plain cross-entropy, divergence and attention."""
        assert teacher is not None
        temperature, alpha = self.settings.temperature, self.settings.alpha
        diverge = softened_divergence if student.ndim == 2 else channel_wise_divergence
        kd = diverge(student, teacher, temperature)
        ce = training_loss(student, targets, ignore_index=self.ignore_index)
        scale = temperature**2
        ce_scale = scale if self.settings.form == "authors" else 1.0
        total, parts = alpha * scale * kd + (1.0 - alpha) * ce_scale * ce, {"ce": ce, "kd": kd}
        if self._maps is None:
            return total, parts
        parts["attention"] = attention_loss(*(maps.take() for maps in self._maps))
        return total + self.settings.attention * parts["attention"], parts

    def end(self, run: "Run") -> None:
        """See ``Objective.end``."""
        for maps in self._maps or ():
            maps.close()
        self._maps = self._watched = None


def shared_stage_ends(student: TracedModel, teacher: TracedModel) -> tuple[tuple[Place, ...], tuple[Place, ...]]:
    """Where both have feature maps of the same resolution, stage by stage.

    Raises:
        PlanError: when one of them has none, or their resolutions differ.
    """
    (ours, sizes), (theirs, wanted) = stage_ends(student), stage_ends(teacher)
    if sizes != wanted:
        raise PlanError(
            "Attention transfer needs stages of the same resolution: the model's are "
            f"{', '.join(f'{h}×{w}' for h, w in sizes)}, the teacher's {', '.join(f'{h}×{w}' for h, w in wanted)}. "
            "Choose another teacher, or the weight 0."
        )
    return ours, theirs


class ProgressiveTeacher(Hook):
    """The best state of the previous sparsity level teaches the next one [D]. Put it after the hook that prunes.

    ``level``: which level a stage's epoch belongs to.
    """

    def __init__(self, distillation: Distillation, level: Callable[[int], int]) -> None:
        self.distillation, self.level = distillation, level
        self._best: dict[str, Any] | None = None  # of the level that is running
        self._score = -1.0
        self._teaching: dict[str, Any] | None = None

    def begin(self, run: "Run") -> None:
        if self._teaching is not None:
            load_plain_state(self.distillation.teacher.graph_module, self._teaching)

    def epoch_start(self, run: "Run") -> None:
        epoch = run.stage_epoch
        if epoch > 1 and self.level(epoch) != self.level(epoch - 1) and self._best is not None:
            self._teaching, self._best, self._score = self._best, None, -1.0
            load_plain_state(self.distillation.teacher.graph_module, self._teaching)

    def epoch_end(self, run: "Run", row: dict[str, Any]) -> None:
        if row["select_score"] > self._score:
            self._score = row["select_score"]
            self._best = _visible_state(run.model)

    def state(self) -> dict[str, Any]:
        return {"best": self._best, "score": self._score, "teaching": self._teaching}

    def load(self, state: Mapping[str, Any]) -> None:
        self._best, self._score, self._teaching = state["best"], state["score"], state["teaching"]


def _visible_state(model: TracedModel) -> dict[str, Tensor]:
    """The tensors that the model computes with: θ·M of a masked weight, under its plain name."""
    state = plain_state(model.graph_module)
    for name, module in model.graph_module.named_modules():
        if parametrize.is_parametrized(module, "weight"):
            weight: Any = module.weight
            state[f"{name}.weight"] = weight.detach().clone()
    return state


def teacher_for(settings: DistillationSettings, model: TracedModel) -> TracedModel:
    """The teacher that the settings name: the dense ``model``, or a stored one.

    Raises:
        PlanError: when the stored model is missing, or does not fit the student's images and classes; when attention
            is to be transferred and feature maps do not allow it.
    """
    teacher = _named_teacher(settings, model)
    if settings.attention and settings.form != "off":
        shared_stage_ends(model, teacher)
    return teacher


def _named_teacher(settings: DistillationSettings, model: TracedModel) -> TracedModel:
    if settings.teacher != "model":
        return model
    if settings.teacher_folder is None:
        raise PlanError("The teacher “model” needs the folder of a stored model: name it, or choose the dense teacher.")
    try:
        teacher = TracedModel.load(Path(settings.teacher_folder))
    except ModelError as error:
        raise PlanError(f"The teacher cannot be opened: {error}") from None
    if teacher.task != model.task or teacher.num_classes != model.num_classes:
        raise PlanError(
            f"The teacher must have the {model.num_classes} classes of the model ({model.task}); it has "
            f"{teacher.num_classes} ({teacher.task}). Choose another teacher, or the dense one."
        )
    if tuple(teacher.input_shape) != tuple(model.input_shape):
        raise PlanError(
            f"The teacher must take the model's images {list(model.input_shape)}; it takes {list(teacher.input_shape)}."
        )
    return teacher.to(model.device)


def make_objective(settings: DistillationSettings, model: TracedModel, splits: "Splits") -> Objective:
    """Distillation as the settings say, or cross-entropy alone when they say “off”."""
    if settings.form == "off":
        return CrossEntropy(ignore_index=splits.ignore_index)
    return Distillation(settings, teacher_for(settings, model), ignore_index=splits.ignore_index)
