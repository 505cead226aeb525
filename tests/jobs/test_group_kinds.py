"""Groups are kept with the model, and a plan is tried on a slice before it runs."""

import shutil
from pathlib import Path

import pytest

from core.comb.sheet import FILE_NAME, GroupSheet
from core.jobs import Runner
from core.methods.one_shot_structured import planned_removal
from core.pruning.plan import Plan
from core.store import JobState, Session

from .running import result, run

STRUCTURED = Plan(
    method="one_shot_structured", sparsity=0.3, allocation="global", overrides={"group:stages.1.0.conv1": 0.5}
)


def sheet_of(runner: Runner, session: Session) -> GroupSheet:
    row = runner.workspace.store.get_model(session.model_id or "")
    return GroupSheet.load(runner.workspace.artifacts.path(row.artifact) / FILE_NAME)


def plan_for(sheet: GroupSheet) -> Plan:
    first = next(group.name for group in sheet.groups if group.units >= 4)
    return STRUCTURED.changed(overrides={f"group:{first}": 0.5})


def test_an_opened_model_has_its_groups(runner: Runner, session: Session) -> None:
    sheet = sheet_of(runner, session)
    assert sheet.groups
    assert "magnitude" in sheet.criteria()
    assert "random" not in sheet.criteria()
    assert sheet.dense.parameters == runner.workspace.store.get_model(session.model_id or "").description["parameters"]


def test_groups_of_an_older_model_are_found_later(runner: Runner, session: Session, tmp_path: Path) -> None:
    store, artifacts, before = runner.workspace.store, runner.workspace.artifacts, sheet_of(runner, session)
    row = store.get_model(session.model_id or "")
    older = shutil.copytree(artifacts.path(row.artifact), tmp_path / "model", ignore=shutil.ignore_patterns(FILE_NAME))
    fields = {name: getattr(row, name) for name in ("id", "name", "spec", "description", "weights_artifact")}
    artifact = store.add_model(**fields, artifact=artifacts.put_folder(older)).artifact
    assert not (artifacts.path(artifact) / FILE_NAME).exists()
    assert result(runner, "groups", {}, session) == {"groups": len(before.groups)}
    assert sheet_of(runner, session).groups == before.groups


def test_a_check_measures_what_the_plan_does_and_stores_no_variant(runner: Runner, session: Session) -> None:
    sheet = sheet_of(runner, session)
    plan = plan_for(sheet)
    checked = result(runner, "check", {"plan": plan.to_json(), "images": 40}, session)
    assert (checked["n"], checked["metric"]) == (40, "accuracy")
    assert checked["low"] <= checked["score"] <= checked["high"]
    assert checked["difference"] == pytest.approx(checked["score"] - checked["dense_score"])
    assert checked["comparison"]["n"] == 40
    removal, _ = planned_removal(sheet, plan)
    counts = sheet.counts(removal)
    assert (checked["parameters"], checked["macs"]) == (counts.parameters, counts.macs)
    assert [variant.name for variant in runner.workspace.store.variants(session.id)] == ["dense"]


def test_a_check_refuses_an_impossible_plan_in_words(runner: Runner, session: Session) -> None:
    plan = STRUCTURED.changed(sparsity=0.99, overrides={})
    job = run(runner, "check", {"plan": plan.to_json()}, session)
    assert job.state is JobState.FAILED
    assert "is the most" in (job.error or "")
