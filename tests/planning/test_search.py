"""The search: targets are met by what was measured, impossible ones say why, and it stops when asked."""

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from core.errors import Cancelled, PlanError
from core.planning.families import Family
from core.planning.outlook import Costs, Outlook, untrained
from core.planning.search import Search
from core.planning.settings import SearchSettings
from core.planning.trying import Tried, plan_key, refuse_training
from core.planning.whatif import Basis, Effect
from core.planning.words import sentence_of
from core.progress import Progress
from core.pruning.plan import Plan

DENSE = 0.95
TOP = 0.98


def _true(allocation: str, sparsity: float) -> float:
    """Score of a plan: “lamp” holds longer than “uniform”."""
    middle = 0.85 if allocation == "lamp" else 0.7
    return 0.1 + (DENSE - 0.1) / (1.0 + math.exp(25.0 * (sparsity - middle))) if sparsity > 0 else DENSE


def _effect(plan: Plan) -> Effect:
    return Effect("weights", True, {"a": plan.sparsity}, {"a": plan.sparsity**2}, plan.sparsity)


class FakeOutlook(Outlook):
    kind = "weights"

    def effect(self, plan: Plan) -> Effect:
        return _effect(plan)

    def costs(self, plan: Plan) -> Costs:
        # Ten per cent too low: what is predicted is not what files weigh.
        return Costs(1000, round(1000 * (1 - plan.sparsity)), 1000, round(3600 * (1 - plan.sparsity)))


class FakeTrial:
    """Measures without a network."""

    def __init__(self) -> None:
        self.dense = SimpleNamespace(score=DENSE, n=1000)
        self.tried: list[Plan] = []

    def run(self, plan: Plan, basis: Basis) -> Tried:
        self.tried.append(plan)
        said = basis.estimate(_effect(plan), n=1000, dense_score=DENSE)
        score = _true(plan.allocation, plan.sparsity)
        comparison = {"low": score - DENSE - 0.01, "high": score - DENSE + 0.01, "sentence": "as told"}
        body: dict[str, Any] = {"metric": "accuracy", "n": 1000, "score": score, "low": score, "high": score}
        body |= {"dense_score": DENSE, "difference": score - DENSE, "comparison": comparison, "latency_ms": None}
        nonzero = round(1000 * (1 - plan.sparsity))
        body |= {"parameters": 1000, "nonzero": nonzero, "macs": 1000, "bytes": 4 * nonzero}
        outcome = _effect(plan).outcome(score=score, dense_score=DENSE, n=1000, estimated=said.band if said else None)
        return Tried(plan, said.to_json() if said else None, body, outcome)


def _search(
    progress: Progress | None = None, *, allocations=("uniform", "lamp"), top: float = TOP, **asked: Any
) -> Search:
    families = [
        Family(
            name, name, lambda t, name=name: Plan(allocation=name, sparsity=round(t, 4)), top, "one weight must stay"
        )
        for name in allocations
    ]
    basis = Basis.of(
        {"layers": [{"kind": "BatchNorm2d"}], "num_classes": 10}, {"metric": "accuracy", "score": DENSE, "n": 1000}
    )
    settings = SearchSettings.parse({"goal": "smallest", **asked})
    head = {"dense": {"score": DENSE, "bytes": 4000, "nonzero": 1000, "macs": 1000, "latency_ms": None}, "test": None}
    trial: Any = FakeTrial()
    return Search(trial, basis, FakeOutlook(), families, settings, progress=progress or Progress(), head=head)


@pytest.mark.parametrize("keep", [0.5, 0.8, 0.93])
def test_the_smallest_keeps_the_target_and_is_close_to_what_is_possible(keep: float) -> None:
    search = _search(keep=keep)
    search.run()
    best = search.points.items[search.points.best or 0]
    assert best.kept
    assert best.tried.body["score"] >= keep
    assert best.tried.plan.allocation == "lamp"  # the family that holds longer wins
    possible = max(t / 1000 for t in range(980) if _true("lamp", t / 1000) >= keep)
    assert possible - best.tried.plan.sparsity <= search.settings.tolerance + 1e-3
    assert len(search.points.items) <= 20
    body = search.to_json()
    assert body["plans"][body["best"]]["kept"]
    assert set(body["front"]) <= set(range(len(body["plans"])))
    assert sentence_of(body).startswith("Smallest:")


