"""SEAP: self-distillation enhanced adaptive pruning (Diao et al., Pattern Recognition 2024, 110942): a reconstruction.

From the abstract [P]: a trainable parameter per channel controls its pruning; pruning is part of one single training
run; only one overall rate is given, and per-layer rates adapt; the pretrained network teaches its own pruning. No
formula or table of the paper is available to us. Everything else is reconstructed [D] and written down in METHODS §C2:
hard gates with a straight-through gradient over one threshold, the cubic ramp, the phases of the run, physical removal
in mid-run, the loss, and all numbers below. The units are those of comb: channels that a residual connection joins
share one gate, and heads, head widths, neurons and embedding widths of transformers have gates, too.

The history has what ``core.training.gating`` says: per epoch gate values, threshold, what stays of every group, units
that came back, and the moment of the removal.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator

from ..comb.kinds import KINDS
from ..errors import PlanError
from ..progress import SILENT, Progress
from ..pruning.fields import Kinds, MinKeep, RoundTo, UnitBudget
from ..pruning.gates import ramp
from ..pruning.plan import Plan
from ..training.settings import ADVANCED, DistillationSettings, StageSettings, TrainingSettings
from ..wording import percent
from .base import METHODS, Course, MethodResult
from .presets import PresetSettings
from .trained import TrainedMethod

if TYPE_CHECKING:
    from ..comb.groups import Comb
    from ..pruning.gates import GateRule
    from ..training.checkpoints import Checkpoints
    from ..training.gating import LearnedGates
    from ..training.loop import Run

__all__ = ["PHASES", "PRESETS", "SEAP", "SEAPSettings"]

PHASES = (0.02, 0.3, 0.4)
"""Where the ramp begins, where it ends, and when closed units are removed: fractions of all steps [D].

