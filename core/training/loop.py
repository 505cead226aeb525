"""The one training loop. A method makes a ``Run`` and trains it stage by stage; hooks act inside (``hooks.py``).

    with Run(model, splits, plan, settings.training, course=…, …) as run:
        run.stage(settings.prune, Distillation(…), hooks=[…], best_from=…)
        run.stage(settings.tune, CrossEntropy(…), hooks=[…])
    run.model, run.history

A run that is given checkpoints with a checkpoint in them continues: finished stages return at once, the others go on
after their last complete epoch, and the final weights are, bit for bit, those of an uninterrupted run on the same
machine with the same number of threads.
"""

import json
import math
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, Literal

import numpy as np
import torch

from ..analysis.evaluation import Evaluation, evaluate
from ..comb.groups import Comb
from ..comb.optimizer import slice_optimizer
from ..comb.record import recorded_removal
from ..comb.survivors import Removal
from ..data.splits import Splits
from ..errors import StoreError, TrainingError
from ..models.memory_order import to_channels_last
from ..models.traced import TracedModel, main_output
from ..progress import SILENT, Progress
from ..pruning.plan import Plan
from .candidates import Candidate, rank
from .checkpoints import Checkpoints
from .checks import check_training, refuse_broken_weights, run_identity
from .divergence import divergence
from .engine import chosen_precision, make_fabric
from .history import History
from .hooks import Hook
from .meter import Meter
from .objective import Objective
from .optimizing import MaskedOptimizer
from .rates import learning_rate
from .settings import StageSettings, TrainingSettings
from .state import load_plain_state, plain_state

__all__ = ["Run", "check_training"]

Unit = Literal["weights", "channels", "parameters", "macs", "ms"]


