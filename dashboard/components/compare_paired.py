"""Variants against the dense model on the same examples, read from the stored evaluations. Needs no torch."""

import functools
from collections.abc import Sequence

from core.analysis.evaluation import Evaluation
from core.analysis.statistics import PairedComparison, compare_paired
from core.errors import EspalierError
from core.store.records import Variant
from dashboard import backend

__all__ = ["paired", "sentences"]


@functools.lru_cache(maxsize=256)
def _paired(dense: str, other: str, _workspace: str) -> PairedComparison | str:
    artifacts = backend.workspace().artifacts
    try:
        return compare_paired(Evaluation.load(artifacts.path(dense)), Evaluation.load(artifacts.path(other)))
    except EspalierError as error:
        return str(error)


def paired(dense: Variant | None, other: Variant) -> PairedComparison | str | None:
    """The paired comparison; a sentence where it cannot be made; None where there is nothing to compare."""
    if dense is None or other.id == dense.id or not dense.evaluation_artifact or not other.evaluation_artifact:
        return None
    return _paired(dense.evaluation_artifact, other.evaluation_artifact, str(backend.workspace().folder))


def sentences(dense: Variant | None, variants: Sequence[Variant]) -> dict[str, str]:
    """Variant id → what the comparison says in words."""
    found = {}
    for variant in variants:
        result = paired(dense, variant)
        if result is not None:
            found[variant.id] = result if isinstance(result, str) else result.sentence
    return found
