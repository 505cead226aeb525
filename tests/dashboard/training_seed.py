"""Training runs as a person would find them, without torch: histories with simple laws, and the jobs around them."""

import math
from collections.abc import Mapping
from typing import Any

from core.methods import METHODS
from core.store import Workspace
from core.store.records import Job, JobState, Session
from tests.dashboard.seeding import LAYERS, seed_job, wilson

__all__ = ["TRAINING_METHODS", "seed_training", "training_history"]

TRAINING_METHODS = tuple(name for name in METHODS if METHODS[name].trains)
_N = 1000


def training_history(
    done: int = 12,
    *,
    stages: tuple[tuple[str, int], ...] = (("Prune", 12), ("Recover", 8)),
    target: float = 0.9,
    dense: float = 0.925,
    loss: float = 1.0,
    seconds: float = 9.5,
    running: bool = False,
) -> dict[str, Any]:
    """``done`` epochs of a run whose sparsity grows over its first stage and whose score falls, then recovers."""
    first, begin = 1, []
    for name, epochs in stages:
        begin.append({"name": name, "epochs": epochs, "first_epoch": first})
        first += epochs
    growth = stages[0][1]
    rows: list[dict[str, Any]] = []
    best = 0.0
    for epoch in range(1, done + 1):
        t = min(1.0, epoch / growth)
        sparsity = target * (1 - (1 - t) ** 3)
        correct = round(_N * (dense - 0.10 * loss * math.exp(-0.22 * epoch) - 0.03 * sparsity**6 / (1 + 0.3 * epoch)))
        low, high = wilson(correct, _N)
        improved = t >= 1.0 and correct / _N > best
        best = max(best, correct / _N) if t >= 1.0 else best
        ce = loss * (0.25 + 0.9 * math.exp(-0.2 * epoch))
        rows.append(
            {
                "epoch": epoch,
                "stage": 0 if epoch <= growth else 1,
                "loss": ce + 0.3 * ce,
                "parts": {"ce": ce, "kd": 0.3 * ce},
                "train_score": min(1.0, correct / _N + 0.02),
                "select_score": correct / _N,
                "select_low": low,
                "select_high": high,
                "learning_rate": 0.01 * (1 + math.cos(math.pi * epoch / 20)) / 2,
                "sparsity": sparsity,
                "revived": round(900 * math.exp(-0.3 * epoch)),
                "hidden": round(56_000 * sparsity),
                "jaccard": 0.9,
                "images_per_s": 1050.0 + 20 * math.sin(epoch),
                "seconds": seconds,
                "layers": {
                    layer["name"]: min(0.99, sparsity * (0.6 + 0.4 * index / len(LAYERS)))
                    for index, layer in enumerate(LAYERS)
                },
                "best": improved,
            }
        )
    step = {"epoch": done + 1, "step": 31, "steps": 78, "loss": 0.41, "learning_rate": 0.006, "images_per_s": 1060.0}
    return {
        "kind": "training",
        "metric": "accuracy",
        "dense_score": dense,
        "target": target,
        "unit": "weights",
        "stages": begin,
        "epochs": rows,
        "step": step if running else None,
        "events": [{"epoch": growth, "step": 0, "text": "The target sparsity is reached."}] if done >= growth else [],
        "restored_epoch": None,
        "seed": 0,
        "precision": "fp32",
        "threads": 2,
    }


def seed_training(
    workspace: Workspace,
    session: Session,
    state: JobState,
    history: Mapping[str, Any] | None,
    *,
    name: str = "DG2PF 90 %",
    method: str = "",
    error: str | None = None,
    traceback: str | None = None,
    checkpoint: int | None = None,
    **payload: Any,
) -> Job:
    """A training job that stands as ``state`` says; ``checkpoint``: the epoch that it can be resumed from."""
    plan = {"method": method or TRAINING_METHODS[0], "sparsity": 0.9, "name": name}
    result = {"variant_id": "v", "notes": [], "training": {"epochs": 20, "images_per_s": 1050.0, "threads": 2}}
    job = seed_job(
        workspace,
        session,
        "prune",
        state,
        title=f"Prune: {name}",
        payload={"plan": plan, "name": name, **payload},
        partial=history,
        error=error,
        traceback=traceback,
        result=result if state is JobState.DONE else None,
        message="Prune · epoch 13/20",
    )
    if checkpoint is not None:
        folder = workspace.checkpoints.path(job.id) / f"epoch-{checkpoint:06d}"
        folder.mkdir(parents=True)
        (folder / "state.pt").write_bytes(b"")
    return job