class Run:
    """One training run over one model, from the first stage to the last.

    Attributes for hooks:
        model: the TracedModel in training; ``remove_units`` puts a smaller one in its place.
        optimizer: the stage's ``MaskedOptimizer``.
        stage_epoch: the running (or last) epoch of the stage, from 1; ``epoch`` counts over all stages.
        stage_step, step: optimizer steps done, in the stage and over all stages; ``steps_per_epoch``.
        learning_rate, notes, history, splits, plan, device, progress.
    """

    def __init__(
        self,
        model: TracedModel,
        splits: Splits,
        plan: Plan,
        settings: TrainingSettings,
        *,
        stages: Sequence[tuple[str, int]],
        target: float,
        unit: Unit = "weights",
        progress: Progress = SILENT,
        checkpoints: Checkpoints | None = None,
    ) -> None:
        self.dense = model
        self.model = model.clone()
        self.splits, self.plan, self.settings = splits, plan, settings
        self.progress = progress
        self.device = model.device
        self.precision = chosen_precision(settings.precision, self.device)
        self.stages = tuple(stages)
        self.notes: list[str] = []
        self.epoch = self.stage_epoch = self.step = self.stage_step = 0
        self.learning_rate = 0.0
        self.ended_early = False
        self.optimizer: MaskedOptimizer
        self.steps_per_epoch = check_training(splits, settings)
        self._indices = splits.train.indices(settings.images)
        self._stage = -1
        self._checkpoints = checkpoints
        self._identity = run_identity(model, splits, plan)
        self._structure: TracedModel | None = None
        self._finished_hooks: list[list[dict[str, Any]]] = []
        self._resumed: dict[str, Any] | None = None
        self._now: Candidate | None = None
        self._draw = torch.Generator()
        self._contexts = ExitStack()
        self._target, self._unit = target, unit

    # -- from beginning to end --------------------------------------------------------------------------------------

    def __enter__(self) -> "Run":
        try:
            self._enter()
        except BaseException:
            self._contexts.close()
            raise
        return self

    def _enter(self) -> None:
        cuda = [self.device.index or 0] if self.device.type == "cuda" else []
        self._contexts.enter_context(torch.random.fork_rng(devices=cuda))
        if cuda:
            self._contexts.enter_context(
                torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=True)
            )
        torch.manual_seed(self.plan.seed)
        self._draw.manual_seed(self.plan.seed)
        self.fabric = make_fabric(self.device, self.precision)
        if self._checkpoints is not None and self._checkpoints.exists:
            self._resume(self._checkpoints)
        else:
            refuse_broken_weights(self.model)
            dense = self.evaluate(self.dense)
            self.history = History(
                self.stages,
                metric=dense.metric,
                dense_score=dense.score,
                target=self._target,
                unit=self._unit,
                seed=self.plan.seed,
                precision=self.precision,
                threads=torch.get_num_threads(),
            )
        self._adopt(self.model)

    def __exit__(self, *_: object) -> None:
        self._contexts.close()
        self.model.graph_module.to(memory_format=torch.contiguous_format)
        self.model.eval()

    @property
    def continued(self) -> bool:
        """Whether a checkpoint was found, and none of its stages has been taken up yet."""
        return self._resumed is not None

    def start_from(self, model: TracedModel) -> None:
        """Begin with the weights of ``model``, a changed copy of the dense one, unless the run is ``continued``."""
        if not self.continued:
            load_plain_state(self.model.graph_module, plain_state(model.graph_module))

    def stage(
        self, settings: StageSettings, objective: Objective, *, hooks: Sequence[Hook] = (), best_from: int = 0
    ) -> None:
        """Train one stage and restore its best state.

        Args:
            settings: ``settings.epochs`` must be what the course planned for this stage.
            objective: the loss, and the teacher if it has one.
            best_from: the first epoch whose state may be the result; 0 is the state before the stage. Patience counts
                from there.

        Raises:
            TrainingError: when the loss is NaN or infinite before there is a state that may be the result. With such a
                state the run ends there, with a note, and later stages do nothing.
            Cancelled: from ``progress``; the last complete epoch is in the checkpoints.
        """
        if self.ended_early:
            return
        self._stage += 1
        self.stage_epoch = self.stage_step = 0
        resumed = self._take_up(hooks)
        if resumed == "later stage":
            return
        objective.begin(self, self._indices)
        for hook in hooks:
            hook.begin(self)
        self.optimizer = MaskedOptimizer(self.model.graph_module, settings)
        self._stepping = self.fabric.setup_optimizers(self.optimizer.optimizer)
        best, stale, stop = None, 0, False
        if isinstance(resumed, dict):
            self.optimizer.load(resumed["optimizer"])
            best = None if resumed["best"] is None else Candidate(**resumed["best"])
            stale, stop = resumed["stale"], resumed["stop"]
            self._restore_generators(resumed)
        else:
            self.history.begin_stage(self._stage)
            if best_from == 0:
                best = self._now if self._now is not None else self._candidate(self.evaluate(), epoch=self.epoch)

        while self.stage_epoch < settings.epochs and not stop:
            try:
                row, measured = self._train_epoch(settings, objective, hooks)
            except _Diverged as problem:
                self._end_early(problem, best)
                break
            eligible = self.stage_epoch >= best_from
            if eligible and (best is None or rank(measured) > best.rank):
                best, stale = self._candidate(measured, epoch=self.epoch), 0
                row["best"] = True
            elif eligible:
                stale += 1
            stop = bool(settings.patience) and stale >= settings.patience
            self.history.add_epoch(row)
            if stop and self.stage_epoch < settings.epochs:
                self._event(f"Stopped early: no better score in {stale} epochs.")
            self.progress.publish(self.history.to_json())
            self._save(hooks, best, stale=stale, stop=stop)

        assert best is not None
        load_plain_state(self.model.graph_module, best.state)
        self._now = best
        self.history.restored(best.epoch)
        for hook in hooks:
            hook.end(self)
        objective.end(self)
        self._finished_hooks.append([hook.state() for hook in hooks])
        self.progress.publish(self.history.to_json())

    def evaluate(self, model: TracedModel | None = None) -> Evaluation:
        """Score on the selection split, in fp32 and eval mode."""
        return evaluate(model or self.model, self.splits, "select", progress=_OnlyChecks(self.progress))

    def remove_units(self, found: Comb, removal: Removal) -> None:
        """Go on in a physically smaller network: units of groups of ``run.model``, combed as ``found``, are cut out.

        The optimizer's state is sliced, checkpoints carry the new structure, and hooks that hold on to modules attach
        anew. States of the larger model cannot be the result: call it before epoch ``best_from`` ends.
        """
        smaller = recorded_removal(self.model, found, removal)
        slice_optimizer(self.optimizer.optimizer, found, removal, smaller)
        self.optimizer.follow(smaller.graph_module)
        self._structure = smaller.clone()
        self._adopt(smaller)

    # -- one epoch --------------------------------------------------------------------------------------------------

    def _train_epoch(
        self, settings: StageSettings, objective: Objective, hooks: Sequence[Hook]
    ) -> tuple[dict[str, Any], Evaluation]:
        self.stage_epoch += 1
        self.epoch += 1
        self.model.train()
        for hook in hooks:
            hook.epoch_start(self)
        meter = Meter(self.splits)
        order = self._indices[torch.randperm(len(self._indices), generator=self._draw).numpy()]
        for step in range(self.steps_per_epoch):
            with meter.pause():
                self.progress.check()
            chosen = order[step * self.settings.batch_size : (step + 1) * self.settings.batch_size]
            self._train_step(chosen, settings, objective, hooks, meter)
            self._report(step + 1, meter)
        seconds = meter.seconds
        measured = self.evaluate()
        row: dict[str, Any] = {
            "epoch": self.epoch,
            "stage": self._stage,
            **meter.summary(),
            "select_score": measured.score,
            "select_low": measured.interval[0],
            "select_high": measured.interval[1],
            "learning_rate": self.learning_rate,
            "sparsity": 0.0,
            "revived": None,
            "hidden": None,
            "jaccard": None,
            "seconds": seconds,
            "layers": {},
            "best": False,
        }
        for hook in hooks:
            hook.epoch_end(self, row)
        return row, measured

    def _train_step(
        self,
        chosen: np.ndarray[Any, Any],
        settings: StageSettings,
        objective: Objective,
        hooks: Sequence[Hook],
        meter: Meter,
    ) -> None:
        x, y = self.splits.train.batch(chosen, augment=self.settings.augment, generator=self._draw, device=self.device)
        x = x.contiguous(memory_format=torch.channels_last) if self._channels_last else x
        self.learning_rate = learning_rate(settings, self.stage_step, steps_per_epoch=self.steps_per_epoch)
        teacher = objective.teach(x, chosen)
        logits = main_output(self._forward(x))
        loss, parts = objective.loss(logits, y, teacher)
        meter.add(loss, parts, logits.detach(), y)
        if not math.isfinite(meter.last_loss):
            raise _Diverged(
                divergence(
                    self.model,
                    x,
                    logits,
                    stage=settings,
                    learning_rate=self.learning_rate,
                    precision=self.precision,
                )
            )
        self.optimizer.zero_grad()
        self.fabric.backward(loss)
        for hook in hooks:
            hook.after_backward(self)
        if settings.clip_norm:
            torch.nn.utils.clip_grad_norm_(self.optimizer.parameters.values(), settings.clip_norm)
        self.optimizer.step(self.learning_rate, self._stepping)
        self.step += 1
        self.stage_step += 1
        for hook in hooks:
            hook.after_step(self)

    def _report(self, step: int, meter: Meter) -> None:
        name, epochs = self.stages[self._stage]
        before = sum(epochs for _, epochs in self.stages[: self._stage])
        done = (before + self.stage_epoch - 1) * self.steps_per_epoch + step
        total = sum(epochs for _, epochs in self.stages) * self.steps_per_epoch
        self.progress.update(done, total, f"{name} · epoch {self.stage_epoch}/{epochs}")
        if meter.due():
            self.history.set_step(
                {
                    "epoch": self.epoch,
                    "step": step,
                    "steps": self.steps_per_epoch,
                    "loss": meter.last_loss,
                    "learning_rate": self.learning_rate,
                    "images_per_s": meter.images_per_s,
                }
            )
            self.progress.publish(self.history.to_json())

    # -- states -----------------------------------------------------------------------------------------------------

    def _adopt(self, model: TracedModel) -> None:
        """Train this model from here on."""
        self.model = model
        module = model.graph_module
        self._channels_last = self.settings.channels_last and any(p.ndim == 4 for p in module.parameters())
        if self._channels_last:
            to_channels_last(module)
        self._forward = self.fabric.setup_module(module)
        model.train()

    def _candidate(self, measured: Evaluation, *, epoch: int) -> "Candidate":
        loss = measured.loss if math.isfinite(measured.loss) else None
        return Candidate(measured.score, loss, epoch, plain_state(self.model.graph_module))

    def _end_early(self, problem: "_Diverged", best: "Candidate | None") -> None:
        name, _ = self.stages[self._stage]
        where = f"The loss was NaN or infinite at step {self.step + 1} (epoch {self.epoch}, “{name}”)."
        self._event(f"{where} {problem}")
        self.history.set_step(None)
        self.progress.publish(self.history.to_json())
        if best is None:
            last = self.epoch - 1
            kept = f" The state after epoch {last} is kept in the checkpoint." if last and self._checkpoints else ""
            raise TrainingError(f"{where} {problem}{kept}")
        self.notes.append(
            f"{where} {problem} The run ended there; the result is the best state before, of epoch {best.epoch}."
        )
        self.ended_early = True

    def _event(self, text: str) -> None:
        self.history.event(self.epoch, self.step, text)

    def _save(self, hooks: Sequence[Hook], best: "Candidate | None", *, stale: int, stop: bool) -> None:
        if self._checkpoints is None:
            return
        cuda = torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None
        state = {
            "identity": self._identity,
            "stage": self._stage,
            "stage_epoch": self.stage_epoch,
            "stage_step": self.stage_step,
            "epoch": self.epoch,
            "step": self.step,
            "model": plain_state(self.model.graph_module),
            "best": None if best is None else best.__dict__,
            "stale": stale,
            "stop": stop,
            "optimizer": self.optimizer.state(),
            "hooks": [*self._finished_hooks, [hook.state() for hook in hooks]],
            "rng": {"torch": torch.get_rng_state(), "cuda": cuda, "draw": self._draw.get_state()},
            "notes": list(self.notes),
            "threads": torch.get_num_threads(),
            "history": json.dumps(self.history.to_json()),
        }
        self._checkpoints.save(self.epoch, state, self._structure)

    def _resume(self, checkpoints: Checkpoints) -> None:
        state, replaced = checkpoints.load()
        if state.get("identity") != self._identity:
            raise StoreError(
                f"The checkpoint in {checkpoints.folder} belongs to a run with another model, data set, plan or "
                "version of Espalier: choose another folder, or delete it."
            )
        if replaced is not None:
            self.model = replaced.to(self.device)
            self._structure = replaced.clone()
        load_plain_state(self.model.graph_module, state["model"])
        self.epoch, self.step = state["epoch"], state["step"]
        self.notes = list(state["notes"])
        self.history = History.of(json.loads(state["history"]))
        if state["threads"] != torch.get_num_threads():
            self._event(
                f"Continued with {torch.get_num_threads()} threads after {state['threads']}: weights may differ in "
                "their last bits from those of an uninterrupted run."
            )
        self._resumed = state

    def _take_up(self, hooks: Sequence[Hook]) -> "dict[str, Any] | Literal['later stage'] | None":
        """What the checkpoint knows of this stage; hooks get their states."""
        state = self._resumed
        if state is None:
            return None
        for hook, held in zip(hooks, state["hooks"][self._stage], strict=True):
            hook.load(held)
        if self._stage < state["stage"]:
            self._finished_hooks.append(state["hooks"][self._stage])
            return "later stage"
        self._resumed = None
        self.stage_epoch, self.stage_step = state["stage_epoch"], state["stage_step"]
        return state

    def _restore_generators(self, state: dict[str, Any]) -> None:
        torch.set_rng_state(state["rng"]["torch"].cpu())
        self._draw.set_state(state["rng"]["draw"].cpu())
        if state["rng"]["cuda"] is not None and self.device.type == "cuda":
            torch.cuda.set_rng_state(state["rng"]["cuda"].cpu(), self.device)


class _Diverged(Exception):  # noqa: N818 - caught inside; its text becomes part of a TrainingError or of a note
    """The loss is not finite; the text says why and what to do."""


class _OnlyChecks(Progress):
    """Lets an evaluation inside a run be cancelled and paused, and leaves the run's own progress alone."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def check(self) -> None:
        self._progress.check()
