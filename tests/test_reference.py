"""REFERENCE.md is the program's own account of itself: nothing that can be chosen is missing or unexplained."""

from pathlib import Path

import pytest

from core.cli.main import app
from core.cli.reference import reference_text
from core.methods import METHODS
from core.settings import Settings

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def text() -> str:
    return reference_text(app)


def test_the_file_is_what_the_program_says(text: str) -> None:
    written = (ROOT / "REFERENCE.md").read_text(encoding="utf-8")
    assert written == text, "something was added or reworded: uv run espalier reference > REFERENCE.md"


def test_every_row_explains_what_it_names(text: str) -> None:
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert len(rows) > 100
    unexplained = [row for row in rows if not row.rstrip("|. ").rpartition("| ")[2].strip(" .|`")]
    assert not unexplained


def test_every_setting_has_a_title(text: str) -> None:
    def untitled(kind: type[Settings]) -> list[str]:
        return [f"{kind.__name__}.{name}" for name, field in kind.model_fields.items() if not field.title]

    assert [name for method in dict(METHODS.items()).values() for name in untitled(method.Settings)] == []


def test_methods_from_papers_say_what_is_printed_and_what_is_ours() -> None:
    text = (ROOT / "METHODS.md").read_text(encoding="utf-8")
    for name in ("DG2PF", "CPD", "SEAP"):
        assert name.lower() in METHODS
        assert f"## {name}" in text
    assert all("[P]" in method.provenance or "[D]" in method.provenance for _, method in METHODS.items())
