"""What a run cut, when and why: from histories as CPD and its control write them."""

import pytest

from core.store.records import JobState
from dashboard.components.cut_charts import left_figure
from dashboard.components.cut_data import costs_of, cuts_of, has_cuts, reason_words, shares, summary_words, whole_units
from dashboard.components.runs_cuts import cut_rows
from tests.dashboard.conftest import charts_of, text_of
from tests.dashboard.seeding import seed_session
from tests.dashboard.training_seed import seed_training, training_history

GROUPS = {"stem": 16, "<b>wide</b>": 64}


def cut(step, group, units, left, cost=1.0, spared=0.5):
    return {"step": step, "group": group, "units": units, "left": left, "score": cost, "cost": cost, "spared": spared}


def history(epochs=4, *, unit="macs", running=False):
    body = training_history(epochs, stages=(("Pruning while training", 3), ("Fine-tuning", 3)), running=running)
    body["unit"] = unit
    made = [
        [cut(10, "<b>wide</b>", 8, 56, 0.2), cut(20, "<b>wide</b>", 16, 40, 0.6), cut(20, "stem", 4, 12, 0.3, None)],
        [cut(30, "<b>wide</b>", 8, 32, float("inf"))],
    ]
    left = dict(GROUPS)
    for row in body["epochs"]:
        row["cuts"] = made[row["epoch"] - 1] if row["epoch"] <= len(made) else []
        for item in row["cuts"]:
            left[item["group"]] = item["left"]
        row |= {"groups": dict(left), "parameters": 900 * sum(left.values()), "macs": 10_000 * sum(left.values())}
        row |= {"sparsity": 1 - sum(left.values()) / 80, "milliseconds": 0.01 * sum(left.values())}
    return body


def test_the_units_before_training_follow_from_the_first_epoch():
    assert whole_units(history()) == GROUPS
    assert has_cuts(history(1))
    names, epochs, matrix = shares(history())
    assert (names, epochs) == (list(GROUPS), [0, 1, 2, 3, 4])
    assert matrix == [[1.0, 0.75, 0.75, 0.75, 0.75], [1.0, 0.625, 0.5, 0.5, 0.5]]


def test_cuts_are_told_beside_the_cheapest_that_stayed():
    found = cuts_of(history())
    assert [(item.step, item.group, item.relative) for item in found] == [
        (10, "<b>wide</b>", pytest.approx(0.4)),
        (20, "<b>wide</b>", pytest.approx(1.2)),
        (20, "stem", None),
        (30, "<b>wide</b>", None),
    ]
    assert [row["step"] for row in cut_rows(found)] == [30, 20, 20, 10]
    assert cut_rows(found)[0]["left"] == "32 of 64"
    assert "36 of 80 units went in 3 removals, from 2 of 2 groups; <b>wide</b> gave most (32 of 64)" in summary_words(
        history()
    )


def test_milliseconds_before_are_known_where_they_are_the_budget():
    assert costs_of(history())["milliseconds"] == (None, pytest.approx(0.44))
    assert costs_of(history(unit="ms"))["milliseconds"] == (pytest.approx(0.8), pytest.approx(0.44))


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (
            {"method": "cpd"},
            "Every 10 steps the units went that cost the least importance per saved MAC (",
        ),
        ({"method": "cpd", "method_settings": {"interval": 1, "cost": "none", "criterion": "bn_scale"}}, "After every"),
        ({"method": "one_shot_structured_fine_tune", "criterion": "random"}, "before the first step"),
        ({"method": "nonsense"}, ""),
        ({"method": "cpd", "method_settings": {"interval": -1}}, ""),
    ],
)
def test_the_reason_in_words(plan, words):
    assert words in reason_words(plan)
    assert bool(words) == bool(reason_words(plan))


def test_the_picture_has_a_row_per_group_and_begins_before_training():
    shown = left_figure(history(), dark=False)
    assert shown is not None
    assert list(shown.data[0].x) == [0, 1, 2, 3, 4]
    assert shown.layout.yaxis.ticktext[0] == "stem · 12/16"
    assert "<b>wide</b><br>" not in "".join(shown.data[0].text[1])
    assert shown.layout.shapes[0].x0 == 3.5
    windowed = left_figure(history(), dark=True, window=(2, 3))
    assert windowed is not None
    assert list(windowed.data[0].x) == [2, 3]
    wide = left_figure(history() | {"stages": [{"name": "a", "epochs": 300, "first_epoch": 1}]}, dark=True)
    assert wide is not None
    assert wide.layout.xaxis.range[1] < 50


def test_other_runs_have_no_picture():
    for other in ({}, training_history(3), {"epochs": [{"epoch": 1, "groups": {"a": 2}}]}):
        assert left_figure(other, dark=False) is None
        assert (whole_units(other) or {"a": 2}, cuts_of(other), summary_words(other)) == ({"a": 2}, [], "")


@pytest.mark.parametrize("epochs", [0, 1, 4])
def test_the_page_shows_them_while_it_prunes(served, open_page, epochs):
    session = seed_session(served).session
    seed_training(served, session, JobState.RUNNING, history(epochs, running=True), method="cpd")
    page = open_page("runs", session=session.id)
    drawn = [chart["data"][0]["type"] for chart in charts_of(page).values()]
    assert drawn.count("heatmap") == (2 if epochs else 0), "groups, and layers"
    if epochs:
        text = text_of(page)
        for words in ("least importance per saved MAC", "What was cut when, and why", "Parameters", "before:"):
            assert words in text


def test_a_finished_run_of_a_deleted_session_model_still_says_what_it_knows(served, open_page):
    session = seed_session(served).session
    job = seed_training(served, session, JobState.DONE, history(4), method="cpd")
    page = open_page("runs", session=session.id)
    page.toggle(key=f"run-curves-{job.id}").set_value(True).run()
    assert not page.exception
    assert "from 2 of 2 groups" in text_of(page)
