"""Searches and checks as jobs: points as they come, stopped and continued, and what estimates learn from them."""

from pathlib import Path

import pytest

from core.jobs import Runner
from core.jobs.knowledge import basis_of, latency_profile_of, outcomes_of, tried_before
from core.jobs.lineage import start_of
from core.planning.whatif import effect_of_rows
from core.pruning.plan import Plan
from core.store import JobState, Session

from .running import result, run

SEARCH = {"goal": "smallest", "lose": 0.1, "images": 60, "evaluations": 5, "tolerance": 0.1}


def _dense(runner: Runner, session: Session):
    return next(item for item in runner.workspace.store.variants(session.id) if item.plan is None)


def test_a_search_measures_what_it_needs_keeps_what_it_found_and_is_not_done_twice(runner, session) -> None:
    store = runner.workspace.store
    found = result(runner, "search", {"plan": Plan().to_json(), "settings": SEARCH}, session)
    assert any("Sensitivity had not been measured" in note for note in found["notes"])
    assert store.sensitivities(session.model_id, session.data_id)[-1].complete  # as if it had been asked for
    assert 1 <= len(found["plans"]) <= 5
    best = found["plans"][found["best"]]
    assert best["kept"]
    assert best["measured"]["score"] >= found["dense"]["score"] - 0.1 - 1e-9
    assert best["bytes"] == min(p["bytes"] for p in found["plans"] if p["kept"])
    assert set(best) >= {"plan", "estimated", "measured", "macs", "bytes", "latency_ms", "kept"}
    assert found["test"]["n"] > 0
    assert "test split, looked at once" in found["sentence"]

    known = outcomes_of(store, session.model_id, session.data_id)
    assert len(known) == len({str(sorted(item.sparsities.items())) for item in known}) >= 1
    again = result(runner, "search", {"plan": Plan().to_json(), "settings": {**SEARCH, "seed": 1}}, session)
    first = {str(body["plan"]) for body in found["plans"]}
    assert str(again["plans"][0]["plan"]) not in first or again["plans"][0]["outcome"] == found["plans"][0]["outcome"]
    assert tried_before(store, session.model_id, session.data_id)


def test_a_check_says_what_was_expected_and_the_record_counts_it(runner, session) -> None:
    store = runner.workspace.store
    plan = Plan(sparsity=0.6)
    checked = result(runner, "check", {"plan": plan.to_json(), "images": 60}, session)
    assert checked["estimated"]["low"] <= checked["estimated"]["score"] <= checked["estimated"]["high"]
    dense, data = _dense(runner, session), store.get_dataset(session.data_id)
    basis = basis_of(store, store.get_model(session.model_id), data, dense, criterion="magnitude")
    assert basis is not None
    assert basis.record("weights").count >= 1
    assert "point" in str(basis.record("weights").sentence)
    assert latency_profile_of(store, session.model_id) is None


def test_a_run_teaches_the_estimates_too(runner, session) -> None:
    store = runner.workspace.store
    before = len(outcomes_of(store, session.model_id, session.data_id))
    made = result(runner, "prune", {"plan": Plan(sparsity=0.35).to_json(), "name": "a third"}, session)
    variant = store.get_variant(made["variant_id"])
    assert made["outcome"]["score"] == variant.metrics["select"]["score"]
    assert made["outcome"]["sparsities"] == effect_of_rows(Plan(sparsity=0.35), variant.layers).sparsities
    assert len(outcomes_of(store, session.model_id, session.data_id)) == before + 1
    # a plan that starts from a variant is measured, but estimates know nothing of it
    plan = Plan(sparsity=0.5, start=variant.id)
    assert start_of(store, plan, _dense(runner, session)).id == variant.id
    checked = result(runner, "check", {"plan": plan.to_json(), "images": 60}, session)
    assert checked["estimated"] is None
    assert checked["outcome"] is None


def test_what_cannot_be_searched_is_one_sentence(runner, session) -> None:
    for plan, settings, said in (
        ({}, {"goal": "smallest"}, "say either what to keep or what may be lost"),
        ({}, {"goal": "fastest"}, "within how many milliseconds"),
        ({}, {**SEARCH, "cost": "macs"}, "Zeros do not make dense kernels faster"),
        ({"method": "nonsense"}, SEARCH, "Unknown method “nonsense”"),
        ({"overrides": {"no.such": 0.5}}, SEARCH, "no.such"),
    ):
        job = run(runner, "search", {"plan": plan, "settings": settings}, session)
        assert job.state is JobState.FAILED
        assert said in (job.error or ""), job.error


@pytest.mark.slow
def test_times_of_layers_become_a_profile(runner, session, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("ESPALIER_CACHE", str(tmp_path))
    made = result(runner, "latency_profile", {}, session)
    profile = latency_profile_of(runner.workspace.store, session.model_id)
    assert profile is not None
    assert profile.to_json() == made["latency_profile"]
    assert profile.here
