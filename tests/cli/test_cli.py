"""The command line: one journey over a real sample model, exit codes, JSON, and no torch for --help."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from core.cli.main import app, main
from core.store import Workspace

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = ["models", "inspect", "open", "sensitivity", "prune", "resume", "measure", "export", "sessions", "doctor"]
COMMANDS += ["search", "faster", "plans", "weights", "share", "revoke", "fork", "bundle", "import", "card"]
COMMANDS += ["people", "give"]

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("cli-workspace"))


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    """The JSON that a command prints; it must succeed and print nothing else on standard output."""
    assert main([*arguments, "--json"]) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


def fails(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one sentence of a command that fails with exit code 1."""
    assert main(list(arguments)) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    sentence = captured.err.strip().splitlines()[-1]
    assert sentence.startswith("espalier: ")
    assert "Traceback" not in captured.err
    return sentence


def test_help_imports_no_torch_and_names_every_command() -> None:
    code = (
        "import sys\nfrom core.cli.main import main\nassert main(['--help']) == 0\n"
        "assert not {'torch', 'streamlit', 'sklearn', 'scipy'} & set(sys.modules), sorted(sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    for command in COMMANDS:
        assert command in run.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_and_offers_json(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    text = capsys.readouterr().out
    assert "--json" in text
    registered = [item.name or item.callback.__name__ for item in app.registered_commands if item.callback]
    assert sorted({*registered} - {"reference"}) == sorted(COMMANDS)


@pytest.mark.parametrize(
    "arguments",
    [["nonsense"], ["prune"], ["inspect"], ["measure"], ["open", "x", "--classes", "none"], ["models", "--nonsense"]],
)
def test_wrong_usage_is_exit_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_models_lists_names_of_every_source(capsys: pytest.CaptureFixture[str]) -> None:
    found = call(capsys, "models")
    names = {(item["source"], item["name"]) for item in found}
    assert {("sample", "digits_resnet"), ("cifar", "resnet56"), ("torchvision", "resnet18")} <= names
    assert {item["source"] for item in call(capsys, "models", "--source", "cifar")} == {"cifar"}


def test_inspect(capsys: pytest.CaptureFixture[str], folder: str) -> None:
    found = call(capsys, "inspect", "cifar/resnet20", "--weights", "random", "--workspace", folder)
    # He et al., table 6: ResNet-20 has 0.27 M parameters; option A shortcuts have none.
    assert found["parameters"] == 269_722
    assert found["macs"] == 40_551_040
    assert main(["inspect", "cifar/resnet20", "--weights", "random", "--workspace", folder]) == 0
    assert "layer3.2.conv2" in capsys.readouterr().out


def test_the_whole_way(capsys: pytest.CaptureFixture[str], folder: str, tmp_path: Path) -> None:
    place = ("--workspace", folder)
    opened = call(capsys, "open", "digits_resnet", "--data", "digits", "--limit", "120", "--name", "mine", *place)
    session = opened["session_id"]
    assert opened["metrics"]["test"]["score"] > 0.5
    assert [item["id"] for item in call(capsys, "sessions", *place)] == [session]
    assert call(capsys, "inspect", session, *place)["num_classes"] == 10

    measured = call(capsys, "sensitivity", session, "--images", "40", *place)
    assert measured["session_id"] == session
    assert all(len(points) == 9 for points in measured["layers"].values())

    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps({"sparsity": 0.7, "allocation": "sensitivity"}))
    variant = call(capsys, "prune", str(plan), "--session", session, "--name", "seventy", *place)
    assert variant["name"] == "seventy"
    assert variant["comparison"]["n"] == variant["metrics"]["test"]["n"]
    assert call(capsys, "sessions", session, *place)["variants"][1]["id"] == variant["id"]

    latency = call(capsys, "measure", variant["id"], "--runtime", "onnxruntime", "--pairs", "6", *place)
    assert len(latency["rows"]) == 2

    target = tmp_path / "out" / "model.onnx"
    exported = call(capsys, "export", variant["id"], "-o", str(target), *place)
    assert exported["passed"] is True
    assert target.stat().st_size == exported["size_bytes"]
    assert "exists" in fails(capsys, "export", variant["id"], "-o", str(target), *place)

    # The same for people, not programs.
    for arguments in (["sessions"], ["sessions", session], ["sensitivity", session, "--images", "40"]):
        assert main([*arguments, *place]) == 0
        assert capsys.readouterr().out
    assert main(["prune", str(plan), "--session", session, *place]) == 0
    assert "parameters are not zero" in capsys.readouterr().out


def test_data_are_found_below_a_folder_and_stored_with_their_full_path(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, shared_data: Path
) -> None:
    place = ("--workspace", str(tmp_path))
    checkpoint = str(shared_data / "checkpoints" / "resnet20-12fca82f.th")
    model = ("open", "resnet20", "--checkpoint", checkpoint, "--limit", "100")
    opened = call(capsys, *model, "--data", "cifar10", "--data-root", str(shared_data), *place)
    assert opened["metrics"]["test"]["score"] > 0.8
    with Workspace.open(tmp_path) as workspace:
        root = Path(workspace.store.get_dataset(opened["data_id"]).spec["root"])
    assert root.is_absolute()
    assert shared_data in (root, *root.parents)
    assert "no/such" in fails(capsys, *model, "--data", "cifar10", "--data-root", "/no/such", *place)


def test_failures_are_one_sentence_and_leave_nothing(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    place = ("--workspace", str(tmp_path / "new"))
    assert "“nonsense”" in fails(capsys, "open", "nonsense", "--data", "digits", *place)
    assert "--data" in fails(capsys, "open", "digits_resnet", *place)
    assert "same task" in fails(capsys, "open", "digits_resnet", "--data", "scenes", "--limit", "20", *place)
    assert "Weights must be" in fails(capsys, "inspect", "resnet20", "--weights", "good", *place)
    plan = tmp_path / "plan.json"
    assert "cannot be read" in fails(capsys, "prune", str(plan), "--session", "0" * 16, *place)
    plan.write_text("{")
    assert "not JSON" in fails(capsys, "prune", str(plan), "--session", "0" * 16, *place)
    plan.write_text('{"sparsity": 1.5}')
    assert "sparsity" in fails(capsys, "prune", str(plan), "--session", "0" * 16, *place)
    plan.write_text('{"sparsity": 0.5}')
    assert "no session" in fails(capsys, "prune", str(plan), "--session", "0" * 16, *place)
    assert "no variant" in fails(capsys, "measure", "0" * 16, *place)
    assert "no variant" in fails(capsys, "export", "0" * 16, *place)
    assert main(["prune", str(plan), *place]) == 2
    with Workspace.open(tmp_path / "new") as workspace:
        assert workspace.store.list_sessions() == []


def test_a_workspace_that_cannot_be_written(capsys: pytest.CaptureFixture[str]) -> None:
    assert "/proc/nowhere" in fails(capsys, "sessions", "--workspace", "/proc/nowhere")


def test_doctor(capsys: pytest.CaptureFixture[str], folder: str) -> None:
    report = call(capsys, "doctor", "--workspace", folder)
    assert report["ok"] is True
    assert report["workspace"]["writable"] is True
    assert report["torch"]["devices"][0] == "cpu"
    assert main(["doctor", "--workspace", "/proc/nowhere", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["problems"]
    assert main(["doctor", "--workspace", folder]) == 0
    assert "All is well." in capsys.readouterr().out


def test_resuming_what_cannot_be_resumed_says_so(folder: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no job" in fails(capsys, "resume", "0" * 16, "--workspace", folder).lower()
    with Workspace.open(folder) as workspace:
        job = workspace.store.create_job("prune", {"plan": {}}, owner="gone", title="Prune: lost")
        workspace.store.claim_job(["prune"], owner="gone")
    # Its process is dead: it is interrupted first, and has no checkpoint.
    assert "no checkpoint" in fails(capsys, "resume", job.id, "--workspace", folder)
    with Workspace.open(folder) as workspace:
        assert workspace.store.get_job(job.id).state.value == "interrupted"


def test_the_line_of_a_training() -> None:
    from core.cli.work import training_line

    epoch = {"loss": 0.5, "select_score": 0.912, "sparsity": 0.45, "images_per_s": 1012.3}
    history = {"kind": "training", "metric": "accuracy", "epochs": [epoch], "step": None}
    assert training_line(history) == "loss 0.5 · accuracy 91.2 % · sparsity 45.0 % · 1,012 images/s"
    assert training_line({"layers": {}}) == ""


def test_a_session_is_given_to_somebody(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from core.access import Directory

    with Workspace.open(tmp_path) as workspace:
        session = workspace.store.create_session("old work")
        people = Directory(tmp_path)
        ann, _ = people.log_in("Ann"), people.log_in("Bea", "one")
        people.log_in("Bea", "another")
    assert main(["give", session.id, "ann", "--workspace", str(tmp_path)]) == 0
    with Workspace.open(tmp_path) as workspace:
        assert workspace.store.get_session(session.id).owner == ann.id
    capsys.readouterr()
    assert main(["people", "--json", "--workspace", str(tmp_path)]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [(item["name"], item["sessions"]) for item in listed["people"]] == [("Ann", 1), ("Bea", 0), ("Bea", 0)]
    for wrong, word in (("Bea", "2 people are called"), ("Cem", "Nobody called")):
        assert main(["give", session.id, wrong, "--workspace", str(tmp_path)]) == 1
        assert word in capsys.readouterr().err
    assert main(["give", session.id, "nobody", "--workspace", str(tmp_path)]) == 0
    assert main(["give", "0" * 16, "nobody", "--workspace", str(tmp_path)]) == 1
