"""Start: never blank, opens samples in one click, keeps hostile things out, forgets nothing."""

import json
from pathlib import Path

import pytest

from core.store import Workspace
from core.store.records import JobState
from dashboard import opening
from dashboard.components.link_form import parameters_of
from sample_models import SAMPLES

from .conftest import OpenPage, charts_of, text_of
from .seeding import seed_job, seed_measurements, seed_sensitivity, seed_session


@pytest.fixture
def quiet_runner(served: Workspace, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """Jobs are filed and never run: these tests look at the page, not at the work."""
    from dashboard import backend

    def file_only(kind, payload, *, session_id=None, title=None):  # type: ignore[no-untyped-def]
        return served.store.create_job(kind, payload, owner="nobody", session_id=session_id, title=title or kind)

    monkeypatch.setattr(backend.runner(), "submit", file_only)
    return served


def test_an_empty_workspace_offers_the_samples_and_the_form(open_page: OpenPage) -> None:
    page = open_page("start")
    words = text_of(page)
    for info in SAMPLES.values():
        assert info.title in words
    assert "Use the demo" in words
    assert "Open your own" in words
    assert "Your sessions" not in words


def test_a_link_leads_to_its_report_or_session() -> None:
    token = "a_-Z9" * 6
    assert parameters_of(f" https://elsewhere.example:8501/share?token={token}\n") == ("share", {"token": token})
    assert parameters_of(token) == ("share", {"token": token})
    assert parameters_of("http://localhost:8501/plan?session=0123abcd&x=1") == ("plan", {"session": "0123abcd"})
    assert parameters_of("http://localhost:8501/admin?session=0123abcd") == ("model", {"session": "0123abcd"})
    for wrong in ("", "http://localhost:8501/", "http://[broken", "a b", "<script>alert(1)</script>"):
        assert parameters_of(wrong) is None


def test_the_demo_that_is_being_made_shows_how_far_it_is(open_page: OpenPage, served: Workspace) -> None:
    session = served.store.create_session("Demo: handwritten digits")
    (served.folder / "demo.json").write_text(json.dumps({"session_id": session.id}))
    seed_job(served, session, "prune", JobState.RUNNING, title="Prune: LAMP 50 %")
    assert "LAMP 50 %** · Measuring" in text_of(open_page("start"))


def test_a_check_by_a_visitor_is_no_step_of_the_demo(open_page: OpenPage, served: Workspace) -> None:
    session = served.store.create_session("Demo: handwritten digits")
    (served.folder / "demo.json").write_text(json.dumps({"session_id": session.id}))
    seed_job(served, session, "check", JobState.RUNNING, title="Check 90 %")
    assert "is being made" not in text_of(open_page("start"))


def test_work_in_a_finished_demo_is_not_the_making_of_it(open_page: OpenPage, served: Workspace) -> None:
    seeded = seed_session(served)
    seed_measurements(served, seeded)
    (served.folder / "demo.json").write_text(json.dumps({"session_id": seeded.session.id}))
    smallest = served.store.variants(seeded.session.id)[-1]
    served.store.rename_variant(smallest.id, "CPD −75 % MACs")
    served.store.add_measurement(variant_id=smallest.id, kind="onnx", context={}, result={"passed": True})
    seed_job(served, seeded.session, "prune", JobState.RUNNING, title="Prune: mine")
    assert "is being made" not in text_of(open_page("start"))


def test_the_demo_is_one_click(open_page: OpenPage, quiet_runner: Workspace) -> None:
    page = open_page("start")
    page.button(key="open-digits_resnet").click().run()
    (session,) = quiet_runner.store.list_sessions()
    (job,) = quiet_runner.store.jobs(session_id=session.id)
    assert job.kind == "open"
    assert job.payload["model"]["name"] == "digits_resnet"
    assert job.payload["data"]["source"] == "digits"
    assert session.id in page.query_params["session"]
    assert "Opening digits_resnet with digits" in text_of(page)


def test_a_finished_session_is_shown_with_its_picture_and_an_instant_estimate(
    open_page: OpenPage, served: Workspace
) -> None:
    seeded = seed_session(served)
    seed_measurements(served, seeded)
    seed_sensitivity(served)
    page = open_page("start")
    words = text_of(page)
    assert "of the weights of digits_resnet removed" in words
    assert "360 test images" in words
    assert "estimated" in words
    assert charts_of(page)
    before = words
    slider = next(item for item in page.slider if item.label == "Sparsity")
    slider.set_value(30).run()
    after = text_of(page)
    assert after != before
    assert not page.exception


def test_the_estimate_is_explained_and_can_be_checked_for_real(open_page: OpenPage, quiet_runner: Workspace) -> None:
    seeded = seed_session(quiet_runner)
    seed_sensitivity(quiet_runner)
    page = open_page("start")
    assert "of its weights; pruned alone to" in text_of(page)
    page.button(key="showcase-check").click().run()
    (job,) = [job for job in quiet_runner.store.jobs(session_id=seeded.session.id) if job.kind == "check"]
    assert job.payload["plan"]["sparsity"] == 0.8
    quiet_runner.store.finish_job(
        job.id, JobState.DONE, result={"score": 0.912, "low": 0.9, "high": 0.93, "n": 360, "dense_score": 0.99}
    )
    words = text_of(open_page("start"))
    assert "Measured accuracy" in words
    assert "91.2" in words
    page = open_page("start")
    next(item for item in page.slider if item.label == "Sparsity").set_value(30).run()
    assert "Measured accuracy" not in text_of(page)  # of another plan


def test_the_file_and_the_link_are_one_click_away(open_page: OpenPage, quiet_runner: Workspace) -> None:
    seeded = seed_session(quiet_runner)
    page = open_page("start")
    assert any(f"/compare?session={seeded.session.id}" in block.value for block in page.code)
    page.button(key="showcase-export").click().run()
    assert [job.kind for job in quiet_runner.store.jobs(session_id=seeded.session.id)].count("export") == 1


def test_without_latencies_the_picture_shows_file_sizes(open_page: OpenPage, served: Workspace) -> None:
    seed_session(served)
    page = open_page("start")
    picture = charts_of(page)["showcase-scatter"]
    assert picture["layout"]["xaxis"]["title"]["text"] == "compressed file, kB"
    assert "Weight energy removed" in text_of(page)  # nothing measured: the estimate says what it rests on


@pytest.mark.row("B43")
@pytest.mark.parametrize("hostile", ["../../etc/passwd", "a" * 100_000, "<script>", "1; drop table sessions", "\u202e"])
def test_hostile_session_ids_are_ignored(open_page: OpenPage, hostile: str) -> None:
    words = text_of(open_page("start", session=hostile))
    assert "This session is not here" not in words
    assert hostile[:20] not in words


def test_a_deleted_session_is_named_as_gone(open_page: OpenPage, served: Workspace) -> None:
    seeded = seed_session(served)
    served.store.delete_session(seeded.session.id)
    assert "This session is not here" in text_of(open_page("start", session=seeded.session.id))
    assert "This session is not here" in text_of(open_page("model", session=seeded.session.id))


@pytest.mark.row("B12", "B21")
def test_names_of_sessions_are_text_and_never_markup(open_page: OpenPage, served: Workspace) -> None:
    seed_session(served, name="<img src=x onerror=alert(1)> **bold**")
    page = open_page("start")
    bodies = [node.proto.body for node in page.get("html")]
    assert not any("<img src=x" in body for body in bodies)
    assert any("&lt;img src=x" in body for body in bodies)


def test_rename_asks_for_a_name_and_keeps_it(open_page: OpenPage, served: Workspace) -> None:
    session = seed_session(served).session
    page = open_page("start")
    page.session_state[f"session-more-{session.id}"] = "Rename"
    page.run()
    assert not page.exception


def test_choices_follow_the_model(open_page: OpenPage) -> None:
    page = open_page("start")
    page.session_state["open-source"] = "sample"
    page.run()
    page.selectbox(key="open-name-sample").set_value("scenes_fcn").run()
    assert page.selectbox(key="open-data-source-scenes").value == "scenes"


def test_opening_is_disabled_with_a_reason_until_all_is_chosen(open_page: OpenPage) -> None:
    page = open_page("start")
    assert page.button(key="open-model").disabled
    assert "Upload a checkpoint" in text_of(page)


@pytest.mark.row("B21", "B22")
def test_a_checkpoint_is_kept_under_the_hash_of_its_content(served: Workspace) -> None:
    place = opening.keep_upload("../../évil name.PTH", b"weights")
    assert place.read_bytes() == b"weights"
    assert served.folder in place.parents
    assert "vil" not in place.name
    assert place == opening.keep_upload("other.pth", b"weights")


@pytest.mark.row("B01", "B09")
@pytest.mark.parametrize(
    ("name", "data", "said"),
    [("a.pkl", b"x", "must end in"), ("a", b"x", "must end in"), ("a.pt", b"", "empty"), (".pt", b"x", "must end in")],
)
def test_other_files_are_refused_with_what_to_do(served: Workspace, name: str, data: bytes, said: str) -> None:
    with pytest.raises(opening.CheckpointError, match=said):
        opening.keep_upload(name, data)


def test_checkpoints_on_the_server_are_found_and_hidden_folders_are_not(tmp_path: Path) -> None:
    for name in ("b/net.th", "a.safetensors", ".hidden/x.pt", "notes.txt", "1/2/3/4/5/deep.pt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    found = [path.relative_to(tmp_path).as_posix() for path in opening.checkpoints_below(tmp_path)]
    assert found == ["a.safetensors", "b/net.th"]


def test_the_strip_shows_live_work_and_only_that(open_page: OpenPage, served: Workspace) -> None:
    seeded = seed_session(served)
    assert 'role="status"' not in _bodies(open_page("start", session=seeded.session.id))
    seed_job(served, seeded.session, "sensitivity", JobState.RUNNING, title="Sensitivity")
    assert 'role="status"' in _bodies(open_page("start", session=seeded.session.id))


def _bodies(page) -> str:  # type: ignore[no-untyped-def]
    return "\n".join(node.proto.body for node in page.get("html"))
