"""Predicted beside measured latency on the Compare page."""

import dataclasses

import pytest

from core.store.records import JobState
from dashboard.components.compare_data import LatencyRow, rows_of
from dashboard.components.compare_predicted import Prediction, predicted_of, predicted_rows
from tests.dashboard.conftest import text_of
from tests.dashboard.seeding import seed_job, seed_measurements, seed_session
from tests.dashboard.test_cuts import history


def variant_of(workspace, seeded, **job):
    made = seed_job(workspace, seeded.session, "prune", JobState.DONE, **job)
    old = seeded.variants[0]
    fields = {
        name: getattr(old, name) for name in ("session_id", "model_id", "data_id", "parent_id", "plan", "artifact")
    }
    return workspace.store.add_variant(**fields, name="by latency", job_id=made.id, metrics=old.metrics)


def test_a_run_says_what_it_predicted_of_its_result(served):
    seeded = seed_session(served)
    at_once = variant_of(served, seeded, result={"latency": {"predicted_ms": 0.6, "dense_ms": 1.0, "threads": 1}})
    assert predicted_of(at_once) == Prediction(0.6, 1.0, 1)
    body = history(4, unit="ms") | {"restored_epoch": 1}
    trained = variant_of(served, seeded, partial=body, payload={"plan": {"method": "cpd"}}, result={})
    found = predicted_of(trained)
    assert found is not None
    assert found.milliseconds == pytest.approx(0.52)
    assert found.dense_ms == pytest.approx(0.8)
    for other in (seeded.variants[0], variant_of(served, seeded, result={"notes": []})):
        assert predicted_of(other) is None
    gone = at_once.model_copy(update={"job_id": "gone"})
    assert predicted_of(gone) is None


def test_rows_hold_both_and_say_what_is_missing(served):
    seeded = seed_session(served)
    rows = rows_of(served.store.variants(seeded.session.id), {}, macs=1)
    missing = predicted_rows([(rows[1], Prediction(0.5, 1.0))], rows)[0]
    assert missing["measured"] == "not yet: measure below"
    assert missing["predicted speed-up"] == "2.00×"
    latency = LatencyRow("v", "onnxruntime", 1, 1, 0.4, 0.39, 0.42, 2.4, 2.3, 2.5, 30, "faster", False, False)
    measured = dataclasses.replace(rows[1], latency=(latency,))
    both = predicted_rows([(measured, Prediction(0.5, 1.0))], rows)[0]
    assert both["prediction is"] == "25 % too high"
    assert both["measured speed-up"] == "2.40× [2.30–2.50]"
    assert predicted_rows([(measured, Prediction(0.4, None))], rows)[0]["prediction is"] == "right"


def test_the_page_shows_the_table_where_there_is_a_prediction(served, open_page):
    seeded = seed_session(served)
    seed_measurements(served, seeded)
    assert "Predicted and measured" not in text_of(open_page("compare", session=seeded.session.id))
    variant_of(served, seeded, result={"latency": {"predicted_ms": 0.6, "dense_ms": 1.0, "threads": 1}})
    page = open_page("compare", session=seeded.session.id)
    assert "Predicted and measured" in text_of(page)
    assert any("prediction is" in frame.value.columns for frame in page.dataframe)
