"""Plans whose method trains: the course before the run, the forecast, teachers, and races."""

from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from core.methods import METHODS, Course
from core.pruning.plan import Plan
from core.store import Workspace
from dashboard.components.course import course_figure, course_of, teachers
from tests.dashboard.conftest import OpenPage, charts_of, text_of
from tests.dashboard.seeding import Seeded, seed_session
from tests.dashboard.training_seed import TRAINING_METHODS


def with_draft(served: Workspace, seeded: Seeded, **plan: Any) -> None:
    served.store.save_draft(
        seeded.session.id, Plan(**plan).to_json(), revision=served.store.get_session(seeded.session.id).revision
    )


def has_course(page: AppTest) -> bool:
    return "Course of the run" in [item.value for item in page.header]


@pytest.mark.parametrize("method", TRAINING_METHODS)
def test_every_method_that_trains_draws_its_course(method: str) -> None:
    plan = Plan(method=method, sparsity=0.87)
    course = course_of(plan)
    assert course is not None
    shown = course_figure(course, plan.sparsity)
    end = shown.data[-1]
    assert end.x[0] == course.epochs
    assert end.y[0] == (0.87 if METHODS[method].removes != "nothing" else 0.0)


def test_the_line_of_a_very_long_run_is_thinned_out_and_steps_where_the_run_steps() -> None:
    steps = Course(sparsity=(0.1,) * 5000 + (0.5,) * 5000, stages=(("Train", 10_000),))
    line = course_figure(steps, 0.5).data[0]
    assert list(zip(line.x, line.y, strict=True)) == [(0, 0.0), (5000, 0.1), (10_000, 0.5)]
    slope = Course(sparsity=tuple(epoch / 20_000 for epoch in range(10_000)), stages=(("Train", 10_000),))
    line = course_figure(slope, 0.5).data[0]
    assert 100 < len(line.x) < 500
    assert (line.x[0], line.x[-1], line.y[-1]) == (0, 10_000, slope.sparsity[-1])


def test_one_shot_has_none(served: Workspace, open_page: OpenPage) -> None:
    assert course_of(Plan()) is None
    assert course_of(Plan(method="dg2pf", method_settings={"schedule": "nonsense"})) is None
    assert not has_course(open_page("plan", session=seed_session(served).session.id))


def test_the_page_draws_course_epochs_and_forecast(served: Workspace, open_page: OpenPage) -> None:
    seeded = seed_session(served)
    with_draft(served, seeded, method="gradual", sparsity=0.9)
    page = open_page("plan", session=seeded.session.id)
    assert has_course(page)
    text = text_of(page)
    assert "20 gradual pruning + 20 fine-tuning" in text
    assert "no speed was measured" in text
    spec = charts_of(page)["plan-course"]
    assert spec["data"][-1]["y"][-1] == 0.9
    assert {"Training", "Distillation", "Gradual pruning", "Fine-tuning"} <= {item.label for item in page.expander}


def test_other_variants_on_the_same_data_may_teach(served: Workspace, open_page: OpenPage) -> None:
    seeded = seed_session(served)
    assert seeded.dense is not None
    found = teachers(seeded.session)
    assert found[f"artifact:{seeded.dense.artifact}"] == "dense"
    assert "LAMP 60 %" in found.values()
    with_draft(served, seeded, method="dg2pf")
    page = open_page("plan", session=seeded.session.id)
    menu = next(item for item in page.selectbox if item.label == "Folder of the teacher")
    assert "dense" in menu.options


def test_a_setting_is_saved_in_the_draft(served: Workspace, open_page: OpenPage) -> None:
    seeded = seed_session(served)
    with_draft(served, seeded, method="gradual", sparsity=0.9)
    page = open_page("plan", session=seeded.session.id)
    field = next(item for item in page.number_input if (item.key or "").endswith("gradual-tune-epochs"))
    field.set_value(3).run()
    draft = served.store.get_session(seeded.session.id).draft_plan
    assert draft["method_settings"]["tune"]["epochs"] == 3
    assert "20 gradual pruning + 3 fine-tuning" in text_of(page)


def test_a_race_queues_one_run_each(served: Workspace, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch) -> None:
    seeded = seed_session(served)
    with_draft(served, seeded, method="gradual", sparsity=0.9)
    page = open_page("plan", session=seeded.session.id)
    page.multiselect(key="plan-race-methods").set_value(["gradual", "one_shot_fine_tune"])
    page.number_input(key="plan-race-epochs").set_value(8).run()
    assert "2 runs to 90 %" in text_of(page)
    page.button(key="plan-race-run").click().run()
    jobs = served.store.jobs(seeded.session.id)
    assert len(jobs) == 2
    assert len({job.payload["race"] for job in jobs}) == 1
    for job in jobs:
        plan = Plan.parse(job.payload["plan"])
        course = METHODS[plan.method].course(plan)
        assert course is not None
        assert (course.epochs, plan.sparsity) == (8, 0.9)


def test_a_control_that_removes_nothing_promises_nothing(served: Workspace, open_page: OpenPage) -> None:
    seeded = seed_session(served)
    with_draft(served, seeded, method="dense_trained", sparsity=0.9)
    text = text_of(open_page("plan", session=seeded.session.id))
    assert "Nothing is removed by this method" in text
    assert "0.0 % of the prunable weights go" in text
