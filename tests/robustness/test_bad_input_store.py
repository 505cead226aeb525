"""Names, clocks, repetitions and sizes: what the workspace keeps of them."""

import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import run_app
from core.errors import CheckpointError
from core.jobs.eta import EtaEstimator
from core.jobs.kinds.export import onnx_filename
from core.store import Workspace
from core.store.records import JobState, Variant
from dashboard import opening
from dashboard.components.format import chart_text, escape, short
from tests.dashboard.seeding import seed_job, seed_session

NAMES = {
    "nothing": "", "blanks": " \t\n", "dots": "..", "up": "../../etc/passwd", "device": "CON", "dot": ".hidden",
    "lines": "one\ntwo\r\nthree", "nul": "a\0b", "emoji": "🌿" * 300, "long": "x" * 5000, "bytes": "é" * 255,
    "right to left": "abc\u202efed", "half a character": "a\ud800b",
    "joined": "👩‍👩‍👧‍👦", "sql": "'; DROP TABLE sessions; --",
    "markup": "<b>x</b> [a](http://b) $y$", "formula": "=cmd|' /C calc'!A0", "slash": "a/b\\c:d*?\"|",
}  # fmt: skip


@pytest.mark.row("B21")
@pytest.mark.parametrize("what", NAMES)
def test_any_name_of_a_session_is_a_label(what: str, workspace: Workspace) -> None:
    name = NAMES[what]
    before = sorted(path.relative_to(workspace.folder) for path in workspace.folder.rglob("*"))
    session = workspace.store.create_session(name)
    kept = workspace.store.get_session(session.id).name
    assert 0 < len(kept) <= 120
    assert kept.isprintable()
    assert kept == workspace.store.rename_session(session.id, name).name
    assert "<b>" not in escape(kept) + chart_text(kept)
    assert "\n" not in short(kept)
    kept.encode()
    after = sorted(path.relative_to(workspace.folder) for path in workspace.folder.rglob("*"))
    assert [path for path in after if path not in before and not path.name.startswith("espalier")] == []


@pytest.mark.row("B21")
@pytest.mark.parametrize("what", NAMES)
def test_any_name_of_a_variant_gives_a_file_name_for_any_system(what: str) -> None:
    variant = Variant.model_construct(name=NAMES[what])
    name = onnx_filename(variant)
    assert name.endswith(".onnx")
    assert len(name.encode()) <= 80
    assert name == Path(name).name
    assert not name.startswith((".", "-"))
    assert name.partition(".")[0].upper() not in ("CON", "PRN", "AUX", "NUL", "COM1", "LPT1")


@pytest.mark.row("B21", "B22")
def test_uploads_lie_under_their_content_whatever_their_names(served: Workspace) -> None:
    names = ["a.pt", "../../a.pt", "ü🌿.pt", "x" * 300 + ".pt", "CON.pt", "a\nb.pt", "a\0.pt"]
    places = {opening.keep_upload(name, b"same") for name in names}
    assert len(places) == 1, "the same bytes once"
    other = opening.keep_upload("a.pt", b"other")
    assert other not in places
    assert {place.name for place in (*places, other)} == {"file.pt"}
    assert next(iter(places)).read_bytes() == b"same"
    assert other.read_bytes() == b"other"


@pytest.mark.row("B22")
def test_two_sessions_and_variants_of_one_name_are_two(workspace: Workspace) -> None:
    one, two = (workspace.store.create_session("same") for _ in range(2))
    assert one.id != two.id
    seeded = seed_session(workspace)
    again = workspace.store.rename_variant(seeded.variants[0].id, seeded.variants[1].name)
    assert again.name != seeded.variants[1].name


@pytest.mark.row("B20")
def test_the_limit_of_uploads_is_told_to_the_server_and_holds_in_core(
    served: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Streamlit says the limit in the uploader and refuses more, also from other clients; so do we."""
    options = run_app._server_options(run_app._parser().parse_args([]), 1)
    assert options["server.maxUploadSize"] == opening.UPLOAD_MB
    monkeypatch.setattr(opening, "UPLOAD_MB", 1)
    with pytest.raises(CheckpointError, match="at most"):
        opening.keep_upload("a.pt", bytes(2**20 + 1))
    assert list(served.artifacts) == []


@pytest.mark.row("B50")
def test_moments_are_stored_in_utc_whatever_the_time_zone(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom core.store import Workspace\n"
        "with Workspace.open(sys.argv[1]) as w:\n    print(w.store.create_session('x').created.isoformat())"
    )
    for zone in ("Pacific/Kiritimati", "America/St_Johns"):
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "w")],
            env={**os.environ, "TZ": zone},
            capture_output=True,
            text=True,
            check=True,
        )
        moment = datetime.fromisoformat(done.stdout.strip())
        assert moment.utcoffset() == timedelta(0)
        assert abs(moment - datetime.now(UTC)) < timedelta(minutes=2)
    with Workspace.open(tmp_path / "w") as workspace:
        kept = [session.created for session in workspace.store.list_sessions()]
    assert all(moment.utcoffset() == timedelta(0) for moment in kept)
    assert max(kept) - min(kept) < timedelta(minutes=2)


@pytest.mark.row("B50")
def test_a_clock_that_steps_back_changes_no_duration(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(float(second) for second in range(1000))
    eta = EtaEstimator(clock=lambda: next(clock))
    monkeypatch.setattr(time, "time", lambda: -1e9)
    for done in range(5):
        left = eta.update(float(done), 10.0)
    assert left is not None
    assert left >= 0
    session = seed_session(workspace, variants=False).session
    job = seed_job(workspace, session, "prune", JobState.DONE, result={})
    assert job.started is not None
    assert job.finished is not None
