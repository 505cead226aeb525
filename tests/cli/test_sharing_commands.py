"""``share``, ``revoke``, ``fork``, ``bundle``, ``import`` and ``card``: one journey, and what people get wrong."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from core.cli.main import main
from core.sharing.importing import import_bundle
from core.store import Workspace

GOLDEN = Path(__file__).resolve().parents[1] / "sharing" / "data" / "bundle-1.espalier.zip"


@pytest.fixture
def folder(tmp_path: Path) -> str:
    with Workspace.open(tmp_path / "workspace") as workspace:
        import_bundle(workspace, GOLDEN)
    return str(tmp_path / "workspace")


def session_of(folder: str) -> str:
    with Workspace.open(folder) as workspace:
        return workspace.store.list_sessions()[-1].id


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    assert main([*arguments, "--json"]) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


def fails(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(list(arguments)) == 1
    return capsys.readouterr().err.strip()


def test_a_session_goes_to_other_people(folder: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    session, place = session_of(folder), ("--workspace", folder)
    link = call(capsys, "share", session, "--title", "For you", "--allow-fork", "--server", "http://h:1/", *place)
    assert link["address"] == f"http://h:1/share?token={link['token']}"
    listed = call(capsys, "share", session, "--list", *place)
    assert [(item["id"], item["title"], item["revoked"]) for item in listed] == [(link["id"], "For you", None)]
    assert link["token"] not in json.dumps(listed)
    fork = call(capsys, "fork", link["address"], "--name", "mine", *place)
    assert fork["name"] == "mine"
    written = call(capsys, "bundle", fork["id"], "-o", str(tmp_path / "b.zip"), *place)
    assert written["variants"] == 2
    other = call(capsys, "import", str(tmp_path / "b.zip"), "--workspace", str(tmp_path / "other"))
    assert [step["how"] for step in other["lineage"]] == ["import", "fork", "import"]
    assert other["data_away"] is False
    assert call(capsys, "revoke", link["address"], *place)["id"] == link["id"]
    assert "no report here" in fails(capsys, "fork", link["token"], *place)


def test_cards_as_markdown_and_html(folder: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with Workspace.open(folder) as workspace:
        variant = workspace.store.variants(session_of(folder))[1].id
    assert main(["card", variant, "--workspace", folder]) == 0
    assert capsys.readouterr().out.startswith("# half ")
    assert main(["card", variant, "-o", str(tmp_path / "card.html"), "--workspace", folder]) == 0
    assert (tmp_path / "card.html").read_text().startswith("<!doctype html>")
    assert "exists" in fails(capsys, "card", variant, "-o", str(tmp_path / "card.html"), "--workspace", folder)


def test_what_people_get_wrong(
    folder: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = ("--workspace", folder)
    monkeypatch.chdir(tmp_path)
    nothing = "0" * 16
    assert "no session" in fails(capsys, "share", nothing, *place)
    assert "no session" in fails(capsys, "bundle", nothing, *place)
    assert "no variant" in fails(capsys, "card", nothing, *place)
    assert "no link" in fails(capsys, "revoke", nothing, *place)
    assert "no bundle" in fails(capsys, "import", "missing.zip", *place)
    assert "no bundle" in fails(capsys, "fork", "missing.zip", *place)
    (tmp_path / "text.zip").write_text("hello")
    assert "not a bundle" in fails(capsys, "import", "text.zip", *place)
    shutil.copy(GOLDEN, tmp_path / "golden-bundle-version-1.espalier.zip")
    call(capsys, "bundle", session_of(folder), "--force", *place)
    name = "Golden-bundle-version-1.espalier.zip"
    assert name in {path.name for path in tmp_path.iterdir()}
    assert "exists" in fails(capsys, "bundle", session_of(folder), *place)
