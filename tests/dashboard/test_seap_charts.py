"""Pictures of gates, from histories as SEAP writes them."""

import pytest

from core.store.records import JobState
from dashboard.components.seap_charts import gate_figures, gates_figure, has_gates, keep_figure
from tests.dashboard.conftest import charts_of
from tests.dashboard.seeding import seed_session
from tests.dashboard.training_seed import seed_training, training_history

UNITS = {"stem": 4, "<b>wide</b>": 2}


def history(epochs=4, removal=3):
    rows = []
    for epoch in range(1, epochs + 1):
        row = {
            "epoch": epoch,
            "keep": {"stem": 1 - 0.25 * min(epoch, 3), "<b>wide</b>": 0.5},
            "groups": {"stem": 4 - min(epoch, 3), "<b>wide</b>": 1},
            "closed": 1 + min(epoch, 3),
            "reopened": epoch if epoch < removal else 0,
            "moment": "ramp" if epoch < removal else "removed",
        }
        if epoch < removal:
            row["gates"] = {"stem": [0.5, 0.9, 1.1, 1.5], "<b>wide</b>": [0.2, 1.8]}
            row["open"] = {"stem": "0011", "<b>wide</b>": "01"}
            row["threshold"], row["softness"] = 0.9 + epoch / 100, 0.1
        if epoch == removal:
            row["removal"] = {"step": 9, "units": 4}
        rows.append(row)
    return {"kind": "training", "stages": [{"name": "Pruning", "epochs": 6, "first_epoch": 1}], "epochs": rows}


def traces(shown):
    return {trace.name: trace for trace in shown.data}


def test_gates_lie_beside_their_group_with_the_threshold():
    shown = gates_figure(history())
    found = traces(shown)
    assert sorted(found["open"].x) == [1.1, 1.5, 1.8]
    assert sorted(found["closed"].x) == [0.2, 0.5, 0.9]
    assert all(abs(y - round(y)) <= 0.301 for trace in shown.data for y in trace.y)
    assert [shape.x0 for shape in shown.layout.shapes] == [0.91, 0.92]
    assert "<b>wide</b>" not in "".join(found["open"].customdata)
    assert gates_figure(history(), epoch=1).layout.shapes[-1].x0 == 0.91


def test_keep_rates_emerge_and_the_removal_is_marked():
    shown = keep_figure(history())
    found = traces(shown)
    assert list(found["stem"].y) == [0.75, 0.5, 0.25, 0.25]
    assert list(found["came back"].y) == [1, 2, 0, 0]
    assert list(found["all units"].y) == pytest.approx([4 / 6, 3 / 6, 2 / 6, 2 / 6])
    assert shown.layout.shapes[0].x0 == 3
    assert any("4 units removed" in note.text for note in shown.layout.annotations)


def test_only_runs_with_gates_have_pictures():
    assert len(gate_figures(history())) == 2
    assert len(gate_figures(history(epochs=1), window=(1, 2))) == 2
    for other in ({}, {"epochs": []}, {"epochs": [{"epoch": 1, "sparsity": 0.1}]}):
        assert not has_gates(other)
        assert gate_figures(other) == ()


def test_the_page_shows_them_while_they_learn(served, open_page):
    session = seed_session(served).session
    body = training_history(4, running=True)
    for row, gates in zip(body["epochs"], history()["epochs"], strict=True):
        row |= gates
    seed_training(served, session, JobState.RUNNING, body)
    page = open_page("runs", session=session.id)
    shown = list(charts_of(page).values())
    assert len(shown) == 5, "score, loss, gates, what stays of every group, layers"
    assert {trace["name"] for trace in shown[2]["data"]} == {"open", "closed"}
    assert shown[3]["data"][-1]["name"] == "came back"
