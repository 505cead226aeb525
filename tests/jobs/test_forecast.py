"""Forecasts rest on what was measured here; races give every method the same budget."""

from pathlib import Path
from typing import Any

import pytest

from core.analysis.machine import cpu_name
from core.errors import PlanError
from core.jobs.forecast import forecast, with_teacher
from core.jobs.racing import race_plans, racers, schedules_of
from core.methods import METHODS
from core.pruning.plan import Plan
from core.store import JobState, Store, Workspace

GRADUAL = Plan(method="gradual", method_settings={"tune": {"epochs": 6}, "prune": {"epochs": 4}})


def history_of_runs(store: Store, session_id: str, *speeds: float, **plan: Any) -> None:
    for number, speed in enumerate(speeds):
        payload = {"plan": {"method": "gradual", **plan}, "number": number}
        job = store.create_job("prune", payload, owner="me", session_id=session_id)
        store.claim_job(["prune"], owner="me")
        training = {"images_per_s": speed, "machine": cpu_name()}
        store.finish_job(job.id, JobState.DONE, result={"training": training})


@pytest.fixture
def seeded(tmp_path: Path) -> Any:
    from tests.dashboard.seeding import seed_session

    with Workspace.open(tmp_path) as workspace:
        seeded = seed_session(workspace)
        assert seeded.dense is not None
        yield workspace.store, seeded


def test_guessed_from_the_dense_evaluation_until_something_ran(seeded: Any) -> None:
    store, made = seeded
    course, data = METHODS["gradual"].course(GRADUAL), store.get_dataset(made.data_id)
    assert course is not None
    assert forecast(store, GRADUAL, course, data=data, dense=made.dense) is None, "no speed is known"
    metrics = {**made.dense.metrics, "test": {**made.dense.metrics["test"], "images_per_s": 3000.0}}
    dense = made.dense.model_copy(update={"metrics": metrics})
    said = forecast(store, GRADUAL, course, data=data, dense=dense)
    assert said is not None
    assert said.images_per_s == 1000.0
    assert "guessed" in said.origin
    counts = data.description["counts"]
    assert said.seconds == pytest.approx(10 * (counts["train"] / 1000.0 + counts["select"] / 3000.0))
    taught = GRADUAL.changed(method_settings={**GRADUAL.method_settings, "distillation": {"form": "canonical"}})
    slower = forecast(store, taught, course, data=data, dense=dense)
    assert slower is not None
    assert slower.images_per_s == 750.0


def test_earlier_runs_of_the_same_method_count_most(seeded: Any) -> None:
    store, made = seeded
    course, data = METHODS["gradual"].course(GRADUAL), store.get_dataset(made.data_id)
    history_of_runs(store, made.session.id, 50.0, method="dg2pf")
    said = forecast(store, GRADUAL, course, data=data, dense=made.dense)
    assert said is not None
    assert (said.images_per_s, "with other settings" in said.origin) == (50.0, True)
    history_of_runs(store, made.session.id, 100.0, 120.0, 900.0)
    said = forecast(store, GRADUAL, course, data=data, dense=made.dense)
    assert said is not None
    assert (said.images_per_s, "3 earlier runs" in said.origin) == (120.0, True)


def test_fewer_training_images_make_it_shorter(seeded: Any) -> None:
    store, made = seeded
    history_of_runs(store, made.session.id, 100.0)
    few = GRADUAL.changed(method_settings={**GRADUAL.method_settings, "training": {"images": 10}})
    data = store.get_dataset(made.data_id)
    said = forecast(store, few, METHODS["gradual"].course(few), data=data, dense=made.dense)
    assert said is not None
    assert said.images_per_epoch == 10


@pytest.mark.parametrize("epochs", [2, 3, 20, 101])
def test_all_racers_have_the_same_budget(epochs: int) -> None:
    base = Plan(sparsity=0.8, seed=4, method="dg2pf", method_settings={"training": {"batch_size": 64}})
    plans = race_plans(base, racers(), epochs=epochs)
    assert len(plans) == len(racers())
    for _, plan in plans:
        course = METHODS[plan.method].course(plan)
        assert course is not None
        assert (course.epochs, len(course.sparsity)) == (epochs, epochs)
        assert (plan.seed, plan.sparsity) == (4, 0.8)
        assert plan.method_settings["training"]["batch_size"] == 64


def test_schedules_race_where_a_method_follows_one() -> None:
    plans = race_plans(Plan(), ["gradual", "one_shot_fine_tune"], epochs=10, schedules=["linear", "cosine"])
    assert [name for name, _ in plans] == [
        "Gradual magnitude pruning, linear",
        "Gradual magnitude pruning, cosine",
        "One-shot + fine-tune",
    ]
    assert schedules_of("one_shot_fine_tune") == ()


def test_a_preset_does_not_undo_the_budget() -> None:
    ((_, plan),) = race_plans(Plan(method="dg2pf", method_settings={"preset": "quick"}), ["dg2pf"], epochs=8)
    course = METHODS["dg2pf"].course(plan)
    assert course is not None
    assert course.epochs == 8
    assert with_teacher(plan)


def test_impossible_races_say_why() -> None:
    with pytest.raises(PlanError, match="at least one method"):
        race_plans(Plan(), [], epochs=5)
    with pytest.raises(PlanError, match="at least 2 epochs"):
        race_plans(Plan(), ["gradual"], epochs=1)
