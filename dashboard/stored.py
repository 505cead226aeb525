"""What a page reads of a stored model beside its row. Artifacts never change, so what was read is kept."""

import functools

from core.analysis.weights import LayerWeights, load_weight_statistics
from core.comb.sheet import FILE_NAME, GroupSheet
from core.store.records import Model, Sensitivity, Session

from . import backend

__all__ = ["best_sensitivity", "group_sheet", "weight_statistics"]


@functools.lru_cache(maxsize=8)
def _statistics(artifact: str, _workspace: str) -> dict[str, LayerWeights]:
    return load_weight_statistics(backend.workspace().artifacts.path(artifact))


def weight_statistics(model: Model) -> dict[str, LayerWeights]:
    """The weight statistics of every prunable layer, in execution order. Do not change what it returns."""
    return _statistics(model.weights_artifact, str(backend.workspace().folder))


@functools.lru_cache(maxsize=8)
def _sheet(artifact: str, _workspace: str) -> GroupSheet | None:
    path = backend.workspace().artifacts.path(artifact) / FILE_NAME
    return GroupSheet.load(path) if path.is_file() else None


def group_sheet(model: Model) -> GroupSheet | None:
    """The coupled groups of a model; None when it was opened by an Espalier that did not keep them.

    Raises:
        ModelError: when the stored groups are damaged.
    """
    return _sheet(model.artifact, str(backend.workspace().folder))


def best_sensitivity(session: Session) -> Sensitivity | None:
    """The newest complete measurement of layers for the session's model and data, else a partial one, else None."""
    if not session.model_id or not session.data_id:
        return None
    known = backend.store().sensitivities(session.model_id, session.data_id)
    found = sorted((row for row in known if row.result.get("layers")), key=lambda row: row.created)
    complete = [row for row in found if row.complete]
    candidates = complete or found
    return candidates[-1] if candidates else None
