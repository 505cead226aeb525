"""Find a plan: the smallest network that keeps a score, the best one within limits, or the front between them.

Importing this needs no torch; searching does.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..analysis.sensitivity import SensitivitySettings, measure_sensitivity
from ..errors import PlanError
from ..methods import METHODS, prune
from ..progress import SILENT, Progress
from ..pruning.allocation import ALLOCATIONS
from ..pruning.groups import GROUP_ALLOCATIONS
from ..pruning.plan import Plan
from .families import Cost, Family, layer_families, unit_families
from .outcomes import Outcome
from .outlook import LayerOutlook, Outlook, UnitOutlook, untrained
from .search import Search
from .settings import SearchSettings
from .trying import Trial
from .whatif import Basis
from .words import sentence_of

if TYPE_CHECKING:
    from ..comb.sheet import GroupSheet
    from ..data.splits import Splits
    from ..models.traced import TracedModel

__all__ = ["find_fastest", "find_smallest", "pareto_front", "search_plans"]

Keeper = Callable[[Mapping[str, Any]], None]

_LEVELS = (0.3, 0.5, 0.7, 0.8, 0.9, 0.95)
_CURVE_IMAGES = 500
_MOST_FAMILIES = 3


def find_smallest(
    model: "TracedModel",
    splits: "Splits",
    *,
    keep: float | None = None,
    lose: float | None = None,
    plan: Plan | None = None,
    cost: Cost = "bytes",
    images: int = 1000,
    evaluations: int = 24,
    sure: bool = False,
    sensitivity: Mapping[str, Any] | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """The smallest network that still keeps a score, without training.

    Every plan that counts was really pruned (BatchNorm recalibrated where the plan's method does so) and measured on
    the selection split; the one that is found is measured once on the test split.

    Args:
        model: the dense model, which is never modified.
        splits: data that fit it.
        keep: the score to keep, a fraction (0.9 for 90 % accuracy or mIoU); or
        lose: how much less than the dense score is allowed, a fraction.
        plan: what stays as it is: method, criterion, what is protected or fixed. Default: zeros, by magnitude. A method
            that trains is searched as it is before training.
        cost: ``bytes``, ``parameters`` (that are not zero), ``macs`` or ``ms`` (ONNX Runtime, one image, one thread).
        images: of the selection split.
        evaluations: plans to measure at most.
        sure: the lower end of the paired 95 % interval must keep the score, too.
        sensitivity: result of ``measure_sensitivity``; for plans on single weights it is measured first without one.
        progress: ``publish`` gets the result so far after every measured plan.

    Returns:
        JSON: ``plans`` (``plan``, ``estimated``, ``measured``, ``macs``, ``bytes``, ``latency_ms``, ``kept``, …),
        ``best`` (number of the plan, or None), ``nearest`` (where nothing keeps what was asked), ``front`` (numbers of
        the plans that none beats), ``blocked_by``, ``target``, ``dense``, ``test`` (dense and best on the test split,
        compared), ``notes`` and ``sentence``.

    Raises:
        PlanError: neither or both of ``keep`` and ``lose``, a plan that leaves nothing to choose, a cost that the
            plan's method does not save.
        Cancelled: when the person cancelled; what was published last stands.
    """
    settings = _settings(
        goal="smallest", cost=cost, keep=keep, lose=lose, images=images, evaluations=evaluations, sure=sure
    )
    return search_plans(model, splits, plan or Plan(), settings, sensitivity=sensitivity, progress=progress)


def find_fastest(
    model: "TracedModel",
    splits: "Splits",
    *,
    within_ms: float | None = None,
    within_bytes: int | None = None,
    keep: float | None = None,
    plan: Plan | None = None,
    images: int = 1000,
    evaluations: int = 12,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """The network that loses least among those within a latency, or a file size, or both, without training.

    Milliseconds are of one image in ONNX Runtime with one thread, predicted from layers timed on this machine at the
    very shapes of each plan. With ``keep`` the score must be kept as well. Arguments, result and errors otherwise as
    ``find_smallest``; the default plan removes whole units (``one_shot_structured``) where milliseconds are asked for.
    """
    chosen = plan or (Plan(method="one_shot_structured", allocation="global") if within_ms is not None else Plan())
    settings = _settings(
        goal="fastest",
        cost="ms" if within_ms is not None else "bytes",
        within_ms=within_ms,
        within_bytes=within_bytes,
        keep=keep,
        images=images,
        evaluations=evaluations,
    )
    return search_plans(model, splits, chosen, settings, progress=progress)


def pareto_front(
    model: "TracedModel",
    splits: "Splits",
    *,
    plan: Plan | None = None,
    cost: Cost = "bytes",
    images: int = 1000,
    evaluations: int = 16,
    sampler: str = "curves",
    sensitivity: Mapping[str, Any] | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Several plans from little to much removed, each measured, and which of them none beats in score and cost.

    ``sampler="optuna"`` spends the second half of the measurements on a multi-objective search over the sparsities of
    stages or groups, started from the plans of the first half; without the package ``optuna`` it says so in ``notes``.
    Arguments, result (see ``front``) and errors otherwise as ``find_smallest``.
    """
    settings = _settings(goal="front", cost=cost, images=images, evaluations=evaluations, sampler=sampler)
    return search_plans(model, splits, plan or Plan(), settings, sensitivity=sensitivity, progress=progress)


def search_plans(
    model: "TracedModel",
    splits: "Splits",
    plan: Plan,
    settings: SearchSettings,
    *,
    sensitivity: Mapping[str, Any] | None = None,
    group_sensitivity: Mapping[str, Any] | None = None,
    sheet: "GroupSheet | None" = None,
    outcomes: Sequence[Outcome] = (),
    known: Mapping[str, Mapping[str, Any]] | None = None,
    keep_sensitivity: Keeper | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """The search behind ``find_smallest``, ``find_fastest`` and ``pareto_front``, with all that may be known before.

    Args:
        model, splits, plan, settings, sensitivity, progress: as there.
        group_sensitivity: the same measured over groups (``SensitivitySettings(of="groups")``).
        sheet: the groups of the model, when they were found before.
        outcomes: plans of this model that were measured before, newest first: estimates start better.
        known: earlier results by ``plan_key``; such plans are not measured again.
        keep_sensitivity: gets curves that were measured here, to be stored.
    """
    base = untrained(plan).changed(name="")
    notes = [_before_training(plan)] if base.method != plan.method else []
    if base.start:
        base = base.changed(start="")
        notes.append("The search starts from the dense model, not from the variant that the plan names.")
    units = METHODS[base.method].removes == "units"
    _refuse_cost(settings, units=units)
    if not units and sensitivity is None:
        progress.update(0, 0, "Measuring the sensitivity first")
        wanted = SensitivitySettings(
            levels=_LEVELS, images=min(settings.images, _CURVE_IMAGES), criterion=base.criterion, seed=base.seed
        )
        sensitivity = measure_sensitivity(model, splits, wanted, progress=_Unpublished(progress))
        if keep_sensitivity is not None:
            keep_sensitivity(sensitivity)
        notes.append(
            f"Sensitivity had not been measured: it was, first, on {sensitivity['n']:,} images, {len(_LEVELS)} levels."
        )
    if units and group_sensitivity is None:
        notes.append(
            "The groups have no measured sensitivity: plans share by the scores of the criterion. Measured curves add "
            "a family of plans that takes where a saved unit costs least."
        )
    trial = Trial(
        model,
        splits,
        images=settings.images,
        sensitivity=sensitivity,
        sheet=sheet,
        known=known,
        milliseconds=_times(model, progress) if settings.cost == "ms" or settings.within_ms is not None else None,
        progress=progress,
    )
    progress.update(0, settings.evaluations, "Measuring the dense model")
    outlook, families = _ground(model, base, settings, trial, sensitivity, group_sensitivity)
    basis = Basis.of(
        _description(model),
        trial.dense.summary(),
        layers=sensitivity,
        groups=group_sensitivity,
        outcomes=outcomes,
    )
    head = {
        "plan": plan.to_json(),
        "settings": settings.to_json(),
        "dense": {**trial.dense.summary(), **_dense_costs(trial)},
        "test": None,
        "sentence": "",
    }
    search = Search(trial, basis, outlook, families, settings, progress=progress, head=head)
    search.notes += notes
    search.run()
    if settings.goal == "front" and settings.sampler == "optuna":
        from .sampling import sample_front

        sample_front(search, base, units=units)
    result = search.to_json()
    if result["best"] is not None:
        progress.update(settings.evaluations, settings.evaluations, "Measuring the best plan on the test split")
        result["test"] = _tested(trial, search)
    result["sentence"] = sentence_of(result)
    progress.publish(result)
    return result


def _settings(**fields: Any) -> SearchSettings:
    return SearchSettings.parse({name: value for name, value in fields.items() if value is not None})


def _before_training(plan: Plan) -> str:
    return (
        f"{METHODS[plan.method].title} trains; every score here is before training, which usually brings some of it "
        "back. A race on the Plan page shows how much."
    )


def _refuse_cost(settings: SearchSettings, *, units: bool) -> None:
    """Zeros save neither MACs nor time, and a search for them would end where it began."""
    if not units and (settings.cost in ("macs", "ms") or settings.within_ms is not None):
        raise PlanError(
            "Zeros do not make dense kernels faster and save no MACs: choose a method that removes whole units, or "
            "search for bytes or parameters."
        )


def _ground(
    model: "TracedModel",
    base: Plan,
    settings: SearchSettings,
    trial: Trial,
    sensitivity: Mapping[str, Any] | None,
    group_sensitivity: Mapping[str, Any] | None,
) -> tuple[Outlook, list[Family]]:
    """What plans of this kind do, and the families to search: the promising ones first."""
    from ..analysis.weights import weight_statistics

    if METHODS[base.method].removes != "units":
        weights = weight_statistics(model)
        own = [base.allocation] if base.allocation in ALLOCATIONS else []
        families = layer_families(
            base,
            {name: layer.size for name, layer in weights.items()},
            sensitivity=sensitivity,
            allocations=[*own, "lamp", "sensitivity", "global"][: _MOST_FAMILIES + 1],
        )
        ground: Outlook = LayerOutlook(weights, _description(model), sizes=trial.dense_sizes, sensitivity=sensitivity)
        return ground, families[:_MOST_FAMILIES]
    sheet = _scored(model, trial, base)
    times = trial.milliseconds
    own = [name for name in (_effective(base, "allocation"),) if name in GROUP_ALLOCATIONS]
    found = unit_families(
        base,
        sheet,
        curves=None if group_sensitivity is None else group_sensitivity["groups"],
        cost=settings.cost,
        allocations=[*own, "global", "isomorphic"],
        milliseconds=times,
    )
    return UnitOutlook(sheet, sizes=trial.dense_sizes, milliseconds=times), found[:_MOST_FAMILIES]


def _scored(model: "TracedModel", trial: Trial, base: Plan) -> "GroupSheet":
    """The sheet with the scores that the run will use, where they take data, and with magnitudes for energies."""
    from dataclasses import replace

    from ..comb.combing import comb
    from ..pruning.criteria.base import CalibrationContext
    from ..pruning.groups.base import score_groups
    from ..pruning.groups.choosing import checked_criterion

    criterion = checked_criterion(_effective(base, "criterion"))
    sheet = trial.sheet
    if not sheet.groups:
        reason = f" (“{sheet.frozen[0].name}”: {sheet.frozen[0].reason})" if sheet.frozen else ""
        raise PlanError(f"There is nothing to prune in this model: it has no group that can shrink{reason}.")
    if criterion in sheet.scores:
        return sheet
    images = int(base.method_settings.get("calibration_images", 128))
    context = CalibrationContext(splits=trial.splits, images=images, seed=base.seed, progress=trial.progress)
    return replace(sheet, scores={**sheet.scores, criterion: score_groups(criterion, comb(model), context)})


def _effective(plan: Plan, field: str) -> str:
    own = plan.method_settings.get(field, "plan")
    return str(getattr(plan, field) if own == "plan" else own)


def _times(model: "TracedModel", progress: Progress) -> Any:
    from ..analysis.network_latency import NetworkLatency
    from ..comb.combing import comb

    return NetworkLatency(comb(model), progress=progress)


def _description(model: "TracedModel") -> Mapping[str, Any]:
    from ..analysis.describe import describe_model

    return describe_model(model)


def _dense_costs(trial: Trial) -> dict[str, Any]:
    sizes = trial.dense_sizes
    times = trial.milliseconds
    return {
        "parameters": sizes["parameters"],
        "nonzero": sizes["nonzero"],
        "macs": sizes["macs"],
        "bytes": sizes["dense_bytes"],
        "sparse_bytes": sizes["sparse_bytes"],
        "latency_ms": None if times is None else times.dense_ms,
    }


def _tested(trial: Trial, search: Search) -> dict[str, Any]:
    """Dense and best on the test split, once, after everything was chosen."""
    from ..analysis.evaluation import evaluate
    from ..analysis.statistics import compare_paired

    best = search.points.best
    assert best is not None
    plan = search.points.items[best].tried.plan
    result = prune(
        trial.model, trial.splits, plan, sensitivity=trial.sensitivity, progress=_Unpublished(trial.progress)
    )
    dense = evaluate(trial.model, trial.splits, "test", progress=_Unpublished(trial.progress))
    after = evaluate(result.model, trial.splits, "test", progress=_Unpublished(trial.progress))
    kept = {key: after.summary()[key] for key in ("metric", "n", "score", "low", "high")}
    return {**kept, "dense_score": dense.score, "comparison": compare_paired(dense, after).to_json()}


class _Unpublished(Progress):
    """Shows what a part of the search does, but its partial results are not the search's."""

    def __init__(self, outer: Progress) -> None:
        self.check = outer.check  # type: ignore[method-assign]
        self.update = outer.update  # type: ignore[method-assign]
