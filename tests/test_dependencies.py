"""Dependencies are at least of the versions that closed the holes we know of: installed, and by what pyproject allows.

Works offline, so it runs wherever the tests run. SECURITY.md names the command that asks the public lists, too.
"""

import importlib.metadata
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
# What the first safe version closed.
SAFE = {
    "onnx": ("1.21", "files outside the folder by links and ../ (CVE-2026-27489, -34446, -34447), memory (-34445)"),
    "starlette": ("1.1", "static files from network shares (CVE-2026-48818)"),
    "streamlit": ("1.54", "requests to network shares (CVE-2026-33682)"),
    "torch": ("2.10", "memory corruption by weights_only loading (CVE-2026-24747)"),
}


def required() -> dict[str, Requirement]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        listed = tomllib.load(file)["project"]["dependencies"]
    return {requirement.name: requirement for requirement in map(Requirement, listed)}


@pytest.mark.parametrize("name", SAFE)
def test_what_is_installed_is_safe(name: str) -> None:
    least, why = SAFE[name]
    assert Version(importlib.metadata.version(name)) >= Version(least), f"{name} below {least}: {why}"


@pytest.mark.parametrize("name", SAFE)
def test_nothing_unsafe_can_be_installed(name: str) -> None:
    bounds = [Version(item.version) for item in required()[name].specifier if item.operator == ">="]
    assert bounds
    assert max(bounds) >= Version(SAFE[name][0]), f"pyproject allows {name} {max(bounds)}: {SAFE[name][1]}"


def test_every_dependency_has_a_lower_bound() -> None:
    assert [name for name, item in required().items() if not re.search(r">=\s*\d", str(item.specifier))] == []