METHODS §C2 has 0.05, 0.55 and 0.65. With ResNet-20 and nine epochs at 53 % of the MACs (seed 0, gates that started from
their Fisher information) the test accuracy was 83.5 % there and 85.3 % here: the small network needs the time.
"""

RECALIBRATION_BATCHES = 100

PRESETS: Mapping[str, dict[str, Any]] = {
    "quick": {"train": {"epochs": 10}},
    "standard": {"train": {"epochs": 60}},
}
"""What a preset sets; other fields, and those that are given, stay as they are."""


class SEAPSettings(PresetSettings):
    """What SEAP lets a person choose: little, because one rate is all that it needs."""

    PRESETS: ClassVar = PRESETS

    preset: Literal["own", "quick", "standard"] = Field(
        default="own",
        title="Preset",
        description="Sets the number of epochs: “quick” for a first look. “own” takes the fields as they are.",
    )
    budget: UnitBudget = "channels"
    round_to: RoundTo = 1
    min_keep: MinKeep = 0.1
    kinds: Kinds = KINDS
    gate_learning_rate: float = Field(
        default=1e-3,
        gt=0.0,
        le=1.0,
        title="Learning rate of the gates",
        description="Of Adam. The larger it is and the longer the run, the further gates go from where the dense "
        "weights put them: 0.01 suits runs of ten thousands of steps.",
    )
    phases: tuple[float, float, float] = Field(
        default=PHASES,
        title="Ramp begins, ramp ends, removal",
        json_schema_extra=ADVANCED,
        description="Fractions of all steps: gates close from the first to the second, may change places until the "
        "third, and then the closed units are removed.",
    )
    training: TrainingSettings = Field(default=TrainingSettings(), title="Training")
    distillation: DistillationSettings = Field(default=DistillationSettings(alpha=0.7), title="Distillation")
    train: StageSettings = Field(
        default=StageSettings(epochs=60, learning_rate=0.01, weight_decay=5e-4, hold=PHASES[2]),
        title="The one run",
        description="Gates close while the network trains; then the closed units are removed and the small network "
        "trains on. Unless it is set, the learning rate is held until the removal.",
    )

    @field_validator("phases")
    @classmethod
    def _one_after_the_other(cls, phases: tuple[float, float, float]) -> tuple[float, float, float]:
        if not 0.0 <= phases[0] < phases[1] <= phases[2] < 1.0:
            raise ValueError("the ramp begins at 0 or later, ends after that, and the removal follows before 1")
        return phases

    @field_validator("train")
    @classmethod
    def _held_until_the_removal(cls, train: StageSettings, given: ValidationInfo) -> StageSettings:
        return train if "hold" in train.model_fields_set else train.changed(hold=given.data.get("phases", PHASES)[2])

    @field_validator("distillation")
    @classmethod
    def _whole_teacher(cls, distillation: DistillationSettings) -> DistillationSettings:
        if distillation.form != "off" and distillation.teacher == "progressive":
            raise ValueError("SEAP has no sparsity levels for a progressive teacher: choose the dense one or a model")
        return distillation


@METHODS.register("seap")
class SEAP(TrainedMethod):
    """SEAP (reconstruction): gates learn with the weights which channels go, while the dense model teaches."""

    title = "SEAP · adaptive pruning by trainable gates (reconstruction)"
    provenance = (
        "Reconstruction: of Diao et al., Pattern Recognition 2024, only the abstract is known to us: a trainable "
        "parameter per channel, pruning inside one training run, one overall rate with layers that adapt, the "
        "pretrained network as its own teacher [P]. Gates, threshold, schedule, loss and all hyper-parameters are ours "
        "[D]."
    )
    Settings = SEAPSettings
    removes = "units"

    @classmethod
    def course(cls, plan: Plan) -> Course:
        """See ``Method.course``."""
        settings = SEAPSettings.parse(plan.method_settings)
        epochs = settings.train.epochs
        return Course(
            (("Pruning while training", epochs),),
            tuple(plan.sparsity * ramp(epoch / epochs, settings.phases) for epoch in range(1, epochs + 1)),
        )

    @classmethod
    def check(cls, model: Any, splits: Any, plan: Plan) -> None:
        """Refuse what cannot work: no data or groups, names that do not fit, a rate out of reach, a teacher that does
        not fit, weights that are not finite."""
        import numpy as np

        from ..comb.combing import comb
        from ..pruning.gates import initial_gates
        from ..pruning.groups.choosing import refuse_without_groups
        from ..training.distillation import teacher_for
        from ..training.loop import check_training

        settings = SEAPSettings.parse(plan.method_settings)
        check_training(splits, settings.training)
        found = comb(model)
        refuse_without_groups(found)
        gates = initial_gates(found)
        for name, values in gates.items():
            if not np.isfinite(values).all():
                raise PlanError(f"The weights of “{name}” are not finite: load a sound checkpoint.")
        if settings.budget != "latency":  # latency is measured when the plan runs
            rule = _rule(found, settings, plan)
            rule.final(rule.joined(gates))
        teacher_for(settings.distillation, model)

    @classmethod
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
        """One run: gates and weights learn together, closed units are removed, the small network trains on."""
        from ..comb.combing import comb
        from ..training.distillation import make_objective
        from ..training.gating import LearnedGates
        from .results import structured_result

        settings = SEAPSettings.parse(plan.method_settings)
        found = comb(model)
        rule = _rule(found, settings, plan, progress=progress)
        gates = LearnedGates(
            found,
            rule,
            epochs=settings.train.epochs,
            learning_rate=settings.gate_learning_rate,
            phases=settings.phases,
        )
        with cls._run(model, splits, plan, progress=progress, checkpoints=checkpoints) as run:
            loss = make_objective(settings.distillation, model, splits)
            if rule.idle:  # without anything to close this is fine-tuning, bit for bit
                run.stage(settings.train, loss)
            else:
                run.stage(settings.train, loss, hooks=[gates], best_from=gates.best_from(run.steps_per_epoch))
                _recalibrate(run)
        result = structured_result(run, gates)
        return replace(result, notes=(*_notes(gates), *result.notes))


def _rule(found: "Comb", settings: SEAPSettings, plan: Plan, *, progress: Progress = SILENT) -> "GateRule":
    from ..comb.gating import without_gates
    from ..comb.summary import summarise
    from ..pruning.gates import GateRule
    from ..pruning.groups.budget import Limits

    milliseconds = None
    if settings.budget == "latency" and (plan.sparsity > 0 or any(plan.overrides.values())):
        from ..analysis.network_latency import NetworkLatency

        milliseconds = NetworkLatency(found, progress=progress)
    return GateRule(
        summarise(found, explain=False),
        target=plan.sparsity,
        budget=settings.budget,
        limits=Limits(settings.round_to, settings.min_keep),
        kinds=settings.kinds,
        overrides=plan.overrides,
        protected=plan.protected,
        blocked=without_gates(found),
        milliseconds=milliseconds,
    )


def _recalibrate(run: "Run") -> None:
    """Measure BatchNorm's statistics again, and keep them unless the selection split says that they are worse."""
    from ..analysis.recalibration import recalibrate_batchnorm
    from ..training.state import load_plain_state, plain_state

    before, score = plain_state(run.model.graph_module), run.evaluate().score
    batch = run.settings.batch_size
    layers = recalibrate_batchnorm(
        run.model,
        run.splits,
        images=RECALIBRATION_BATCHES * batch,
        batch_size=batch,
        seed=run.plan.seed,
        progress=run.progress,
    )
    if not layers:
        return
    after = run.evaluate().score
    words = f"from {percent(score, 2)} to {percent(after, 2)} on the selection split"
    if after >= score:
        run.notes.append(f"{layers} BatchNorm layers were recalibrated: {words}.")
    else:
        load_plain_state(run.model.graph_module, before)
        run.notes.append(f"Recalibrating BatchNorm would have changed the score {words}: it was left as trained.")


def _notes(gates: "LearnedGates") -> list[str]:
    rule = gates.rule
    unit = {"macs": "MACs", "latency": "predicted latency"}.get(rule.budget, rule.budget)
    words = ["SEAP is a reconstruction from the paper's abstract: see METHODS §C."]
    if gates.removal:
        words.append(
            f"The gates closed {percent(rule.saved(gates.removal))} of the {unit}; layers found their own rates."
        )
    elif rule.idle:
        words.append("Nothing is to be removed: this is the dense model, trained on.")
    if gates.removal and rule.milliseconds is not None:
        times: Any = rule.milliseconds
        latency = times.to_json(gates.dense_sheet.counts(gates.removal))
        words.append(
            f"Predicted latency in ONNX Runtime, one image: {latency['predicted_ms']:.3g} ms of "
            f"{latency['dense_ms']:.3g} ms, from layers timed on this machine; Compare measures it."
        )
    if rule.blocked:
        words.append(f"{len(rule.blocked)} groups have no gates and stayed whole.")
    return words
