"""Measure how much each layer suffers at each sparsity; what was measured is kept and continued."""

import hashlib
import json
import time
from collections.abc import Mapping
from typing import Any

from ...progress import Progress
from ...store import Sensitivity, Workspace
from . import JobContext, job_kind

# An interrupted measurement (kill -9) loses at most this much.
_SAVE_EVERY_S = 10.0
_VERSION = 2  # of what is measured under the same settings


@job_kind("sensitivity")
def sensitivity(payload: Mapping[str, Any], context: JobContext) -> dict[str, Any]:
    """Measure the sensitivity of the session's model on its data, of its layers or groups. Cached by content.

    Payload: ``settings`` (SensitivitySettings as JSON, optional). Result: ``sensitivity_id``. Partial: the JSON of
    ``measure_sensitivity`` so far. A cancelled measurement keeps its settled cells; the next one continues from them.
    """
    from ...analysis.sensitivity import SensitivitySettings, measure_sensitivity
    from .. import loading

    workspace = context.workspace
    _, dense = loading.session_parts(workspace, context.session_id)
    settings = SensitivitySettings.parse(payload.get("settings") or {})
    keeper = _Keeper(workspace, model_id=dense.model_id, data_id=dense.data_id, settings=settings.to_json())
    if keeper.found is not None and keeper.found.complete:
        return {"sensitivity_id": keeper.found.id}

    context.progress.update(0, 0, "Loading the model and the data")
    model = loading.load_model(workspace, dense.artifact)
    splits = loading.load_data(workspace.store.get_dataset(dense.data_id), progress=context.progress)
    progress = _KeepingProgress(context.progress, keeper)
    try:
        result = measure_sensitivity(
            model, splits, settings, previous=keeper.found.result if keeper.found else None, progress=progress
        )
    finally:
        # Also after a cancel or a failure: the next measurement continues from here.
        progress.keep()
    return {"sensitivity_id": keeper.put(result, complete=True).id}


def keep_sensitivity(workspace: Workspace, result: Mapping[str, Any], *, model_id: str, data_id: str) -> None:
    """Store a complete measurement that another job took on its way, as if it had been asked for."""
    _Keeper(workspace, model_id=model_id, data_id=data_id, settings=dict(result["settings"])).put(result, complete=True)


class _Keeper:
    """The row of one measurement, by the content of model, data and settings."""

    def __init__(self, workspace: Workspace, *, model_id: str, data_id: str, settings: dict[str, Any]) -> None:
        self._store = workspace.store
        self._parts: dict[str, Any] = {"model_id": model_id, "data_id": data_id, "settings": settings}
        content = json.dumps({"version": _VERSION, **self._parts}, sort_keys=True)
        self.key = hashlib.sha256(content.encode()).hexdigest()
        self.found: Sensitivity | None = self._store.find_sensitivity(self.key)

    def put(self, result: Mapping[str, Any], *, complete: bool) -> Sensitivity:
        """Store the measurement as it stands."""
        return self._store.put_sensitivity(key=self.key, result=result, complete=complete, **self._parts)


class _KeepingProgress(Progress):
    """Stores what has been measured every few seconds."""

    def __init__(self, outer: Progress, keeper: _Keeper) -> None:
        self._outer = outer
        self._keeper = keeper
        self._unkept: Mapping[str, Any] | None = None
        self._kept = time.monotonic()

    def update(self, done: float, total: float, message: str = "") -> None:
        self._outer.update(done, total, message)

    def publish(self, partial: Mapping[str, Any]) -> None:
        self._unkept = partial
        self._outer.publish(partial)
        if time.monotonic() - self._kept >= _SAVE_EVERY_S:
            self.keep()

    def check(self) -> None:
        self._outer.check()

    def keep(self) -> None:
        """Store what was published last, unless it is stored."""
        self._kept = time.monotonic()
        if self._unkept is not None and (self._unkept.get("layers") or self._unkept.get("groups")):
            self._keeper.put(self._unkept, complete=False)
        self._unkept = None
