"""Measure how much each layer suffers at each sparsity; finished parts are kept and continued."""

import hashlib
import json
import time
from collections.abc import Mapping
from typing import Any

from ...errors import Cancelled
from ...progress import Progress
from ...store import Sensitivity, Workspace
from . import JobContext, job_kind

# An interrupted measurement (kill -9) loses at most this much.
_SAVE_EVERY_S = 10.0
_VERSION = 1


@job_kind("sensitivity")
def sensitivity(payload: Mapping[str, Any], context: JobContext) -> dict[str, Any]:
    """Measure the sensitivity of the session's model on its data. Cached by content.

    Payload: ``settings`` (SensitivitySettings as JSON, optional). Result: ``sensitivity_id``. Partial: the JSON of
    ``measure_sensitivity`` so far. A cancelled measurement keeps its layers, and the next one continues from them.
    """
    from ...analysis.sensitivity import SensitivitySettings, measure_sensitivity
    from .. import loading

    store = context.workspace.store
    _, dense = loading.session_parts(context.workspace, context.session_id)
    settings = SensitivitySettings.parse(payload.get("settings") or {})
    keeper = _Keeper(context.workspace, model_id=dense.model_id, data_id=dense.data_id, settings=settings.to_json())
    if keeper.found is not None and keeper.found.complete:
        return {"sensitivity_id": keeper.found.id}

    context.progress.update(0, 0, "Loading")
    model = loading.load_model(context.workspace, dense.artifact)
    splits = loading.load_data(store.get_dataset(dense.data_id), progress=context.progress)
    finished = keeper.finished_layers(len(settings.levels))
    missing = [name for name in model.prunable() if name not in finished]
    progress = _KeepingProgress(context.progress, keeper, finished)
    try:
        result = measure_sensitivity(model, splits, settings, layers=missing if finished else None, progress=progress)
    except (Cancelled, Exception):
        progress.keep()
        raise
    row = keeper.put(_joined(result, finished, list(model.prunable())), complete=True)
    return {"sensitivity_id": row.id}


class _Keeper:
    """The row of one measurement, by the content of model, data and settings."""

    def __init__(self, workspace: Workspace, *, model_id: str, data_id: str, settings: dict[str, Any]) -> None:
        self._store = workspace.store
        self._parts: dict[str, Any] = {"model_id": model_id, "data_id": data_id, "settings": settings}
        content = json.dumps({"version": _VERSION, **self._parts}, sort_keys=True)
        self.key = hashlib.sha256(content.encode()).hexdigest()
        self.found: Sensitivity | None = self._store.find_sensitivity(self.key)

    def finished_layers(self, levels: int) -> dict[str, list[dict[str, Any]]]:
        """The layers that an earlier, unfinished measurement completed."""
        layers = self.found.result.get("layers", {}) if self.found is not None else {}
        return {name: points for name, points in layers.items() if len(points) == levels}

    def put(self, result: Mapping[str, Any], *, complete: bool) -> Sensitivity:
        """Store the measurement as it stands."""
        return self._store.put_sensitivity(key=self.key, result=result, complete=complete, **self._parts)


class _KeepingProgress(Progress):
    """Stores what is measured every few seconds, and adds the layers of an earlier run to what is published."""

    def __init__(self, outer: Progress, keeper: _Keeper, finished: dict[str, list[dict[str, Any]]]) -> None:
        self._outer = outer
        self._keeper = keeper
        self._finished = finished
        self._last: Mapping[str, Any] | None = None
        self._kept = time.monotonic()

    def update(self, done: float, total: float, message: str = "") -> None:
        self._outer.update(done, total, message)

    def publish(self, partial: Mapping[str, Any]) -> None:
        self._last = _joined(partial, self._finished, [])
        self._outer.publish(self._last)
        if time.monotonic() - self._kept >= _SAVE_EVERY_S:
            self.keep()

    def check(self) -> None:
        self._outer.check()

    def keep(self) -> None:
        self._kept = time.monotonic()
        if self._last is not None and self._last.get("layers"):
            self._keeper.put(self._last, complete=False)


def _joined(
    result: Mapping[str, Any], finished: Mapping[str, list[dict[str, Any]]], order: list[str]
) -> dict[str, Any]:
    """``result`` with the layers of an earlier run, in the order of the network."""
    layers = {**finished, **result.get("layers", {})}
    names = [name for name in order if name in layers] or list(layers)
    return {**result, "layers": {name: layers[name] for name in names}}
