"""The job kinds on a real sample model and real data: what the pages and the command line rely on."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.analysis.speed_difference import SpeedDifference
from core.jobs import Runner
from core.store import JobState, Session, Variant

from ..patience import patient
from .running import DATA, MODEL, result, run

FAST = {"levels": [0.5, 0.9], "images": 60}

# PyTorch's exporters warn about themselves.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")


def scores(variant: Variant) -> dict[str, Any]:
    """The metrics without how fast they were taken."""
    return {
        split: {name: value for name, value in summary.items() if name != "images_per_s"}
        for split, summary in variant.metrics.items()
    }


@pytest.fixture(scope="module")
def variant_id(runner: Runner, session: Session) -> str:
    plan = {"sparsity": 0.8, "allocation": "lamp", "criterion": "magnitude"}
    return str(result(runner, "prune", {"plan": plan, "name": "LAMP 80"}, session)["variant_id"])


def test_open_stores_everything_that_pages_show(runner: Runner, session: Session) -> None:
    from core.analysis.evaluation import Evaluation
    from core.analysis.weights import load_weight_statistics
    from core.models.traced import TracedModel

    store, artifacts = runner.workspace.store, runner.workspace.artifacts
    (dense,) = store.variants(session.id)
    assert (dense.name, dense.plan, dense.model_id, dense.data_id) == (
        "dense",
        None,
        session.model_id,
        session.data_id,
    )
    model, data = store.get_model(dense.model_id), store.get_dataset(dense.data_id)
    loaded = TracedModel.load(artifacts.path(model.artifact))
    assert loaded.fingerprint() == model.id
    assert set(load_weight_statistics(artifacts.path(model.weights_artifact))) == set(loaded.prunable())
    assert [layer["name"] for layer in dense.layers] == list(loaded.prunable())
    assert all(layer["removed"] == 0 for layer in dense.layers)
    assert data.description["num_classes"] == 10
    for split in ("select", "test"):
        metrics = dense.metrics[split]
        assert metrics["low"] <= metrics["score"] <= metrics["high"]
        assert metrics["score"] > 0.5
        assert metrics["images_per_s"] > 1.0
    assert dense.evaluation_artifact is not None
    assert Evaluation.load(artifacts.path(dense.evaluation_artifact)).n == dense.metrics["test"]["n"]
    assert dense.sizes["parameters"] >= dense.sizes["nonzero"] > 0
    assert dense.sizes["macs"] == model.description["macs"]


def test_opening_the_same_again_changes_nothing(runner: Runner, session: Session) -> None:
    again = result(runner, "open", {"model": MODEL, "data": DATA}, session)
    (dense,) = [v for v in runner.workspace.store.variants(session.id) if v.plan is None]
    assert again["dense_variant_id"] == dense.id
    assert again["model_id"] == session.model_id


def test_model_and_data_may_come_one_after_the_other(runner: Runner, session: Session) -> None:
    store = runner.workspace.store
    other = store.create_session("in two steps")
    assert result(runner, "open", {"model": MODEL, "data": None}, other)["dense_variant_id"] is None
    both = result(runner, "open", {"model": None, "data": DATA}, other)
    assert both["model_id"] == session.model_id
    assert both["data_id"] == session.data_id
    assert scores(store.get_variant(both["dense_variant_id"])) == scores(store.variants(session.id)[0])


def test_data_first_then_the_model(runner: Runner, session: Session) -> None:
    other = runner.workspace.store.create_session("data first")
    assert result(runner, "open", {"model": None, "data": DATA}, other)["dense_variant_id"] is None
    assert result(runner, "open", {"model": MODEL, "data": None}, other)["data_id"] == session.data_id


@pytest.mark.row("B36")
@pytest.mark.parametrize(
    ("payload", "sentence"),
    [
        ({"model": {**MODEL, "name": "nonsense"}, "data": DATA}, "nonsense"),
        ({"model": MODEL, "data": {"source": "nonsense"}}, "Unknown data source"),
        ({"model": {"source": "sample"}, "data": DATA}, "“name”"),
        ({"model": MODEL, "data": {"source": "scenes", "limit": 20}}, "same task"),
        (
            {"model": {"source": "cifar", "name": "resnet20", "weights": "random", "num_classes": 7}, "data": DATA},
            "tells 7 classes apart, the data have 10",
        ),
        ({"model": None, "data": None}, "Choose a model or data"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(runner: Runner, payload: dict[str, Any], sentence: str) -> None:
    store = runner.workspace.store
    session = store.create_session("refused")
    job = run(runner, "open", payload, session)
    assert job.state is JobState.FAILED
    assert sentence in (job.error or "")
    assert "Unexpected" not in (job.error or "")
    assert store.variants(session.id) == []


def test_a_session_keeps_to_one_model(runner: Runner, session: Session) -> None:
    job = run(runner, "open", {"model": {**MODEL, "weights": "random"}, "data": None}, session)
    assert job.state is JobState.FAILED
    assert "new session" in (job.error or "")
    assert runner.workspace.store.get_session(session.id).model_id == session.model_id


@pytest.mark.row("B38")
def test_random_weights_come_with_a_note_that_accuracy_is_at_chance(runner: Runner) -> None:
    other = runner.workspace.store.create_session("random")
    random = {"source": "cifar", "name": "resnet20", "weights": "random"}
    notes = result(runner, "open", {"model": random, "data": DATA}, other)["notes"]
    assert any("chance" in sentence for sentence in notes)
    # Grey 32×32 images into an RGB network: said, not silent.
    assert any("repeated to three channels" in sentence for sentence in notes)


def test_a_model_that_knows_the_selection_images_is_said_to(runner: Runner, shared_data: Path) -> None:
    """The published CIFAR weights were trained on what is the selection split here."""
    other = runner.workspace.store.create_session("familiar")
    weights = shared_data / "checkpoints" / "resnet20-12fca82f.th"
    model = {"source": "cifar", "name": "resnet20", "checkpoint": str(weights)}
    data = {"source": "cifar10", "root": str(shared_data / "cifar10-mini"), "limit": 400}
    notes = result(runner, "open", {"model": model, "data": data}, other)["notes"]
    assert any("knows the selection images" in sentence for sentence in notes)


@pytest.mark.row("B48")
def test_prune_makes_an_exact_variant_with_lineage(runner: Runner, session: Session, variant_id: str) -> None:
    from core.models.traced import TracedModel

    store = runner.workspace.store
    variant = store.get_variant(variant_id)
    dense = store.variants(session.id)[0]
    assert (variant.parent_id, variant.model_id, variant.name) == (dense.id, dense.model_id, "LAMP 80")
    assert variant.plan is not None
    assert variant.plan["sparsity"] == 0.8
    size, removed = (sum(layer[key] for layer in variant.layers) for key in ("size", "removed"))
    assert removed == round(0.8 * size)
    pruned = TracedModel.load(runner.workspace.artifacts.path(variant.artifact))
    zeros = sum(int((module.get_parameter("weight") == 0).sum()) for module in pruned.prunable().values())
    assert zeros == removed
    assert variant.sizes["nonzero"] < dense.sizes["nonzero"]
    assert variant.sizes["sparse_bytes"] < dense.sizes["sparse_bytes"]
    # The dense model that jobs share in memory was not touched.
    again = TracedModel.load(runner.workspace.artifacts.path(dense.artifact))
    assert again.fingerprint() == dense.model_id


def test_the_same_plan_gives_the_same_variant(runner: Runner, session: Session, variant_id: str) -> None:
    store = runner.workspace.store
    first = store.get_variant(variant_id)
    assert first.plan is not None
    second = store.get_variant(result(runner, "prune", {"plan": first.plan, "name": "again"}, session)["variant_id"])
    assert second.artifact == first.artifact
    assert scores(second) == scores(first)


def test_an_impossible_plan_fails_in_words(runner: Runner, session: Session) -> None:
    for plan, word in (({"protected": ["nonsense"]}, "nonsense"), ({"sparsity": 1.5}, "sparsity")):
        job = run(runner, "prune", {"plan": plan}, session)
        assert job.state is JobState.FAILED
        assert word in (job.error or "")
        assert "Unexpected" not in (job.error or "")


def test_a_refused_upload_is_called_by_its_own_name(runner: Runner) -> None:
    artifacts = runner.workspace.artifacts
    stored = artifacts.path(artifacts.put_bytes(b"\x89PNG\r\n\x1a\n" + bytes(64), ".pt"))
    model = {**MODEL, "weights": "checkpoint", "checkpoint": str(stored)}
    payload = {"model": model, "data": DATA, "upload": "my résumé.pt"}
    job = run(runner, "open", payload, runner.workspace.store.create_session("bad upload"))
    assert job.state is JobState.FAILED
    assert "“my résumé.pt”" in (job.error or "")
    assert stored.name not in (job.error or "")


def test_jobs_need_an_opened_session(runner: Runner) -> None:
    empty = runner.workspace.store.create_session("empty")
    for kind, payload in (("sensitivity", {}), ("prune", {"plan": {}}), ("layer_times", {})):
        job = run(runner, kind, payload, empty)
        assert job.state is JobState.FAILED
        assert "Open a model and data" in (job.error or "")


def settled_cells(found: dict[str, Any]) -> dict[tuple[str, float], Any]:
    """Layer and level → loss, of the cells that see no more images."""
    return {
        (name, point["sparsity"]): point["loss"]
        for name, points in found["layers"].items()
        for point in points
        if point["settled"]
    }


def test_sensitivity_is_cancelled_continued_and_then_cached(runner: Runner, session: Session) -> None:
    store = runner.workspace.store
    job = runner.submit("sensitivity", {"settings": FAST}, session_id=session.id)
    deadline = time.monotonic() + 120
    while not (store.partial(job.id) or {}).get("layers") and time.monotonic() < deadline:
        time.sleep(0.01)
    runner.cancel(job.id)
    ended = runner.wait(job.id, timeout_s=60)
    assert ended.state in (JobState.CANCELLED, JobState.DONE)
    assert session.model_id is not None
    assert session.data_id is not None
    (kept,) = store.sensitivities(session.model_id, session.data_id)
    assert kept.result["layers"]
    done_before = settled_cells(kept.result)
    finished = store.get_sensitivity(result(runner, "sensitivity", {"settings": FAST}, session)["sensitivity_id"])
    assert finished.id == kept.id
    assert finished.complete
    assert done_before.items() <= settled_cells(finished.result).items()
    started = time.monotonic()
    assert result(runner, "sensitivity", {"settings": FAST}, session)["sensitivity_id"] == finished.id
    assert time.monotonic() - started < patient(1)
    # It serves the allocation of that name.
    made = result(runner, "prune", {"plan": {"allocation": "sensitivity", "sparsity": 0.5}}, session)
    assert store.get_variant(made["variant_id"]).plan is not None


def test_measure_names_variants_by_id_and_includes_dense(runner: Runner, session: Session, variant_id: str) -> None:
    store = runner.workspace.store
    settings = {"runtimes": ["onnxruntime"], "pairs": 6, "warmup": 1}
    made = result(runner, "measure", {"variant_ids": [variant_id], "settings": settings}, session)
    found = [store.get_measurement(item) for item in made["measurement_ids"]]
    dense = store.variants(session.id)[0]
    assert {item.variant_id for item in found} == {dense.id, variant_id}
    for item in found:
        assert [row["variant"] for row in item.result["rows"]] == [item.variant_id]
        assert item.result["rows"][0]["median_ms"] > 0
    assert store.measurements(variant_id, "latency")


def test_layer_times_are_shares(runner: Runner, session: Session) -> None:
    made = result(runner, "layer_times", {}, session)
    shares = runner.workspace.store.get_measurement(made["measurement_id"]).result["shares"]
    assert sum(shares.values()) == pytest.approx(1.0)


def test_why_a_variant_is_faster_is_kept_with_it(runner: Runner, session: Session, variant_id: str) -> None:
    store = runner.workspace.store
    dense = store.variants(session.id)[0]
    made = result(runner, "speed_difference", {"before": dense.id, "after": dense.id}, session)
    found = store.get_measurement(made["measurement_id"])
    assert found.context["before"] == found.variant_id == dense.id
    assert SpeedDifference.from_json(found.result).verdict == "the same"
    other = store.create_session("other")
    elsewhere = store.add_variant(**{**dense.model_dump(exclude={"id", "created"}), "session_id": other.id})
    job = run(runner, "speed_difference", {"before": variant_id, "after": elsewhere.id}, session)
    assert job.state is JobState.FAILED
    assert "same session" in (job.error or "")


def test_export_runs_in_onnx_runtime_and_carries_its_lineage(runner: Runner, session: Session, variant_id: str) -> None:
    import onnxruntime

    from core.export.onnx_file import read_metadata

    workspace = runner.workspace
    workspace.store.rename_variant(variant_id, "../ä b/c")
    made = result(runner, "export", {"variant_id": variant_id, "settings": {"images": 10}}, session)
    assert made["passed"] is True
    assert made["filename"] == "b-c.onnx"
    path = workspace.artifacts.path(made["artifact"])
    network = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (answer,) = network.run(None, {network.get_inputs()[0].name: np.zeros((3, 1, 32, 32), np.float32)})
    assert answer.shape == (3, 10)
    assert variant_id in str(read_metadata(path))
    measurement = workspace.store.get_measurement(made["measurement_id"])
    assert measurement.result["artifact"] == made["artifact"]
    assert "path" not in measurement.result


def test_data_that_changed_are_noticed(runner: Runner, session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    from core.errors import DataError
    from core.jobs import loading

    assert session.data_id is not None
    row = runner.workspace.store.get_dataset(session.data_id)
    monkeypatch.setattr(loading, "_data", loading._Recent())
    changed = row.model_copy(update={"spec": {**row.spec, "seed": 5, "limit": 100}})
    with pytest.raises(DataError, match="have changed"):
        loading.load_data(changed)
    assert loading.load_data(row).fingerprint == row.id
