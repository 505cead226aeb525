"""What a visitor types as a path is read only below the folders that the server was started for."""

from pathlib import Path
from typing import Any

import pytest

import run_app
from core.data.opening import open_data
from core.data.roots import resolve_folder
from core.data.specs import DataSpec
from core.environment import configure
from core.errors import CheckpointError, DataError, EspalierError, PlanError, StoreError
from core.jobs.kinds import JOB_KINDS, JobContext
from core.jobs.kinds.prune import _with_teacher
from core.progress import SILENT
from core.pruning.plan import Plan
from core.reach import reachable
from core.store import Workspace
from core.store.records import JobState
from tests.dashboard.conftest import text_of
from tests.dashboard.seeding import seed_job, seed_session
from tests.data.builders import build_image_folder


@pytest.fixture
def roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A confined server with two data roots; ``tmp_path/secret`` is none of its business."""
    folders = (tmp_path / "one", tmp_path / "two")
    for folder in (*folders, tmp_path / "secret"):
        folder.mkdir()
    monkeypatch.setenv("ESPALIER_DATA_ROOT", "")
    monkeypatch.setenv("ESPALIER_CONFINED", "")
    configure(data_roots=folders, confined=True)
    return folders


def typed_paths(secret: Path) -> list[str]:
    return [
        str(secret), f"{secret}/", f"{secret.parent}/one/../secret", "../secret", "..", "/", "/etc", "~", "~root",
        "one\\..\\..\\secret", "//etc", "/proc/self/root/etc", f"{secret.parent}/one2", str(secret.parent),
        "a/" * 600, "file:///etc", "\0", "", " ", "C:\\Windows", "\\\\host\\share", "%2e%2e/secret",
    ]  # fmt: skip


def test_nothing_outside_the_data_roots_is_opened(roots: tuple[Path, Path], tmp_path: Path) -> None:
    build_image_folder(tmp_path / "secret")
    for text in typed_paths(tmp_path / "secret"):
        with pytest.raises(DataError):
            open_data(DataSpec(source="image_folder", root=text))
        try:
            place = reachable(text)
        except StoreError:
            continue
        assert any(root == place or root in place.parents for root in roots), text


def test_whether_something_is_there_is_not_told(roots: tuple[Path, Path], tmp_path: Path) -> None:
    said = []
    for name in ("secret", "nothing"):
        with pytest.raises(DataError) as caught:
            resolve_folder(str(tmp_path / name))
        said.append(str(caught.value).replace(name, ""))
    assert said[0] == said[1]


def test_below_any_data_root_relative_and_absolute(roots: tuple[Path, Path]) -> None:
    build_image_folder(roots[1] / "pictures")
    assert resolve_folder("pictures") == roots[1] / "pictures"
    assert resolve_folder(str(roots[1] / "pictures")) == roots[1] / "pictures"
    assert resolve_folder("new") == roots[0] / "new"
    build_image_folder(roots[0] / "more")
    assert open_data("image_folder", root="more").spec.root == "more"
    # Relative specifications are relative to the first root only: below another one they keep their whole path.
    spec = open_data("image_folder", root="pictures").spec
    assert spec.root == str(roots[1] / "pictures")
    assert open_data(spec).fingerprint == open_data("image_folder", root="pictures").fingerprint


def test_without_data_roots_a_confined_server_reads_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ESPALIER_DATA_ROOT", raising=False)
    monkeypatch.setenv("ESPALIER_CONFINED", "1")
    monkeypatch.chdir(tmp_path)
    build_image_folder(tmp_path / "pictures")
    for text in ("pictures", ".", str(tmp_path / "pictures")):
        with pytest.raises(DataError, match="--data-root"):
            resolve_folder(text)


@pytest.mark.parametrize("text", ["/etc/passwd", "../../x.pt", "/dev/zero"])
def test_checkpoints_come_from_uploads_and_data_roots(
    text: str, roots: tuple[Path, Path], workspace: Workspace, tmp_path: Path
) -> None:
    """Not from wherever the payload of a job says: it may have come in a file."""
    session = workspace.store.create_session("hostile")
    context = JobContext(workspace, session.id, None, SILENT, False)
    model = {"source": "cifar", "name": "resnet20", "weights": "checkpoint", "checkpoint": text}
    with pytest.raises(CheckpointError, match="--data-root"):
        JOB_KINDS["open"]({"model": model, "data": None}, context)


def test_teachers_come_from_the_workspace_and_data_roots(roots: tuple[Path, Path], workspace: Workspace) -> None:
    def plan(folder: str) -> Plan:
        return Plan(
            method="one_shot_fine_tune",
            sparsity=0.5,
            method_settings={"distillation": {"teacher": "model", "teacher_folder": folder}},
        )

    for text in ("/etc", "../x", "/"):
        with pytest.raises(PlanError, match="--data-root"):
            _with_teacher(plan(text), workspace)
    inside = _with_teacher(plan(str(roots[0] / "teacher")), workspace).method_settings
    assert inside["distillation"]["teacher_folder"] == str(roots[0] / "teacher")
    with pytest.raises(StoreError):
        _with_teacher(plan("artifact:../../etc"), workspace)


@pytest.mark.parametrize(
    ("arguments", "confined"),
    [
        ([], False),
        (["--host", "127.0.0.1"], False),
        (["--host", "localhost"], False),
        (["--host", "0.0.0.0"], True),
        (["--host", "192.168.1.7"], True),
        (["--only-data-roots"], True),
    ],
)
def test_who_serves_others_is_confined(arguments: list[str], confined: bool) -> None:
    assert run_app._is_for_others(run_app._parser().parse_args(arguments)) is confined


@pytest.mark.parametrize("name", ["missing", "file", "a:b"])
def test_a_data_root_must_be_a_folder(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ESPALIER_DATA_ROOT", "kept")
    (tmp_path / "file").write_text("")
    (tmp_path / "a:b").mkdir()
    with pytest.raises(EspalierError, match="data root"):
        configure(data_roots=[tmp_path / name])


def test_the_page_says_so_at_once(served: Workspace, open_page: Any, roots: tuple[Path, Path]) -> None:
    page = open_page("start")
    page.selectbox(key="open-data-source-cifar10").set_value("image_folder").run()
    page.text_input(key="open-typed-image_folder").set_value("/etc").run()
    page.segmented_control(key="open-weights-cifar-resnet20").set_value("random").run()
    assert page.button(key="open-model").disabled
    assert "below the folders that it was started for" in text_of(page)
    page.text_input(key="open-typed-image_folder").set_value("pictures").run()
    assert not page.button(key="open-model").disabled


@pytest.mark.parametrize("confined", [False, True])
def test_tracebacks_stay_with_the_person_whose_machine_it_is(
    confined: bool, served: Workspace, open_page: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ESPALIER_CONFINED", "1" if confined else "")
    session = seed_session(served, variants=False).session
    trace = "Traceback: /srv/secret/core/x.py"
    seed_job(served, session, "prune", JobState.FAILED, error="It failed.", traceback=trace)
    for url in ("plan", "runs"):
        page = open_page(url, session=session.id)
        assert "It failed" in text_of(page).replace("\\", "")
        assert (trace in [item.value for item in page.code]) is not confined
