"""The README keeps its promises: the commands exist, the example runs, the pictures and cards are there."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def example(marker: str = "example") -> str:
    """The Python example behind the marker."""
    found = re.search(rf"<!-- {marker} -->\n```python\n(.*?)```", README, re.DOTALL)
    assert found is not None
    return found.group(1)


def _is_core(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "core"


def test_links_lead_to_files() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert links
    missing = [link for link in links if "://" not in link and not (ROOT / link).is_file()]
    assert missing == []


def test_the_test_command_is_the_one_that_ci_runs() -> None:
    command = "pip install uv && uv run pytest -n 2"
    assert f"```\n{command}\n```" in README
    assert f"\n{command}\n" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_the_example_is_short_and_uses_public_names() -> None:
    import core

    code = example()
    assert len([line for line in code.splitlines() if line.strip()]) <= 25
    used = {node.attr for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Attribute) and _is_core(node.value)}
    assert used
    assert used <= set(core.__all__)


def test_every_command_of_the_command_line_is_in_the_readme() -> None:
    from core.cli.main import app

    names = [command.name or command.callback.__name__ for command in app.registered_commands if command.callback]
    assert names
    assert [name for name in names if f"espalier {name}" not in README] == []


@pytest.mark.slow
def test_the_example_runs(shared_data: Path, tmp_path: Path) -> None:
    code = example().replace("../shared/data", str(shared_data))
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "dense: 92.72% of 1017 images" in done.stdout
    assert "True (4, 10)" in done.stdout


def test_the_structured_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, object] = {}
    exec(compile(example("structured example"), "README.md", "exec"), names)
    said = capsys.readouterr().out
    assert "Verified: it computes what the dense network computes" in said
    assert "are added to each other" in said
