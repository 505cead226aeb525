"""What every variant carries: metrics on the select and test splits, per-example arrays, true file sizes."""

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..progress import SILENT, Progress
from ..store import Workspace

if TYPE_CHECKING:
    from ..analysis.evaluation import Evaluation
    from ..data.splits import SplitName, Splits
    from ..models.traced import TracedModel

__all__ = ["measured_variant"]


def measured_variant(
    model: "TracedModel", splits: "Splits", *, workspace: Workspace, progress: Progress = SILENT
) -> dict[str, Any]:
    """Evaluate and weigh a model: ``metrics``, ``evaluation_artifact`` (of the test split) and ``sizes``.

    Comparisons between variants are paired on the test images, whose per-example arrays are kept; select is what plans
    are chosen by, and needs its numbers only. ``images_per_s`` of each split is how fast the evaluation was here and
    then: from it the duration of a training is guessed before there is one to go by.
    """
    from ..analysis.cost import count_macs
    from ..export.sizes import file_sizes

    select, select_images_per_s = _timed(model, splits, "select", progress)
    test, test_images_per_s = _timed(model, splits, "test", progress)
    with tempfile.TemporaryDirectory(prefix="espalier-") as folder:
        path = Path(folder) / "evaluation.npz"
        test.save(path)
        artifact = workspace.artifacts.put_file(path)
    progress.check()
    return {
        "metrics": {
            "select": {**select.summary(), "images_per_s": select_images_per_s},
            "test": {**test.summary(), "images_per_s": test_images_per_s},
        },
        "evaluation_artifact": artifact,
        "sizes": {**file_sizes(model), "macs": count_macs(model)},
    }


def _timed(
    model: "TracedModel", splits: "Splits", split: "SplitName", progress: Progress
) -> "tuple[Evaluation, float]":
    from ..analysis.evaluation import evaluate

    started = time.perf_counter()
    found = evaluate(model, splits, split, progress=progress)
    return found, found.n / max(time.perf_counter() - started, 1e-9)
