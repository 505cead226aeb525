"""A variant that is pruned further: what it loses counts from the dense model; a start that is gone is refused."""

from typing import Any

import pytest

from core.errors import PlanError
from core.jobs import Runner
from core.jobs.kinds.measure import _labelled
from core.jobs.lineage import DESCRIPTION, line_of, start_of
from core.pruning.plan import Plan
from core.store import JobState, Session, Variant

from .running import DATA, MODEL, result, run

STRUCTURED = {"method": "one_shot_structured", "sparsity": 0.5, "allocation": "uniform"}


@pytest.fixture(scope="module")
def small(runner: Runner, session: Session) -> Variant:
    plan = STRUCTURED | {"method_settings": {"round_to": 4, "budget": "macs"}}
    made = result(runner, "prune", {"plan": plan, "name": "small"}, session)
    return runner.workspace.store.get_variant(made["variant_id"])


def model_of(runner: Runner, variant: Variant) -> Any:
    from core.models.traced import TracedModel

    return TracedModel.load(runner.workspace.artifacts.path(variant.artifact))


def test_masks_on_a_small_network(runner: Runner, session: Session, small: Variant) -> None:
    store = runner.workspace.store
    dense = next(variant for variant in store.variants(session.id) if variant.plan is None)
    plan = Plan(sparsity=0.5, allocation="uniform", start=small.id)
    made = result(runner, "prune", {"plan": plan.to_json(), "name": "small and sparse"}, session)
    variant = store.get_variant(made["variant_id"])
    assert variant.parent_id == small.id
    assert [one.id for one in line_of(store, variant)] == [small.id, variant.id]
    assert line_of(store, dense) == []
    before, after = model_of(runner, small).prunable(), model_of(runner, variant).prunable()
    sizes = {row["name"]: row["size"] for row in dense.layers}
    for row in variant.layers:
        weight = after[row["name"]].weight
        assert weight.shape == before[row["name"]].weight.shape
        assert row["size"] == sizes[row["name"]]
        assert row["size"] - row["removed"] == int(weight.count_nonzero())
        assert row["kept_shape"] == list(weight.shape)
        assert 0.0 < row["energy_removed"] < 1.0
    assert variant.sizes["sparse_bytes"] < small.sizes["sparse_bytes"]


def test_a_plan_from_a_variant_is_previewed_on_its_own_layers(runner: Runner, session: Session, small: Variant) -> None:
    store = runner.workspace.store
    model_id = result(runner, "describe", {"variant_id": small.id}, session)["model_id"]
    (named,) = store.measurements(small.id, kind=DESCRIPTION)
    assert named.result == {"model_id": model_id}
    described = store.get_model(model_id)
    assert described.description["parameters"] == small.sizes["parameters"]
    from core.comb.sheet import FILE_NAME, GroupSheet

    sheet = GroupSheet.load(runner.workspace.artifacts.path(described.artifact) / FILE_NAME)
    assert sheet.dense.parameters == small.sizes["parameters"]


def test_a_check_starts_from_the_variant_too(runner: Runner, session: Session, small: Variant) -> None:
    plan = STRUCTURED | {"sparsity": 0.2, "start": small.id}
    checked = result(runner, "check", {"plan": plan, "images": 40}, session)
    assert checked["parameters"] < small.sizes["parameters"]


def test_what_cannot_be_started_from(runner: Runner, session: Session, small: Variant) -> None:
    store = runner.workspace.store
    other = store.create_session("another")
    result(runner, "open", {"model": MODEL, "data": DATA}, other)
    for place, start in ((other, small.id), (session, "f" * 16), (session, "../../etc")):
        job = run(runner, "prune", {"plan": Plan(start=start).to_json(), "name": ""}, place)
        assert job.state is JobState.FAILED
        assert "not in this session any more" in (job.error or "")
    dense = next(variant for variant in store.variants(session.id) if variant.plan is None)
    assert start_of(store, Plan(start=dense.id), dense) is dense
    with pytest.raises(PlanError, match="choose another"):
        start_of(store, Plan(start="gone"), dense)


def test_the_sensitivity_of_the_dense_model_is_not_that_of_a_variant(
    runner: Runner, session: Session, small: Variant
) -> None:
    plan = Plan(allocation="sensitivity", start=small.id)
    job = run(runner, "prune", {"plan": plan.to_json(), "name": ""}, session)
    assert job.state is JobState.FAILED
    assert "needs the measured sensitivity" in (job.error or "")


def test_variants_of_one_name_are_told_apart(small: Variant) -> None:
    twins = [small.model_copy(update={"id": letter * 16}) for letter in "ab"]
    labels = _labelled([small, *twins, small])
    assert len(labels) == len(set(labels)) == 3
    assert next(iter(labels.values())) is small
    assert _labelled([small]) == {"small": small}
