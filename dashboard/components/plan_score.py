"""The score that a plan is expected to have: measured where a check has looked, else estimated, with its band."""

from collections.abc import Sequence
from dataclasses import dataclass

from core.methods import METHODS
from core.planning.whatif import PAIRS_WITHOUT_CURVES, Basis, Effect, WhatIf, foreseen
from core.pruning.plan import Plan
from core.store.records import Job, Model, Session
from dashboard import backend, state
from dashboard.components.badges import number_html
from dashboard.components.format import interval, percent, points, short
from dashboard.components.plan_check import check_of

__all__ = ["Expected", "basis_for", "expected_score"]


@dataclass(frozen=True)
class Expected:
    """One figure (HTML; None where nothing can be said) and the sentences that belong below it."""

    figure: str | None
    notes: tuple[str, ...]


def basis_for(session: Session, model: Model, plan: Plan) -> Basis | None:
    """Everything that estimates of this session's plans rest on."""
    from core.jobs.knowledge import basis_of

    dense = state.dense_variant(session)
    if dense is None or not session.data_id:
        return None
    store = backend.store()
    return basis_of(store, model, store.get_dataset(session.data_id), dense, criterion=plan.criterion)


def expected_score(
    basis: Basis | None, effect: Effect | None, plan: Plan, *, metric: str, checks: Sequence[Job]
) -> Expected:
    """The figure and what limits it. ``effect`` is None for a plan that is impossible."""
    if basis is None or effect is None:
        return Expected(None, ())
    known = foreseen(plan)
    said = basis.estimate(effect) if known else None
    check = check_of(plan, checks)
    notes = _record(basis, effect)
    if check is not None and check.result:
        return Expected(_measured(plan, check, metric, said), tuple(notes))
    if said is None:
        return Expected(None, _why_not(basis, effect, known=known))
    figure = number_html(
        f"Expected {metric}, selection split",
        percent(said.band.score),
        measured=False,
        n=said.n,
        interval=band_words(said) if effect.share > 0 else None,
        note=_note(plan, effect, basis, said),
    )
    return Expected(figure, (f"The estimate rests on {said.basis}.", *notes, *_gaps(said)))


def band_words(said: WhatIf) -> str:
    """“80 % band 91.2–93.0 %”."""
    return f"{percent(said.coverage, 0)} band {interval(said.band.low, said.band.high)}"


def _measured(plan: Plan, check: Job, metric: str, said: WhatIf | None) -> str:
    body = check.result or {}
    when = "; before training" if METHODS[plan.method].trains else ""
    before = "" if said is None else f"; estimate {interval(said.band.low, said.band.high)}"
    return number_html(
        f"{metric[:1].upper()}{metric[1:]}, selection split",
        percent(body.get("score")),
        n=body.get("n"),
        interval=f"95 % interval {interval(body.get('low'), body.get('high'))}",
        note=f"dense {percent(body.get('dense_score'))}{before}{when}",
    )


def _note(plan: Plan, effect: Effect, basis: Basis, said: WhatIf) -> str:
    if effect.share <= 0:
        return "nothing is removed: the dense score"
    loss = f"dense {percent(basis.dense_score)}: {points(said.band.score - basis.dense_score)}"
    return f"{loss}; before training" if METHODS[plan.method].trains else loss


def _record(basis: Basis, effect: Effect) -> list[str]:
    sentence = basis.record(effect.kind).sentence
    return [] if sentence is None else [sentence]


def _why_not(basis: Basis, effect: Effect, *, known: bool) -> tuple[str, ...]:
    if not known:
        return (
            "No score is estimated: what was measured belongs to the dense model without patterns. Check the plan.",
        )
    if basis.dense_score <= basis.floor + 1e-6:
        return ("No score is estimated: the dense model is no better than chance on these data.",)
    what = "layers" if effect.kind == "weights" else "groups"
    return (
        f"No score yet: measure the sensitivity of {what}, or check {PAIRS_WITHOUT_CURVES} plans; then every position "
        "of the slider has an estimate.",
    )


def _gaps(said: WhatIf) -> list[str]:
    notes = []
    beyond, missing = said.damage.beyond, said.damage.missing
    if beyond:
        shown = ", ".join(short(name, 30) for name in beyond[:3]) + (" …" if len(beyond) > 3 else "")
        notes.append(f"{len(beyond)} are pruned beyond their highest measured level ({shown}).")
    if missing:
        notes.append(f"{len(missing)} that are pruned have no measured curve; their weights alone speak for them.")
    return notes
