"""The rules of the house about imports: what stays free of torch and screens, and which way the arrows point."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import core

ROOT = Path(__file__).resolve().parent.parent

# Importable by the server process: no torch.
TORCH_FREE = [
    "core",
    "core.doctor",
    "core.environment",
    "core.paths",
    "core.reach",
    "core.store",
    "core.access",
    "core.jobs",
    "core.jobs.personal",
    "core.jobs.worker",
    "core.jobs.demo",
    "core.jobs.matching",
    "core.jobs.loading",
    "core.cli.main",
    "core.confinement",
    "core.models.specs",
    "core.models.checkpoint_reader",
    "core.models.sources",
    "core.models.opening",
    "core.data.specs",
    "core.data.opening",
    "core.pruning.plan",
    "core.pruning.schedules",
    "core.pruning.allocation",
    "core.pruning.estimate",
    "core.methods",
    "core.planning.finding",
    "core.planning.latency",
    "core.jobs.knowledge",
    "core.training.settings",
    "core.training.checkpoints",
    "core.analysis.statistics",
    "core.analysis.weights",
    "core.analysis.evaluation",
    "core.analysis.machine",
    "core.analysis.network_layout",
    "core.analysis.speed_difference",
    "core.export.code",
    "core.sharing.card",
    "core.sharing.importing",
    "core.sharing.links",
    "core.sharing.bundle",
    "sample_models",
]
SCREENS = ("streamlit", "plotly")

# Rooms of core from the bottom up. A room imports rooms of lower levels, and itself; those of one level do not know
# each other, except where ALSO says so.
LEVELS = [
    {"errors"},
    {"registry", "progress", "niceness", "settings", "paths", "wording"},
    {"confinement"},
    {"reach"},
    {"models", "data"},
    {"environment"},
    {"comb"},
    {"pruning"},
    {"analysis"},
    {"training"},
    {"methods"},
    {"export"},
    {"planning"},
    {"store"},
    {"sharing"},
    {"access"},
    {"jobs"},
    {"doctor"},
    {"cli"},
]
ALSO = {
    # Specifications name each other's tasks.
    ("data", "models"),
    ("models", "data"),
    # ONNX Runtime times files: what it times is exported first.
    ("analysis", "export"),
}


def modules_of(package: str) -> Iterator[tuple[str, Path]]:
    for path in sorted((ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def imports_of(module: str, path: Path) -> Iterator[tuple[str, int]]:
    """Absolute names of everything that a module imports anywhere, also inside functions and for types only."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield name.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                parts = package.split(".")
                base = ".".join(parts[: len(parts) - node.level + 1])
                source = f"{base}.{node.module}" if node.module else base
            else:
                source = node.module or ""
            for name in node.names:
                yield f"{source}.{name.name}", node.lineno


def room_of(name: str) -> str | None:
    """``core.models.traced`` → ``models``; None for the facade ``core`` itself and for what is not ours."""
    parts = name.split(".")
    return parts[1] if parts[0] == "core" and len(parts) > 1 else None


def existing(modules: list[str]) -> list[str]:
    return [
        name
        for name in modules
        if (ROOT / Path(*name.split("."))).with_suffix(".py").exists() or (ROOT / Path(*name.split("."))).is_dir()
    ]


def loaded_after(modules: list[str], suspects: tuple[str, ...]) -> dict[str, list[str]]:
    """Which of the suspects are loaded after importing each module, in one process, in this order."""
    code = (
        "import importlib, json, sys\n"
        "modules, suspects = json.loads(sys.argv[1])\n"
        "found = {}\n"
        "for name in modules:\n"
        "    importlib.import_module(name)\n"
        "    found[name] = [suspect for suspect in suspects if suspect in sys.modules]\n"
        "print(json.dumps(found))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, json.dumps([modules, suspects])], cwd=ROOT, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr[-3000:]
    found: dict[str, list[str]] = json.loads(run.stdout.splitlines()[-1])
    return found


def test_the_server_process_never_imports_torch_and_core_no_screen() -> None:
    core_side = existing(TORCH_FREE)
    pages = [name for name, path in modules_of("dashboard") if path.name != "app.py"]
    found = loaded_after(core_side + pages, ("torch", "torchvision", "timm", *SCREENS))
    for name in core_side:
        assert found[name] == [], f"importing {name} loads {found[name]}"
    for name in pages:
        assert "torch" not in found[name], f"importing {name} loads torch"
        assert "torchvision" not in found[name]


def test_arrows_point_from_dashboard_to_core() -> None:
    wrong = [
        f"{module}:{line} imports {name}"
        for module, path in modules_of("core")
        for name, line in imports_of(module, path)
        if name.split(".")[0] in ("dashboard", "run_app", *SCREENS)
    ]
    assert wrong == []


def test_inside_core_nothing_imports_upward() -> None:
    level = {room: number for number, rooms in enumerate(LEVELS) for room in rooms}
    wrong = []
    for module, path in modules_of("core"):
        here = room_of(module)
        if here in (None, "__main__"):
            continue
        assert here in level, f"core.{here} is not in LEVELS: say where it stands"
        for name, line in imports_of(module, path):
            there = room_of(name)
            if there is None or there not in level or there == here or (here, there) in ALSO:
                continue
            if level[there] >= level[here]:
                wrong.append(f"{path.relative_to(ROOT)}:{line}: {here} imports {there}")
    assert wrong == []


def test_imports_inside_core_are_relative_and_those_of_dashboard_absolute_to_core() -> None:
    for module, path in modules_of("core"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                assert (node.module or "").split(".")[0] != "core", f"{module}:{node.lineno}"


def test_every_package_of_ours_has_an_init_file() -> None:
    for package in ("core", "dashboard", "sample_models", "tests"):
        for folder in [ROOT / package, *(path for path in (ROOT / package).rglob("*") if path.is_dir())]:
            if list(folder.glob("*.py")):
                assert (folder / "__init__.py").exists(), folder


@pytest.mark.parametrize("name", core.__all__)
def test_public_names_can_be_imported(name: str) -> None:
    assert name in dir(core)
    value = getattr(core, name)
    assert value.__doc__, f"core.{name} needs a docstring"


def test_public_names_are_complete() -> None:
    assert sorted(core.__all__) == sorted(core._PUBLIC)
    with pytest.raises(AttributeError, match="no attribute"):
        core.nonsense  # noqa: B018