def test_estimates_make_it_shorter() -> None:
    blind, seeing = _search(keep=0.9, allocations=("lamp",)), _search(keep=0.9, allocations=("lamp",))
    known = [
        _effect(Plan(sparsity=s)).outcome(score=_true("lamp", s), dense_score=DENSE, n=1000, estimated=None)
        for s in (0.5, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
    ]
    seeing.basis = replace(seeing.basis, outcomes=tuple(known))
    blind.run()
    seeing.run()
    assert len(seeing.points.items) <= len(blind.points.items)


def test_sure_asks_for_the_lower_end_of_the_interval() -> None:
    plain, sure = _search(keep=0.9), _search(keep=0.9, sure=True)
    plain.run()
    sure.run()
    scores = [s.points.items[s.points.best or 0].tried.body["score"] for s in (plain, sure)]
    assert scores[1] >= 0.91 > scores[0] >= 0.9


def test_a_target_above_the_dense_model_is_impossible_and_says_so() -> None:
    search = _search(keep=0.96)
    search.run()
    body = search.to_json()
    assert body["best"] is None
    assert body["plans"] == []
    said = sentence_of(body)
    assert "the dense model itself scores 95.0 %" in said
    assert "The nearest possible is the dense model" in said


def test_where_everything_keeps_the_target_the_limit_is_named() -> None:
    search = _search(keep=0.5, top=0.4)
    search.run()
    assert search.blocked_by == "one weight must stay"
    assert search.points.items[search.points.best or 0].tried.plan.sparsity == pytest.approx(0.4, abs=0.011)
    assert "It could not go further: one weight must stay" in sentence_of(search.to_json())


def test_a_search_that_runs_out_of_measurements_has_the_best_so_far() -> None:
    search = _search(keep=0.9, evaluations=2)
    search.run()
    assert len(search.points.items) == 2
    assert search.to_json()["plans"]


def test_limits_are_met_by_real_bytes_and_the_best_score_wins() -> None:
    search = _search(goal="fastest", within_bytes=1200)
    search.run()
    best = search.points.items[search.points.best or 0]
    assert best.tried.body["bytes"] <= 1200
    assert best.tried.plan.allocation == "lamp"
    assert best.tried.body["score"] == max(p.tried.body["score"] for p in search.points.items if p.kept)
    assert search.blocked_by is None


def test_a_limit_out_of_reach_gives_the_nearest_and_what_blocks() -> None:
    search = _search(goal="fastest", within_bytes=100, top=0.5)
    search.run()
    body = search.to_json()
    assert body["best"] is None
    assert body["nearest"] is not None
    assert "takes at most 100 bytes: one weight must stay" in sentence_of(body)


def test_a_front_spreads_over_little_and_much() -> None:
    search = _search(goal="front", evaluations=12)
    search.run()
    body = search.to_json()
    assert len(body["plans"]) == 12
    assert body["best"] is None
    assert len(body["front"]) >= 4
    costs = [body["plans"][number]["bytes"] for number in body["front"]]
    assert costs == sorted(costs)


class _Stopper(Progress):
    def __init__(self, after: int) -> None:
        self.after, self.partials = after, []

    def publish(self, partial):
        self.partials.append(partial)
        if len(self.partials) >= self.after:
            raise Cancelled


def test_a_cancelled_search_leaves_its_points() -> None:
    progress = _Stopper(3)
    search = _search(progress, keep=0.9)
    with pytest.raises(Cancelled):
        search.run()
    assert [len(partial["plans"]) for partial in progress.partials] == [1, 2, 3]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "say either what to keep"),
        ({"keep": 0.9, "lose": 0.1}, "not both"),
        ({"keep": 1.1}, "less than or equal to 1"),
        ({"keep": -0.1}, "greater than or equal to 0"),
        ({"goal": "fastest"}, "within how many"),
        ({"goal": "fastest", "within_bytes": 0}, "greater than or equal to 1"),
        ({"goal": "cheapest", "keep": 0.9}, "goal"),
        ({"keep": 0.9, "evaluations": 0}, "evaluations"),
        ({"keep": 0.9, "cost": "watts"}, "cost"),
        ({"keep": float("nan")}, "keep"),
    ],
)
def test_wrong_questions_are_refused_in_words(body: dict, said: str) -> None:
    with pytest.raises(PlanError, match=said):
        SearchSettings.parse(body)


def test_training_is_searched_as_it_is_before_training() -> None:
    plan = Plan(method="cpd", sparsity=0.4)
    assert untrained(plan).method == "one_shot_structured"
    assert untrained(Plan(method="gradual")).method == "one_shot"
    assert untrained(Plan(protected=("a",))) == Plan(protected=("a",))
    with pytest.raises(PlanError, match="trains"):
        refuse_training(plan)
    with pytest.raises(PlanError, match="Unknown method"):
        untrained(Plan(method="magic"))


def test_keys_know_what_plans_do() -> None:
    first = Plan(name="a", overrides={"x": 0.1, "y": 0.2}, protected=("p", "q"))
    second = Plan(name="b", overrides={"y": 0.2, "x": 0.1}, protected=("q", "p"))
    assert plan_key(first) == plan_key(second)
    assert plan_key(first) != plan_key(first.changed(sparsity=0.51))
