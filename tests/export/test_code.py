"""“Do it in code”: every page's lines run as they are, on the embedded sample and on real checkpoints."""

import ast
import builtins
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import core
from core.errors import PlanError, RegistryError
from core.export.code import CODE_PAGES, code_for
from core.pruning.plan import Plan
from core.store import Workspace

QUICK = {
    "sensitivity": {"settings": {"levels": [0.5, 0.9], "images": 50}},
    "compare": {"settings": {"pairs": 6, "runtimes": ["onnxruntime"]}},
}
PLANS: dict[str, dict[str, Any]] = {
    "default": {},
    "everything": {
        "name": 'it\'s a "name" \\ with\nall \u202e kinds',
        "sparsity": 0.7,
        "criterion": "random",
        "allocation": "uniform",
        "seed": 3,
    },
}


STRUCTURED: dict[str, Any] = {
    "method": "one_shot_structured",
    "sparsity": 0.3,
    "allocation": "isomorphic",
    "overrides": {"group:block1.conv1": 0.5},
    "protected": ["group:stem"],
    "method_settings": {"budget": "macs", "round_to": 4, "recalibrate": False},
}


def _run(source: str) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(source, "<drawer>", "exec"), names)
    return names


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("page", list(CODE_PAGES))
def test_every_page_runs_on_the_embedded_sample(page: str, capsys: pytest.CaptureFixture[str]) -> None:
    names = _run(code_for(page, QUICK.get(page, {})))
    assert capsys.readouterr().out.strip()
    if page == "compare":
        assert names["report"]["passed"]
        assert names["report"]["images"] == "test split"


@pytest.mark.parametrize("name", list(PLANS))
def test_a_plan_comes_back_as_it_was(name: str) -> None:
    names = _run(code_for("plan", {"plan": Plan(**PLANS[name]).to_json()}))
    assert names["plan"] == Plan(**PLANS[name])
    assert names["result"].sparsity == pytest.approx(names["plan"].sparsity, abs=0.01)


def test_a_structured_plan_prints_shapes_groups_and_its_proof(capsys: pytest.CaptureFixture[str]) -> None:
    names = _run(code_for("plan", {"plan": Plan(**STRUCTURED).to_json()}))
    assert names["plan"] == Plan(**STRUCTURED)
    said = capsys.readouterr().out
    assert "Verified: " in said
    kept = {row["name"]: row["kept_shape"][0] for row in names["result"].layers}
    assert kept["block1.conv1"] == 12
    assert kept["stem"] == 24
    assert f"[{kept['block4.conv1']}, " in said
    assert "groups stem" in said


def test_overrides_protection_and_sensitivity_are_written() -> None:
    plan = Plan(
        allocation="sensitivity", overrides={"a.b": 0.25, 'c"d': 0.5}, protected=("head",), method_settings={"x": [1]}
    )
    source = code_for("compare", {"plan": plan.to_json()})
    assert "prune(model, data, plan, sensitivity=sensitivity)" in source
    call = next(node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call) and _name(node) == "Plan")
    assert Plan(**{word.arg: ast.literal_eval(word.value) for word in call.keywords if word.arg}) == plan


def _name(call: ast.Call) -> str | None:
    return call.func.id if isinstance(call.func, ast.Name) else None


@pytest.mark.parametrize(
    "spec",
    [
        {"source": "cifar", "name": "resnet20", "weights": "random"},
        {"source": "cifar", "name": "resnet20", "weights": "random", "seed": 5, "num_classes": 7},
        {"source": "torchvision", "name": "resnet18", "weights": "random", "input_shape": [3, 32, 32]},
    ],
)
def test_models_open_as_their_specification_says(spec: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    names = _run(code_for("model", {"model": spec, "layer": "conv1"}))
    origin = names["model"].origin
    for key, value in spec.items():
        assert list(origin[key]) == value if isinstance(value, list) else origin[key] == value
    assert "conv1" in capsys.readouterr().out


def test_a_checkpoint_and_real_images(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = next((shared_data / "checkpoints").glob("resnet20*.th"))
    facts = {
        "model": {"source": "cifar", "name": "resnet20", "weights": "checkpoint", "checkpoint": str(checkpoint)},
        "data": {"source": "cifar10", "root": str(shared_data / "cifar10-mini"), "limit": 60},
        "plan": {"sparsity": 0.5},
    }
    names = _run(code_for("runs", facts))
    assert names["result"].sparsity == pytest.approx(0.5, abs=0.01)


def test_the_runs_of_a_session(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("ESPALIER_WORKSPACE", str(Path.cwd() / "workspace"))
    with Workspace.open() as workspace:
        session = workspace.store.create_session("mine")
        workspace.store.create_job("open", {}, owner="a test", session_id=session.id, title="Open it")
    names = _run(code_for("runs", {"session_id": session.id}))
    names["workspace"].close()
    assert "Open it" in capsys.readouterr().out


@pytest.mark.row("B12")
def test_hostile_names_stay_values(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a layer, a folder or a plan is called, it is a string literal and never code."""
    nasty = '"); __import__("os").system("touch canary"); ("\n\'\\\u2028'
    facts = {
        "model": {"source": "sample", "name": nasty},
        "data": {"source": "digits", "root": nasty},
        "plan": {"name": nasty[:100], "protected": [nasty]},
        "layer": nasty,
        "session_id": nasty,
    }
    for page in CODE_PAGES:
        for chosen in (facts, {**facts, "plan": None}):
            tree = ast.parse(code_for(page, chosen))
            called = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and _name(node)}  # type: ignore[attr-defined]
            assert called <= {*core.__all__, *dir(builtins)}
            assert "__import__" not in called


def test_only_public_names_are_imported() -> None:
    for page in CODE_PAGES:
        for node in ast.parse(code_for(page, {})).body:
            if isinstance(node, ast.ImportFrom):
                assert node.module == "core"
                assert {alias.name for alias in node.names} <= set(core.__all__)


def test_missing_data_means_the_sample() -> None:
    assert 'open_data("digits")' in code_for("plan", {"model": None, "data": None, "plan": None, "settings": None})


def test_what_is_not_valid_is_said() -> None:
    with pytest.raises(RegistryError, match="atlas"):
        code_for("atlas", {})
    with pytest.raises(PlanError, match="sparsity"):
        code_for("plan", {"plan": {"sparsity": 2}})


def test_it_needs_no_torch() -> None:
    code = "import sys, core.export.code as c; [c.code_for(p, {}) for p in c.CODE_PAGES]; print('torch' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(core.__file__).parents[1], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "False"
