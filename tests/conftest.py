"""Fixtures for every test."""

import os
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session", autouse=True)
def _one_torch_thread():
    """Two cores are shared with the browser and the server: one thread per operation keeps results steady."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with real data and checkpoints; skips where it is missing."""
    folder = Path(os.environ.get("ESPALIER_SHARED_DATA", CHECKOUT.parent / "shared" / "data"))
    if not (folder / "checkpoints").is_dir():
        pytest.skip(f"real data not found at {folder}; set ESPALIER_SHARED_DATA to run this test")
    return folder
