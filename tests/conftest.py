"""Fixtures for every test."""

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.store import Workspace

CHECKOUT = Path(__file__).resolve().parent.parent

# Two cores are shared with the browser and the server: one thread per operation keeps results steady.
# Set before torch is imported, and inherited by worker processes.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Processes that tests start keep their .pyc files: without them each compiles torch anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def pytest_collection_finish() -> None:
    """What all tests import stays to the end: the garbage collector need not look through it, a sixth of all time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _own_workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test touches the workspace of the person who runs it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ESPALIER_WORKSPACE", str(tmp_path_factory.mktemp("default-workspace")))
        patch.delenv("ESPALIER_DATABASE_URL", raising=False)
        yield


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    """A fresh, empty workspace."""
    with Workspace.open(tmp_path / "workspace") as opened:
        yield opened


# Real data and checkpoints; not everybody has them.
SHARED_DATA = Path(os.environ.get("ESPALIER_SHARED_DATA", CHECKOUT.parent / "shared" / "data"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with real data and checkpoints; skips where it is missing."""
    if not (SHARED_DATA / "checkpoints").is_dir():
        pytest.skip(f"real data not found at {SHARED_DATA}; set ESPALIER_SHARED_DATA to run this test")
    return SHARED_DATA
