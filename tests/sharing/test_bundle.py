"""A bundle opens in an empty workspace, without the author's code, and computes the same, bit for bit."""

import json
import random
import re
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
import torch

import core
from core.errors import DataError, StoreError
from core.jobs import loading
from core.models.traced import TracedModel
from core.sharing import privacy
from core.sharing.bundle import bundle_name, export_bundle
from core.sharing.importing import import_bundle
from core.store import Session, Workspace

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = Path(__file__).parent / "data" / "bundle-1.espalier.zip"
Made = tuple[Workspace, Session]


def test_a_fresh_process_without_the_authors_code_computes_the_same(made: Made, bundle: Path, tmp_path: Path) -> None:
    workspace, session = made
    images = torch.linspace(-2, 2, 3 * 32 * 32).reshape(3, 1, 32, 32)
    expected = {
        variant.name: TracedModel.load(workspace.artifacts.path(variant.artifact)).eval()(images)
        for variant in workspace.store.variants(session.id)
    }
    torch.save(images, tmp_path / "images.pt")
    code = (
        "import sys, torch\n"
        "from pathlib import Path\n"
        "import core\n"
        "from core.models.traced import TracedModel\n"
        "torch.set_num_threads(1)\n"
        "folder, bundle = Path(sys.argv[1]), sys.argv[2]\n"
        "try:\n    import authors_network\nexcept ImportError:\n    pass\nelse:\n    raise SystemExit(3)\n"
        "images = torch.load(folder / 'images.pt', weights_only=True)\n"
        "with core.Workspace.open(folder / 'other machine') as workspace:\n"
        "    session = core.import_bundle(workspace, bundle)\n"
        "    found = {v.name: TracedModel.load(workspace.artifacts.path(v.artifact)).eval()(images)\n"
        "             for v in workspace.store.variants(session.id)}\n"
        "torch.save(found, folder / 'found.pt')\n"
    )
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}
    run = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), str(bundle)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    found = torch.load(tmp_path / "found.pt", weights_only=True)
    assert list(found) == list(expected)
    for name, output in expected.items():
        assert torch.equal(output, found[name]), name


def test_everything_comes_along(made: Made, bundle: Path, workspace: Workspace) -> None:
    theirs, session = made
    mine = import_bundle(workspace, bundle, owner="ada")
    assert (mine.name, mine.owner) == (session.name, "ada")
    assert (
        workspace.store.get_model(str(mine.model_id)).description
        == theirs.store.get_model(str(session.model_id)).description
    )
    assert [(step["how"], step["name"]) for step in mine.lineage] == [("import", session.name)]
    store = workspace.store
    for here, there in zip(store.variants(mine.id), theirs.store.variants(session.id), strict=True):
        assert (here.name, here.metrics, here.sizes, here.layers) == (
            there.name,
            there.metrics,
            there.sizes,
            there.layers,
        )
        assert here.evaluation_artifact in workspace.artifacts
        kinds = {item.kind for item in store.measurements(here.id)} - {"notes"}
        assert kinds == {item.kind for item in theirs.store.measurements(there.id)}
    gallery, onnx = (
        next(m.result for m in store.measurements(store.variants(mine.id)[1].id) if m.kind == kind)
        for kind in ("gallery", "onnx")
    )
    assert gallery["artifact"] in workspace.artifacts
    assert workspace.artifacts.path(onnx["artifact"]).suffix == ".onnx"
    assert mine.data_id == session.data_id
    thumbnails = store.get_dataset(str(mine.data_id)).description["thumbnails"]
    assert thumbnails[0]["image"].startswith("data:image/png")
    (kept,) = store.sensitivities(str(mine.model_id), str(mine.data_id))
    assert kept.complete
    assert store.saved_plans(mine.id)[0].plan["start"] == store.variants(mine.id)[1].id
    # And again: nothing is replaced, a second session stands beside the first.
    assert import_bundle(workspace, bundle).id != mine.id
    assert len(store.sensitivities(str(mine.model_id), str(mine.data_id))) == 1


