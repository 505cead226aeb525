"""Hooks that remove units of coupled groups while a model trains, until a share of the dense model's budget is saved.

The removal is physical: from then on the smaller network trains, with the optimizer's state sliced along, and what is
trained is what is exported. Every removal is verified (``core.comb.verify``).

Epoch rows get: ``sparsity`` (share of the budget saved), ``layers`` (share of each layer's weights that is gone),
``groups`` (units left of every group), ``parameters``, ``macs``, and ``cuts``: what went in this epoch, as
``{"step", "group", "units", "left", "score", "cost", "spared"}`` with the mean score of the units, the same per saved
cost, and what the cheapest units that stayed would have cost (None where scores of groups cannot be compared).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from ..analysis.network_latency import NetworkLatency
from ..comb.combing import comb
from ..comb.counting import Counts
from ..comb.groups import Comb
from ..comb.sheet import GroupSheet
from ..comb.summary import summarise
from ..models.traced import TracedModel
from ..progress import SILENT, Progress
from ..pruning.criteria import CalibrationContext
from ..pruning.groups import GROUP_CRITERIA
from ..pruning.groups.base import Scores, Watch, score_groups
from ..pruning.groups.budget import Limits
from ..pruning.groups.choosing import (
    Budget,
    checked_criterion,
    choose_units,
    refuse_without_groups,
    resolved,
    savings,
)
from ..pruning.plan import Plan
from ..pruning.schedules import SCHEDULES
from .alternatives import cheapest_left
from .hooks import Hook
from .proof import remove_proved

if TYPE_CHECKING:
    from .loop import Run

__all__ = ["GradualRemoval", "RemovalTarget", "check_removal"]


@dataclass(frozen=True)
class RemovalTarget:
    """What is to be removed in the end: ``share`` of the dense model's ``budget``, chosen by ``criterion``.

    ``cost``: scores are divided by what a unit saves of it; None: they are not.
    """

    share: float
    budget: Budget
    criterion: str
    allocation: str
    cost: Literal["parameters", "macs", "latency"] | None
    limits: Limits
    kinds: tuple[str, ...]

    @property
    def timed(self) -> bool:
        """Whether layers must be timed on this machine."""
        return "latency" in (self.budget, self.cost)


class GradualRemoval(Hook):
    """Removes the cheapest units every ``interval`` steps, or (``interval`` 0) all at once before the first step.

    The share that is gone after each removal follows ``schedule`` over the ``epochs`` of the stage and ends at the
    target, within one rounding step. Scores of criteria that look at gradients add up over the steps since the last
    removal, from the gradients of the training loss itself, as CPD does (METHODS §B2, §B3).
    """

    def __init__(
        self,
        dense: TracedModel,
        plan: Plan,
        target: RemovalTarget,
        *,
        interval: int,
        epochs: int,
        schedule: str = "linear",
        calibration_images: int = 128,
        progress: Progress = SILENT,
    ) -> None:
        self.plan, self.target = plan, target
        self.interval, self.epochs, self.schedule = interval, epochs, schedule
        self.calibration_images = calibration_images
        self.dense_comb = comb(dense)
        self.dense_sheet = summarise(self.dense_comb, explain=False)
        self.times = NetworkLatency(self.dense_comb, progress=progress) if target.timed else None
        self.ratios, self.held = resolved(self.dense_sheet, plan.overrides, plan.protected)
        self.alive = {group.name: np.arange(group.units) for group in self.dense_sheet.groups}
        """Units of the dense model that are left, by group."""
        self.saved = 0.0
        self._whole = self._left(self.dense_sheet.dense)
        self._scores: Scores = {}
        self._batches = 0
        self._cuts: list[dict[str, Any]] = []
        self._found: Comb
        self._watch: Watch | None = None

    @property
    def removal(self) -> dict[str, list[int]]:
        """All that is gone, as units of the dense model."""
        sizes = {group.name: group.units for group in self.dense_sheet.groups}
        gone = {name: np.setdiff1d(np.arange(sizes[name]), left).tolist() for name, left in self.alive.items()}
        return {name: units for name, units in gone.items() if units}

    def finished(self) -> Hook:
        """The hook of later stages: rows go on saying what is left."""
        return _Finished(self)

    # -- what the loop calls ----------------------------------------------------------------------------------------

    def begin(self, run: "Run") -> None:
        self._look(run)

    def _look(self, run: "Run") -> None:
        """Find the groups of the model as it is now, and watch it where the criterion wants to."""
        self._found = comb(run.model)
        self._watch = GROUP_CRITERIA[self.target.criterion].watch(self._found) if self.interval else None

    def epoch_start(self, run: "Run") -> None:
        self._cuts = []
        if self.interval == 0 and run.stage_epoch == 1:
            context = CalibrationContext(run.splits, self.calibration_images, seed=self.plan.seed)
            self._remove(run, 1.0, score_groups(self.target.criterion, self._found, context))

    def after_backward(self, run: "Run") -> None:
        if self.interval == 0 or not GROUP_CRITERIA[self.target.criterion].accumulates or self._finished(run):
            return
        for name, values in self._added(run).items():
            self._scores[name] = self._scores[name] + values if name in self._scores else values
        self._batches += 1

    def _added(self, run: "Run") -> Scores:
        """What this step adds to the scores."""
        if self._watch is not None:
            return self._watch.take()
        changes = {
            self._found.reader.canonical(name): (parameter * parameter.grad).detach()
            for name, parameter in run.model.graph_module.named_parameters()
            if parameter.grad is not None
        }
        return GROUP_CRITERIA[self.target.criterion].increment(self._found, run.settings.batch_size, changes)

    def after_step(self, run: "Run") -> None:
        if self.interval == 0 or run.stage_step % self._every(run) or self._finished(run):
            return
        done = run.stage_step // self._every(run) / self._removals(run)
        if GROUP_CRITERIA[self.target.criterion].accumulates:
            scores = {name: values / self._batches for name, values in self._scores.items()}
        else:
            scores = score_groups(self.target.criterion, self._found, CalibrationContext(seed=self.plan.seed))
        self._remove(run, done, scores)

    def end(self, run: "Run") -> None:
        if self._watch is not None:
            self._watch.close()

    def epoch_end(self, run: "Run", row: dict[str, Any]) -> None:
        counts = self.dense_sheet.counts(self.removal)
        dense = self.dense_sheet.dense
        row.update(
            sparsity=self.saved,
            layers={
                name: 1.0 - math.prod(counts.weight_shapes[name]) / math.prod(dense.weight_shapes[name])
                for name in self.dense_sheet.prunable
                if name in counts.weight_shapes
            },
            groups={name: len(units) for name, units in self.alive.items()},
            parameters=counts.parameters,
            macs=counts.macs,
            cuts=self._cuts,
        )
        if self.times is not None:
            row["milliseconds"] = self.times(counts)

    def state(self) -> dict[str, Any]:
        return {
            "alive": {name: torch.from_numpy(units) for name, units in self.alive.items()},
            "scores": {name: torch.from_numpy(values) for name, values in self._scores.items()},
            "batches": self._batches,
            "saved": self.saved,
            "dense_ms": self.times.dense_ms if self.times is not None else None,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        self.alive = {name: units.cpu().numpy() for name, units in state["alive"].items()}
        self._scores = {name: values.cpu().numpy() for name, values in state["scores"].items()}
        self._batches, self.saved = state["batches"], state["saved"]
        if self.times is not None:
            self.times.set_dense(state["dense_ms"])

    # -- removing ---------------------------------------------------------------------------------------------------

    def _every(self, run: "Run") -> int:
        """Steps between two removals; a stage that is shorter has one, at its end."""
        return min(self.interval, self.epochs * run.steps_per_epoch)

    def _removals(self, run: "Run") -> int:
        """How many removals there are in the stage."""
        return self.epochs * run.steps_per_epoch // self._every(run)

    def _finished(self, run: "Run") -> bool:
        return run.stage_step > self._removals(run) * self._every(run)

    def _remove(self, run: "Run", done: float, scores: Scores) -> None:
        """Remove what brings the saved share to the schedule's, ``done`` (0 to 1) of the way."""
        target = self.target
        wanted = SCHEDULES[self.schedule](done, target.share)
        sheet = summarise(self._found, explain=False)
        now, dense = self._left(sheet.dense), self._whole
        of = sum(group.units for group in sheet.groups) if target.budget == "channels" else now
        saving: dict[str, float] = {}
        if target.cost is not None:
            saving = savings(sheet, target.cost, round_to=target.limits.round_to, milliseconds=self.times)
        names = {group.name for group in sheet.groups}
        sizes = {group.name: group.units for group in self.dense_sheet.groups}
        ratios = {
            f"group:{name}": max(0.0, 1.0 - sizes[name] * (1.0 - ratio * done) / len(self.alive[name]))
            for name, ratio in self.ratios.items()
            if name in names
        }
        least = {
            name: math.ceil(target.limits.min_keep * size - 1e-9)
            for name, size in sizes.items()
            if name not in self.ratios
        }
        removal = choose_units(
            sheet,
            scores,
            max(0.0, (now - (1.0 - wanted) * dense) / of),
            criterion=target.criterion,
            allocation=target.allocation,
            budget=target.budget,
            limits=Limits(target.limits.round_to, 0.0),
            overrides=ratios,
            protected=[f"group:{name}" for name in self.held & names],
            kinds=target.kinds,
            milliseconds=self.times,
            least=least,
            saving=saving,
            fill=self.interval == 0,  # the only removal meets the budget; of many, each takes strictly the cheapest
        )
        removal = {name: units for name, units in removal.items() if units}
        if not removal:
            return
        spared = self._spared(sheet, scores, removal, saving, least)
        for name, units in removal.items():
            score = float(np.mean(scores[name][units]))
            self.alive[name] = np.delete(self.alive[name], units)
            self._cuts.append(
                {
                    "step": run.step,
                    "group": name,
                    "units": len(units),
                    "left": len(self.alive[name]),
                    "score": score,
                    "cost": score / saving.get(name, 1.0),
                    "spared": spared,
                }
            )
        if self._watch is not None:
            self._watch.close()
        remove_proved(run, self._found, removal)
        self._look(run)
        self._scores, self._batches = {}, 0
        self.saved = 1.0 - self._left(sheet.counts(removal)) / dense

    def _spared(
        self,
        sheet: GroupSheet,
        scores: Scores,
        removal: Mapping[str, Sequence[int]],
        saving: Mapping[str, float],
        least: Mapping[str, int],
    ) -> float | None:
        if not GROUP_CRITERIA[self.target.criterion].comparable:
            return None
        shut = {group.name for group in sheet.groups if group.kind not in self.target.kinds}
        return cheapest_left(
            sheet,
            scores,
            removal,
            saving,
            round_to=self.target.limits.round_to,
            least=least,
            closed=shut | self.held | set(self.ratios),
        )

    def _left(self, counts: Counts) -> float:
        """What is left of the budget's unit; ``counts`` are those of the model in training."""
        if self.target.budget == "macs":
            return float(counts.macs)
        if self.target.budget == "parameters":
            return float(counts.parameters)
        if self.target.budget == "latency":
            assert self.times is not None
            return self.times(counts)
        return float(sum(map(len, self.alive.values())))


class _Finished(Hook):
    """Nothing more is removed."""

    def __init__(self, removal: GradualRemoval) -> None:
        self._removal = removal

    def epoch_end(self, run: "Run", row: dict[str, Any]) -> None:
        self._removal.epoch_end(run, row)
        row["cuts"] = []


def check_removal(model: TracedModel, plan: Plan, target: RemovalTarget) -> None:
    """Refuse a target that cannot be reached, before anything is trained.

    Raises:
        PlanError: unknown names, no groups, weights that are not finite, or a target out of reach. A target in
            milliseconds is judged when the run has timed the layers.
    """
    checked_criterion(target.criterion)
    found = comb(model)
    refuse_without_groups(found)
    sheet = summarise(found, explain=False)
    scores = score_groups("magnitude", found, CalibrationContext())
    if target.budget == "latency":
        resolved(sheet, plan.overrides, plan.protected)
        return
    choose_units(
        sheet,
        scores,
        target.share,
        criterion="magnitude",
        allocation=target.allocation,
        budget=target.budget,
        limits=target.limits,
        overrides=plan.overrides,
        protected=plan.protected,
        kinds=target.kinds,
    )
