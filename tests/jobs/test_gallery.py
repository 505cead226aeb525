"""Images whose prediction changed, kept by a job: flips of digits, masks of scenes, and what cannot be shown."""

import dataclasses

import numpy as np
import pytest

from core.analysis.evaluation import Evaluation
from core.analysis.gallery import Gallery, flipped
from core.errors import MeasurementError
from core.jobs import Runner
from core.store import JobState, Session

from .running import opened, result, run


@pytest.fixture(scope="module")
def digits(runner: Runner) -> Session:
    return opened(runner, data={"source": "digits", "limit": 80})


@pytest.fixture(scope="module")
def scenes(runner: Runner) -> Session:
    scenes = {"source": "scenes", "limit": 6}
    return opened(runner, model={"source": "sample", "name": "scenes_fcn"}, data=scenes)


def pruned(runner: Runner, session: Session, sparsity: float) -> str:
    plan = {"sparsity": sparsity, "allocation": "global", "criterion": "magnitude"}
    return str(result(runner, "prune", {"plan": plan, "name": f"{sparsity:.0%}"}, session)["variant_id"])


@pytest.fixture(scope="module")
def worse(runner: Runner, digits: Session) -> str:
    return pruned(runner, digits, 0.93)


def gallery_of(runner: Runner, variant_id: str) -> Gallery:
    newest = runner.workspace.store.measurements(variant_id, "gallery")[-1]
    return Gallery.load(runner.workspace.artifacts.path(newest.result["artifact"]))


def evaluation_of(runner: Runner, variant_id: str) -> Evaluation:
    variant = runner.workspace.store.get_variant(variant_id)
    return Evaluation.load(runner.workspace.artifacts.path(variant.evaluation_artifact or ""))


def test_flips_are_those_of_the_evaluations(runner: Runner, digits: Session, worse: str) -> None:
    made = result(runner, "gallery", {"variant_id": worse, "images": 5}, digits)
    shown = gallery_of(runner, worse)
    dense = evaluation_of(runner, runner.workspace.store.variants(digits.id)[0].id)
    variant = evaluation_of(runner, worse)
    assert dense.predictions is not None
    assert variant.predictions is not None
    assert made["changed"] == int((dense.predictions != variant.predictions).sum()) > 5
    assert (made["n"], made["shown"], len(shown)) == (80, 5, 5)
    assert shown.images.shape == (5, 32, 32, 1)
    where = [int(np.flatnonzero(dense.indices == index)[0]) for index in shown.indices]
    for name, values in (("truth", dense.targets), ("dense", dense.predictions), ("pruned", variant.predictions)):
        assert values is not None
        assert getattr(shown, name).tolist() == values[where].tolist()
    assert len(set(shown.truth.tolist())) == 5, "classes take turns"
    assert shown.pruned_value == pytest.approx(variant.confidence[where])


def test_nothing_changed_is_a_gallery_without_images(runner: Runner, digits: Session) -> None:
    same = pruned(runner, digits, 0.0)
    assert result(runner, "gallery", {"variant_id": same}, digits)["changed"] == 0
    assert len(gallery_of(runner, same)) == 0


def test_masks_of_the_images_that_changed_most(runner: Runner, scenes: Session) -> None:
    variant = pruned(runner, scenes, 0.8)
    made = result(runner, "gallery", {"variant_id": variant, "images": 3}, scenes)
    shown = gallery_of(runner, variant)
    assert (made["n"], made["shown"]) == (6, 3)
    assert shown.class_names[0] == "ground"
    assert shown.images.shape[:3] == shown.truth.shape == shown.dense.shape == shown.pruned.shape
    assert list(shown.changed_share) == sorted(shown.changed_share, reverse=True)
    share = (shown.dense != shown.pruned).mean((1, 2))
    assert share == pytest.approx(shown.changed_share, abs=1e-6)
    kept = evaluation_of(runner, variant)
    where = [int(np.flatnonzero(kept.indices == index)[0]) for index in shown.indices]
    assert shown.pruned_value == pytest.approx(kept.agreement[where], abs=1e-5)
    nothing = pruned(runner, scenes, 0.0)
    assert result(runner, "gallery", {"variant_id": nothing}, scenes)["shown"] == 0
    assert gallery_of(runner, nothing).truth.shape[0] == 0


def test_pixels_to_be_ignored_count_for_nothing(runner: Runner, scenes: Session) -> None:
    from core.analysis.changed_predictions import mask_gallery
    from core.jobs import loading

    store = runner.workspace.store
    variants = [store.variants(scenes.id)[0], store.get_variant(pruned(runner, scenes, 0.85))]
    dense, variant = (loading.load_model(runner.workspace, item.artifact) for item in variants)
    splits = loading.load_data(store.get_dataset(variants[0].data_id))
    shown = mask_gallery(dense, variant, dataclasses.replace(splits, ignore_index=0), images=2)
    assert set(np.unique(shown.truth)) & {0, 255} == {255}
    counted = shown.truth != 255
    moved = ((shown.dense != shown.pruned) & counted).sum((1, 2)) / counted.sum((1, 2))
    assert moved == pytest.approx(shown.changed_share, abs=1e-6)


def test_what_cannot_be_shown_says_why(
    runner: Runner, digits: Session, worse: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = runner.workspace.store
    dense = store.variants(digits.id)[0]
    for variant_id, words in ((dense.id, "Choose a pruned variant"), ("gone", "no variant")):
        job = run(runner, "gallery", {"variant_id": variant_id}, digits)
        assert job.state is JobState.FAILED
        assert words in (job.error or "").lower() or words in (job.error or "")
    # The data are not what they were: another number of images under the same row.
    from core.jobs import loading

    row = store.get_dataset(dense.data_id)
    monkeypatch.setattr(loading, "_data", type(loading._data)())
    store.add_dataset(id=row.id, name=row.name, spec={**row.spec, "limit": 40}, description=row.description)
    job = run(runner, "gallery", {"variant_id": worse}, digits)
    store.add_dataset(id=row.id, name=row.name, spec=row.spec, description=row.description)
    assert job.state is JobState.FAILED
    assert "have changed since they were opened" in (job.error or "")


def test_evaluations_of_other_images_are_refused(runner: Runner, worse: str, scenes: Session) -> None:
    other = evaluation_of(runner, runner.workspace.store.variants(scenes.id)[0].id)
    with pytest.raises(MeasurementError, match="same images"):
        flipped(evaluation_of(runner, worse), other, 3)
    with pytest.raises(MeasurementError, match="predicted class"):
        flipped(other, other, 3)


def test_a_damaged_file_is_told(tmp_path) -> None:
    (tmp_path / "gallery.npz").write_bytes(b"PK nonsense")
    with pytest.raises(MeasurementError, match="make the gallery again"):
        Gallery.load(tmp_path / "gallery.npz")
