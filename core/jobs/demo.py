"""The finished example that Start shows: made by real jobs in the workspace, once."""

import json
from collections.abc import Iterable
from typing import Any

from ..errors import EspalierError, StoreError
from ..store import JobState, Session, Variant, Workspace
from ..store.files import write_atomically
from ..store.workspace import log
from .runner import Runner

__all__ = ["DEMO_MODEL", "DEMO_PLANS", "demo_finished", "demo_session", "seed_demo"]

DEMO_MODEL = {"source": "sample", "name": "digits_resnet", "weights": "published"}
DEMO_DATA = {"source": "digits"}
DEMO_PLANS: tuple[dict[str, Any], ...] = (
    {"name": "LAMP 50 %", "sparsity": 0.5, "criterion": "magnitude", "allocation": "lamp"},
    {"name": "LAMP 80 %", "sparsity": 0.8, "criterion": "magnitude", "allocation": "lamp"},
    {"name": "Uniform 80 %", "sparsity": 0.8, "criterion": "magnitude", "allocation": "uniform"},
    # Half a minute of training: channels that are gone make it faster, zeros do not.
    {
        "name": "CPD −75 % MACs",
        "method": "cpd",
        "sparsity": 0.75,
        "method_settings": {
            "round_to": 8,
            "prune": {"epochs": 3, "learning_rate": 0.01, "schedule": "constant"},
            "tune": {"epochs": 5, "learning_rate": 0.01},
        },
    },
)
_FILE = "demo.json"


def demo_session(workspace: Workspace) -> Session | None:
    """The session of the demo, or None when it was never made or was deleted."""
    try:
        body = json.loads((workspace.folder / _FILE).read_text(encoding="utf-8"))
        return workspace.store.get_session(body["session_id"])
    except (OSError, ValueError, KeyError, TypeError, StoreError):
        return None


def demo_finished(workspace: Workspace, session: Session) -> bool:
    """Whether the last step of the demo is done: its smallest variant is exported."""
    smallest = _smallest(workspace.store.variants(session.id))
    return smallest is not None and bool(workspace.store.measurements(smallest.id, kind="onnx"))


def _smallest(variants: Iterable[Variant]) -> Variant | None:
    return next((variant for variant in variants if variant.name == DEMO_PLANS[-1]["name"]), None)


def seed_demo(runner: Runner) -> Session | None:
    """Make the demo session, or what is missing of it; returns it, or None when a step failed (see the log).

    Blocks until its jobs have ended: call it from a thread. Repeating it does nothing once all is there.
    """
    workspace = runner.workspace
    session = demo_session(workspace)
    if session is None:
        session = workspace.store.create_session("Demo: handwritten digits")
        write_atomically(workspace.folder / _FILE, json.dumps({"session_id": session.id}).encode())
    try:
        _seed(runner, session)
    except EspalierError as error:
        log.warning("The demo is incomplete: %s", error)
        return None
    return session


def _seed(runner: Runner, session: Session) -> None:
    store = runner.workspace.store
    names = {variant.name for variant in store.variants(session.id)}
    if "dense" not in names:
        _run(runner, session, "open", {"model": DEMO_MODEL, "data": DEMO_DATA}, "Opening the demo")
    for plan in DEMO_PLANS:
        if plan["name"] not in names:
            _run(runner, session, "prune", {"plan": plan, "name": plan["name"]}, f"Prune: {plan['name']}")
        # After the first variant: from then on Start has something to show.
        if not _has_sensitivity(runner, session):
            _run(runner, session, "sensitivity", {"settings": {}}, "Sensitivity")
    variants = store.variants(session.id)
    unmeasured = [variant.id for variant in variants if not store.measurements(variant.id, kind="latency")]
    if unmeasured:
        _run(runner, session, "measure", {"variant_ids": unmeasured, "settings": {}}, "Latency")
    smallest = _smallest(variants)
    if smallest is not None and not store.measurements(smallest.id, kind="onnx"):
        _run(runner, session, "export", {"variant_id": smallest.id, "settings": {}}, f"ONNX export: {smallest.name}")


def _run(runner: Runner, session: Session, kind: str, payload: dict[str, Any], title: str) -> None:
    job = runner.wait(runner.submit(kind, payload, session_id=session.id, title=title).id)
    if job.state is not JobState.DONE:
        raise EspalierError(f"{title}: {job.state.value}. {job.error or ''}".strip())


def _has_sensitivity(runner: Runner, session: Session) -> bool:
    store = runner.workspace.store
    session = store.get_session(session.id)
    if session.model_id is None or session.data_id is None:
        return False
    known = store.sensitivities(session.model_id, session.data_id)
    return any(item.complete and item.result.get("layers") for item in known)
