"""Bundles are read in a limited process: what it says and what it hands back arrives, and nothing else."""

import dataclasses
import shutil
from pathlib import Path

import pytest

from core.errors import Cancelled, EspalierError, ModelError, StoreError
from core.models.traced import TracedModel
from core.progress import Progress
from core.sharing import bundle_reader, importing
from core.sharing.reading import read_bundle
from core.store import Workspace

from .test_hostile_bundles import contents, listed, packed

GOLDEN = Path(__file__).parent / "data" / "bundle-1.espalier.zip"


@pytest.mark.slow  # imports torch twice, in processes of their own
def test_it_hands_back_what_reading_here_gives(workspace: Workspace, tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
    assert bundle_reader.read_confined(GOLDEN, there) == read_bundle(GOLDEN, here)
    names = [
        sorted(str(path.relative_to(folder)) for path in (folder / "artifacts").rglob("*")) for folder in (here, there)
    ]
    assert names[0] == names[1]
    session = importing.import_bundle(workspace, GOLDEN)
    for variant in workspace.store.variants(session.id):
        TracedModel.load(workspace.artifacts.path(variant.artifact))


@pytest.mark.row("B40")
def test_what_takes_too_much_is_refused_and_leaves_nothing(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = bundle_reader._limits(GOLDEN)
    before = sorted((workspace.folder / "artifacts").rglob("*"))
    for change, words in (
        ({"memory_bytes": 60_000_000}, ""),
        ({"cpu_s": 1}, "more time (1 s of a processor)"),
        ({"file_bytes": 1000}, ""),
    ):
        lower = dataclasses.replace(limits, **change)  # type: ignore[arg-type]
        monkeypatch.setattr(bundle_reader, "_limits", lambda _path, lower=lower: lower)
        with pytest.raises(StoreError, match=r"was not opened|Cannot unpack") as error:
            importing.import_bundle(workspace, GOLDEN)
        assert words in str(error.value)
    assert sorted((workspace.folder / "artifacts").rglob("*")) == before
    assert workspace.store.list_sessions() == []


@pytest.mark.row("B40", "B41")
def test_its_refusals_arrive_in_words(workspace: Workspace, bundle: Path, tmp_path: Path) -> None:
    files = contents(bundle)
    graph = next(name for name in files if name.endswith("graph.json"))
    torn = packed(listed({**files, graph: b"{}"}), tmp_path / "torn.zip")
    with pytest.raises(EspalierError, match="is not named by the SHA-256"):
        importing.import_bundle(workspace, torn)
    for path, words in ((tmp_path / "none.zip", "There is no bundle"), (tmp_path, r"not a bundle|cannot")):
        with pytest.raises(StoreError, match=words):
            importing.import_bundle(workspace, path)


def test_cancelling_ends_the_process(workspace: Workspace) -> None:
    class Impatient(Progress):
        def check(self) -> None:
            raise Cancelled

    with pytest.raises(Cancelled):
        importing.import_bundle(workspace, GOLDEN, progress=Impatient())
    assert workspace.store.list_sessions() == []


class TestNotTrusted:
    """What the process wrote is looked at once more: it may have been taken over."""

    def answer(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, data: bytes) -> None:
        def run(_module: str, _arguments: object, _limits: object, *, folder: Path, progress: Progress) -> object:
            (folder / name).write_bytes(data)
            return bundle_reader.Ending(0)

        monkeypatch.setattr(bundle_reader, "run_confined", run)

    @pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"[" * 100_000, b"\xff", b'{"version": 1}'])
    @pytest.mark.parametrize("name", ["snapshot.json", "error.json"])
    def test_nonsense(
        self, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, data: bytes
    ) -> None:
        self.answer(monkeypatch, tmp_path, name, data)
        with pytest.raises(StoreError):
            importing.import_bundle(workspace, GOLDEN)

    def test_its_words_are_an_error_of_ours(
        self, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.answer(monkeypatch, tmp_path, "error.json", b'{"error": "Said.", "model": "yes"}')
        with pytest.raises(ModelError, match="Said"):
            importing.import_bundle(workspace, GOLDEN)

    @pytest.mark.parametrize("harm", ["a link", "a changed file"])
    def test_artifacts(self, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, harm: str) -> None:
        secret = tmp_path / "secret"
        secret.write_text("of this machine")

        def read(path: Path, folder: Path, *, progress: Progress) -> object:
            snapshot = read_bundle(path, folder, progress=progress)
            file = next((folder / "artifacts").rglob("*.safetensors"))
            file.unlink()
            if harm == "a link":
                file.symlink_to(secret)
            else:
                shutil.copy(secret, file)
            return snapshot

        monkeypatch.setattr(importing, "read_confined", read)
        with pytest.raises(StoreError, match=r"is a link|not named by the SHA-256"):
            importing.import_bundle(workspace, GOLDEN)
        assert workspace.store.list_sessions() == []
