"""More points of a front from Optuna's multi-objective sampler, over the sparsities of stages or groups.

An option: the package ``optuna`` comes with the extra “search”. It starts from the plans that the families gave, so
that no measurement is spent on finding out what the curves knew.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import PlanError
from ..pruning.plan import Plan
from .points import Point
from .search import Search

__all__ = ["sample_front"]

_MOST = 0.98
_LEAST_TOP = 0.5
"""Each sparsity is varied up to the highest that a family gave it, and at least so far."""
_BLOCKS_AT_MOST = 24


def sample_front(search: Search, base: Plan, *, units: bool) -> None:
    """Spend the measurements that are left on plans that the sampler proposes; points go to the search.

    Without the package nothing is sampled, and a note says so.
    """
    try:
        import optuna
    except ImportError:
        search.notes.append(
            "Optuna is not installed, so that all points come from the curves and scores; install it with: "
            "pip install “espalier[search]”."
        )
        return
    seen = {name for point in search.points.items for name in point.tried.outcome.sparsities}
    blocks = _blocks(sorted(seen - set(base.settled)))
    if not blocks:
        search.notes.append("There was nothing for Optuna to vary.")
        return
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=search.settings.seed, multivariate=False, n_startup_trials=1)
    study = optuna.create_study(directions=("maximize", "minimize"), sampler=sampler)
    tried = [_shares(point, blocks) for point in search.points.items]
    space: dict[str, optuna.distributions.BaseDistribution] = {
        name: optuna.distributions.FloatDistribution(0.0, max(_LEAST_TOP, *(shares[name] for shares in tried)))
        for name in blocks
    }
    for point in search.points.items:
        study.add_trial(
            optuna.trial.create_trial(params=_shares(point, blocks), distributions=space, values=_values(search, point))
        )
    refused = 0
    while search.left > 0 and refused < 2 * search.settings.evaluations:
        asked = study.ask(space)
        plan = _plan(base, blocks, asked.params, units=units)
        try:
            point = search.attempt("optuna", "Optuna's proposal", plan, None)
        except PlanError:
            study.tell(asked, state=optuna.trial.TrialState.FAIL)
            refused += 1
            continue
        study.tell(asked, _values(search, point))


def _values(search: Search, point: Point) -> tuple[float, float]:
    return float(point.tried.body["score"]), search.points.cost(point)


def _blocks(names: Sequence[str]) -> dict[str, list[str]]:
    """Each layer or group by itself; where that is too many, those whose names begin alike share one sparsity."""
    for depth in (None, 3, 2, 1):
        blocks: dict[str, list[str]] = {}
        for name in names:
            blocks.setdefault(name if depth is None else ".".join(name.split(".")[:depth]), []).append(name)
        if len(blocks) <= _BLOCKS_AT_MOST:
            return blocks
    return {"all": list(names)} if names else {}


def _shares(point: Point, blocks: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """The mean sparsity of each block under a plan that was tried."""
    own = point.tried.outcome.sparsities
    return {
        block: min(_MOST, sum(own.get(name, 0.0) for name in names) / len(names)) for block, names in blocks.items()
    }


def _plan(base: Plan, blocks: Mapping[str, Sequence[str]], shares: Mapping[str, Any], *, units: bool) -> Plan:
    prefix = "group:" if units else ""
    own = {f"{prefix}{name}": round(float(shares[block]), 4) for block, names in blocks.items() for name in names}
    return base.changed(sparsity=0.0, overrides={**base.overrides, **{k: v for k, v in own.items() if v > 0}})
