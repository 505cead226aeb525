"""``faster``, ``plans`` and ``weights``: from a session and back to files."""

import json
from pathlib import Path

import pytest

from core.cli.main import main
from core.store import Workspace
from tests.cli.test_cli import call, fails

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, str]:
    """Workspace, session and dense variant."""
    folder = str(tmp_path_factory.mktemp("cli-planning"))
    assert main(["open", "digits_resnet", "--data", "digits", "--limit", "60", "--workspace", folder]) == 0
    with Workspace.open(folder) as workspace:
        (session,) = workspace.store.list_sessions()
        return folder, session.id, workspace.store.variants(session.id)[0].id


def plan_file(folder: Path, **fields: object) -> str:
    path = folder / "plan.json"
    path.write_text(json.dumps(fields))
    return str(path)


def test_faster_answers_in_one_sentence(capsys, opened, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("ESPALIER_CACHE", str(tmp_path / "cache"))
    folder, session, _ = opened
    place = ("--session", session, "--workspace", folder)
    path = plan_file(tmp_path, sparsity=0.75, allocation="uniform")
    found = call(capsys, "faster", path, "--runtime", "onnxruntime", "--seconds", "0.1", *place)
    assert found["sentence"].startswith("On this machine, in ONNX Runtime")
    assert {row["candidate"] for row in found["rows"]} == {"channels", "zeros", "pattern"}
    assert main(["faster", path, "--runtime", "onnxruntime", "--seconds", "0.1", *place]) == 0
    assert "On this machine" in capsys.readouterr().out
    assert "changes no layer" in fails(capsys, "faster", plan_file(tmp_path, sparsity=0), *place)
    assert "unknown runtime" in fails(
        capsys, "faster", plan_file(tmp_path, sparsity=0.5), "--runtime", "abacus", *place
    )


def test_plans_are_kept_shown_compared_and_deleted(capsys, opened, tmp_path) -> None:
    folder, session, _ = opened
    place = (session, "--workspace", folder)
    first = plan_file(tmp_path, sparsity=0.6)
    assert [one["name"] for one in call(capsys, "plans", *place, "--keep", first, "--name", "sixty")] == ["sixty"]
    call(capsys, "plans", *place, "--keep", plan_file(tmp_path, sparsity=0.9), "--name", "ninety")
    assert call(capsys, "plans", *place, "--show", "ninety")["sparsity"] == 0.9
    assert call(capsys, "plans", *place, "--diff", "sixty", "--diff", "ninety") == ["Sparsity: 60 % → 90 %."]
    assert call(capsys, "plans", *place, "--diff", "sixty") == ["Sparsity: 60 % → 50 %."]
    assert "there are: “sixty”, “ninety”" in fails(capsys, "plans", *place, "--show", "nothing")
    assert main(["plans", *place, "--diff", "a", "--diff", "b", "--diff", "c"]) == 2
    capsys.readouterr()
    assert [one["name"] for one in call(capsys, "plans", *place, "--delete", "sixty")] == ["ninety"]


def test_weights_come_back_bit_for_bit(capsys, opened, tmp_path) -> None:
    from safetensors.torch import load_file

    from core.models.traced import TracedModel

    folder, _, variant = opened
    sparse, plain = tmp_path / "small.sparse", tmp_path / "back.safetensors"
    written = call(capsys, "weights", variant, "-o", str(sparse), "--workspace", folder)
    assert written["size_bytes"] == sparse.stat().st_size
    call(capsys, "weights", str(sparse), "-o", str(plain))
    with Workspace.open(folder) as workspace:
        model = TracedModel.load(workspace.artifacts.path(workspace.store.get_variant(variant).artifact))
    restored = load_file(plain)
    state = model.state_dict()
    assert set(restored) == set(state)
    assert all(bool((restored[name] == state[name]).all()) for name in state)
    assert "--force" in fails(capsys, "weights", str(sparse), "-o", str(plain))
    assert "must end in" in fails(capsys, "weights", str(sparse), "-o", str(tmp_path / "x.pt"))
    assert "no file" in fails(capsys, "weights", str(tmp_path / "gone.sparse"), "-o", str(tmp_path / "x.safetensors"))
    damaged = tmp_path / "damaged.sparse"
    damaged.write_bytes(sparse.read_bytes()[:100])
    assert "damaged.sparse" in fails(capsys, "weights", str(damaged), "-o", str(tmp_path / "x.safetensors"))
