"""Every page of the folder is found, and none of them brings torch into the server."""

import subprocess
import sys
from pathlib import Path

from core.export.code import CODE_PAGES
from dashboard import pages
from dashboard.catalogue import catalogue


def test_every_module_of_the_folder_is_a_page_in_order() -> None:
    files = {path.stem for path in Path(pages.__path__[0]).glob("*.py") if not path.stem.startswith("_")}
    entries = list(catalogue().values())
    assert len(entries) == len(files)
    assert [entry.order for entry in entries] == sorted(entry.order for entry in entries)
    assert entries[0].url == "start"
    assert all(entry.title and entry.summary for entry in entries)


def test_every_page_has_a_code_drawer() -> None:
    assert set(CODE_PAGES) == set(catalogue())
    for url in catalogue():
        source = (Path(pages.__path__[0]) / f"{url}.py").read_text(encoding="utf-8")
        assert f'code_drawer("{url}"' in source


def test_the_server_never_imports_torch() -> None:
    script = (
        "import sys; from dashboard import app, backend; from dashboard.catalogue import catalogue; catalogue(); "
        "from core.models.sources import MODEL_SOURCES; [MODEL_SOURCES[k].names() for k in MODEL_SOURCES]; "
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