def test_a_bundle_of_a_bundle_is_the_same_session(made: Made, bundle: Path, workspace: Workspace) -> None:
    first = import_bundle(workspace, bundle)
    export_bundle(workspace, first.id, workspace.folder / "again.zip")
    with Workspace.open(workspace.folder / "third") as third:
        second = import_bundle(third, workspace.folder / "again.zip")
        assert [step["how"] for step in second.lineage] == ["import", "import"]
        ours, theirs = third.store.variants(second.id), made[0].store.variants(made[1].id)
        assert [v.artifact for v in ours] == [v.artifact for v in workspace.store.variants(first.id)]
        assert [v.metrics for v in ours] == [v.metrics for v in theirs]


def test_no_path_of_this_machine_and_no_pickle_is_in_it(made: Made, bundle: Path, tmp_path: Path) -> None:
    places = {str(made[0].folder), str(made[0].folder.parent), str(Path.home()), str(ROOT), "/tmp/"}
    with zipfile.ZipFile(bundle) as archive:
        assert {Path(name).suffix for name in archive.namelist()} == {".json", ".txt", ".safetensors", ".npz", ".onnx"}
        for name in archive.namelist():
            data = archive.read(name)
            for place in places:
                assert place.encode() not in data, f"{place} in {name}"


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("/home/ada/my nets/model.pt", "model.pt"),
        ("The weights come from /home/ada/nets/model.pt, as asked.", "The weights come from model.pt, as asked."),
        ("C:\\Users\\ada\\model.pt", "model.pt"),
        ("~/secret/data", "data"),
        ("see (/srv/data/cifar10/)", "see (cifar10)"),
        ("/my own/folder with spaces/x.png is damaged", "x.png is damaged"),
        ("artifact:" + "a" * 64, "artifact:" + "a" * 64),
        ("12 images/s and/or 3 MACs/image", "12 images/s and/or 3 MACs/image"),
        ("https://example.org/a/b", "https://example.org/a/b"),
        ("data:image/png;base64,/9j/4AA/QSk", "data:image/png;base64,/9j/4AA/QSk"),
        ("layer1.0.conv1", "layer1.0.conv1"),
        ("torchvision/models/resnet.py:92", "torchvision/models/resnet.py:92"),
    ],
)
def test_paths_are_cut_down_to_their_last_name(text: str, clean: str) -> None:
    assert privacy.without_paths({"a": [text]}) == {"a": [clean]}


def test_a_known_folder_is_found_inside_any_text() -> None:
    folders = privacy.own_folders("/srv/my own/data")
    assert privacy.without_paths("in /srv/my own/data/train/x.png it", folders) == "in data/train/x.png it"


def test_paths_in_models_and_onnx_files_are_removed_and_outputs_stay(made: Made, tmp_path: Path) -> None:
    import onnx

    workspace, session = made
    store = workspace.store
    _, half = store.variants(session.id)
    model = TracedModel.load(workspace.artifacts.path(half.artifact))
    model.origin["checkpoint"] = "/home/ada/my nets/x.pt"
    model.save(tmp_path / "model")
    (exported,) = store.measurements(half.id, "onnx")
    graph = onnx.load(str(workspace.artifacts.path(exported.result["artifact"])))
    graph.graph.node[0].doc_string = f"made in {workspace.folder}/x.py"
    onnx.save(graph, str(tmp_path / "m.onnx"))
    place = workspace.store.create_session("paths")
    store.set_session_model(place.id, session.model_id)
    store.set_session_data(place.id, session.data_id)
    variant = store.add_variant(
        session_id=place.id,
        name="v",
        model_id=half.model_id,
        data_id=half.data_id,
        artifact=workspace.artifacts.put_folder(tmp_path / "model"),
    )
    result = {**exported.result, "artifact": workspace.artifacts.put_file(tmp_path / "m.onnx")}
    store.add_measurement(variant_id=variant.id, kind="onnx", context={}, result=result)
    export_bundle(workspace, place.id, tmp_path / "b.zip")
    with zipfile.ZipFile(tmp_path / "b.zip") as archive:
        for name in archive.namelist():
            assert b"/home/ada" not in archive.read(name)
            assert str(workspace.folder).encode() not in archive.read(name)
    with Workspace.open(tmp_path / "other") as other:
        mine = import_bundle(other, tmp_path / "b.zip")
        (found,) = other.store.variants(mine.id)
        again = TracedModel.load(other.artifacts.path(found.artifact))
        assert again.origin["checkpoint"] == "x.pt"
        assert again.fingerprint() == model.fingerprint()
        (measured,) = other.store.measurements(found.id, "onnx")
        onnx.checker.check_model(str(other.artifacts.path(measured.result["artifact"])))


