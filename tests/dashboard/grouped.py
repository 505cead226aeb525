"""Sessions whose model is a real, traced network with its groups beside it, for tests of pages about groups."""

import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from core.comb.sheet import FILE_NAME, GroupSheet
from core.store import Workspace
from core.store.records import Session
from tests.dashboard.seeding import seed_session

__all__ = ["Grouped", "grouped", "seed_groups"]


@dataclass(frozen=True, eq=False)
class Grouped:
    """A traced network as the store keeps it."""

    name: str
    description: dict[str, Any]
    weights: dict[str, Any]
    sheet: GroupSheet


@cache
def grouped(name: str) -> Grouped:
    """``resnet`` (20 layers, ten classes), ``vit`` (two blocks, one per kind of group), ``flat`` (nothing can shrink).

    Weights are random, made once per test run.
    """
    import torch

    from core.analysis.describe import describe_model
    from core.analysis.weights import weight_statistics
    from core.jobs.grouping import find_groups
    from core.models.capture import trace
    from core.models.cifar_resnet import CifarResNet
    from sample_models.networks import DigitsViT

    torch.manual_seed(0)
    module, shape = {
        "resnet": lambda: (CifarResNet(20), (3, 32, 32)),
        "vit": lambda: (DigitsViT(), (1, 32, 32)),
        "flat": lambda: (torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10)), (1, 8, 8)),
    }[name]()
    model = trace(module, shape)
    return Grouped(name, describe_model(model), weight_statistics(model), find_groups(model))


def seed_groups(workspace: Workspace, name: str, plan: dict[str, Any] | None = None) -> Session:
    """A session with this network and, on wish, a draft plan."""
    from core.analysis.weights import save_weight_statistics

    known = grouped(name)
    seeded = seed_session(workspace)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "model"
        folder.mkdir()
        known.sheet.save(folder / FILE_NAME)
        statistics = Path(place) / "weights.npz"
        save_weight_statistics(known.weights, statistics)
        model = workspace.store.add_model(
            id=(name * 64)[:64],
            name=name,
            spec={"source": "sample", "name": "digits_resnet"},
            description=known.description,
            artifact=workspace.artifacts.put_folder(folder),
            weights_artifact=workspace.artifacts.put_file(statistics),
        )
    session = workspace.store.set_session_model(seeded.session.id, model.id)
    if plan is not None:
        body = {"method": "one_shot_structured", "allocation": "global", **plan}
        session = workspace.store.save_draft(session.id, body, revision=session.revision)
    return session
