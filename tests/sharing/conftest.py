"""One session with everything in it, made from a network of somebody's own Python file. Small, made once."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.jobs import Runner
from core.models.sources.python import FACTORIES_VARIABLE, register_python_factory
from core.sharing.reading import read_bundle
from core.store import Session, Workspace
from tests.jobs.running import result

NETWORK = """
import torch
from torch import nn


class Own(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(1, 6, 3, stride=2)
        self.norm = nn.BatchNorm2d(6)
        self.second = nn.Conv2d(6, 8, 3, stride=2)
        self.head = nn.Linear(8, 10)

    def forward(self, x):
        x = torch.relu(self.norm(self.first(x)))
        return self.head(torch.relu(self.second(x)).mean((2, 3)))


def build():
    return Own()


build.input_shape = (1, 32, 32)
build.num_classes = 10
"""
PLAN = {"sparsity": 0.5, "allocation": "uniform", "overrides": {"first": 0.25}, "protected": ["head"]}


def opened(runner: Runner, folder: Path) -> Session:
    """A session with the author's network on ten digits, pruned, exported, with images that changed."""
    file = folder / "my own" / "authors_network.py"
    file.parent.mkdir()
    file.write_text(NETWORK)
    names = register_python_factory(f"{file}:build")
    session = runner.workspace.store.create_session("Own <b>network</b>")
    model = {"source": "python", "name": names[0], "weights": "random", "num_classes": 10, "input_shape": [1, 32, 32]}
    result(runner, "open", {"model": model, "data": {"source": "digits", "limit": 60}}, session)
    result(runner, "sensitivity", {"settings": {"levels": [0.5], "images": 60}}, session)
    made = result(runner, "prune", {"plan": PLAN, "name": "half *of* <it>"}, session)
    result(runner, "export", {"variant_id": made["variant_id"], "settings": {"images": 10}}, session)
    result(runner, "gallery", {"variant_id": made["variant_id"], "images": 4}, session)
    store = runner.workspace.store
    dense = store.variants(session.id)[0]
    latency = {"machine": {"cpu": "A processor", "cores": 2}, "busy": False, "sentence": "Said.", "settings": {}}
    for variant, ms in zip(store.variants(session.id), (2.0, 1.0), strict=True):
        row = {"variant": variant.id, "runtime": "onnxruntime", "batch": 1, "threads": 1, "median_ms": ms, "pairs": 30}
        row |= {"low_ms": ms * 0.9, "high_ms": ms * 1.1, "ratio": 2.0 / ms, "ratio_low": 0.9, "ratio_high": 2.1}
        row |= {"verdict": "faster" if ms < 2 else "reference"}
        store.add_measurement(
            variant_id=variant.id, kind="latency", context={"reference": dense.id}, result={**latency, "rows": [row]}
        )
    store.save_plan(session.id, "kept", {**PLAN, "start": made["variant_id"]})
    store.save_view(session.id, "Result", {"page": "compare", "query": {"variant": made["variant_id"]}})
    store.save_draft(session.id, {"sparsity": 0.7, "name": "draft"}, revision=0)
    return store.get_session(session.id)


@pytest.fixture(autouse=True)
def read_here(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bundles are read in this process: one that imports torch for each test would take minutes. Those of
    test_bundle_reader.py are read as they are elsewhere."""
    if request.path.name != "test_bundle_reader.py":
        monkeypatch.setattr("core.sharing.importing.read_confined", read_bundle)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Workspace, Session]]:
    """The workspace and the session. Tests that write make a fork, or share it."""
    import torch

    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("author")
    before = os.environ.get(FACTORIES_VARIABLE)
    with Workspace.open(folder / "workspace") as workspace, Runner(workspace, mode="inline") as runner:
        yield workspace, opened(runner, folder)
    if before is None:
        os.environ.pop(FACTORIES_VARIABLE, None)
    else:
        os.environ[FACTORIES_VARIABLE] = before


@pytest.fixture(scope="session")
def bundle(made: tuple[Workspace, Session], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The session as a bundle."""
    from core.sharing.bundle import export_bundle

    path = tmp_path_factory.mktemp("bundle") / "own.espalier.zip"
    export_bundle(made[0], made[1].id, path)
    return path