def test_own_folders_are_asked_for_and_only_the_same_data_are_taken(
    made: Made, workspace: Workspace, tmp_path: Path
) -> None:
    theirs, session = made
    body = {"source": "image_folder", "root": str(tmp_path / "my pictures"), "download": True}
    data = theirs.store.add_dataset(
        id="9" * 64,
        name="Pictures (my pictures)",
        spec=body,
        description={**theirs.store.get_dataset(str(session.data_id)).description, "fingerprint": "9" * 64},
    )
    place = theirs.store.create_session("pictures")
    theirs.store.set_session_model(place.id, session.model_id)
    theirs.store.set_session_data(place.id, data.id)
    export_bundle(theirs, place.id, tmp_path / "b.zip")
    mine = import_bundle(workspace, tmp_path / "b.zip")
    row = workspace.store.get_dataset(str(mine.data_id))
    assert (row.spec["root"], row.spec["download"]) == ("my pictures", False)
    assert row.description["away"] is True
    with pytest.raises(DataError):
        loading.load_data(row)
    assert core.import_bundle is import_bundle


def test_an_existing_file_is_kept_and_a_full_disk_leaves_none(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno
    import os

    workspace, session = made
    target = tmp_path / "b.zip"
    target.write_bytes(b"mine")
    with pytest.raises(StoreError, match="exists"):
        export_bundle(workspace, session.id, target)
    assert target.read_bytes() == b"mine"

    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StoreError, match="disk is full"):
            export_bundle(workspace, session.id, target, replace=True)
    assert [path.name for path in tmp_path.iterdir()] == ["b.zip"]
    assert target.read_bytes() == b"mine"
    report = export_bundle(workspace, session.id, target, replace=True)
    assert (report.variants, report.size_bytes) == (2, target.stat().st_size)


@pytest.mark.row("B21")
@pytest.mark.slow
def test_kill_9_while_writing_leaves_the_old_bundle_or_the_new_one(made: Made, bundle: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from core.sharing.bundle import export_bundle; from core.store import Workspace\n"
        "workspace = Workspace.open(sys.argv[1]); print('go', flush=True)\n"
        "while True: export_bundle(workspace, sys.argv[2], sys.argv[3], replace=True)"
    )
    target = tmp_path / "b.zip"
    target.write_bytes(bundle.read_bytes())
    chance = random.Random(0)
    arguments = [sys.executable, "-c", code, str(made[0].folder), made[1].id, str(target)]
    for number in range(5):
        with subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "go\n"
            time.sleep(chance.uniform(0.01, 0.4))
            process.kill()
        with Workspace.open(tmp_path / f"workspace {number}") as workspace:
            assert len(workspace.store.variants(import_bundle(workspace, target).id)) == 2


@pytest.mark.parametrize(
    ("name", "file"),
    [("a b", "a-b"), ("../../x", "x"), ("<b>é</b>", "b-b"), ("", "session"), ("…", "session"), ("x" * 200, "x" * 60)],
)
def test_file_names_of_bundles_are_plain(name: str, file: str) -> None:
    assert bundle_name(name) == f"{file}.espalier.zip"


@pytest.mark.row("B41")
def test_the_golden_bundle_of_every_version_opens(workspace: Workspace) -> None:
    assert GOLDEN.stat().st_size < 200_000
    session = import_bundle(workspace, GOLDEN)
    dense, half = workspace.store.variants(session.id)
    images = torch.linspace(-2, 2, 32 * 32).reshape(1, 1, 32, 32)
    expected = json.loads((GOLDEN.parent / "bundle-1.json").read_text())
    for variant in (dense, half):
        logits = TracedModel.load(workspace.artifacts.path(variant.artifact)).eval()(images)
        torch.testing.assert_close(logits[0], torch.tensor(expected[variant.name]), rtol=1e-4, atol=1e-5)
    assert half.metrics["test"]["score"] == expected["score"]


def test_the_example_of_the_readme_runs(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = re.search(r"<!-- sharing example -->\n```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert found is not None
    import_bundle(workspace, GOLDEN)
    monkeypatch.setenv("ESPALIER_WORKSPACE", str(workspace.folder))
    monkeypatch.chdir(tmp_path)
    exec(found.group(1), {})
    assert "# half" in capsys.readouterr().out
    assert len(workspace.store.list_sessions()) == 3
