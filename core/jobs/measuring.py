"""What every variant carries: metrics on the select and test splits, per-example arrays, true file sizes."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..progress import SILENT, Progress
from ..store import Workspace

if TYPE_CHECKING:
    from ..data.splits import Splits
    from ..models.traced import TracedModel

__all__ = ["measured_variant"]


def measured_variant(
    model: "TracedModel", splits: "Splits", *, workspace: Workspace, progress: Progress = SILENT
) -> dict[str, Any]:
    """Evaluate and weigh a model: ``metrics``, ``evaluation_artifact`` (of the test split) and ``sizes``.

    Comparisons between variants are paired on the test images, whose per-example arrays are kept; select is what plans
    are chosen by, and needs its numbers only.
    """
    from ..analysis.cost import count_macs
    from ..analysis.evaluation import evaluate
    from ..export.sizes import file_sizes

    select = evaluate(model, splits, "select", progress=progress)
    test = evaluate(model, splits, "test", progress=progress)
    with tempfile.TemporaryDirectory(prefix="espalier-") as folder:
        path = Path(folder) / "evaluation.npz"
        test.save(path)
        artifact = workspace.artifacts.put_file(path)
    progress.check()
    return {
        "metrics": {"select": select.summary(), "test": test.summary()},
        "evaluation_artifact": artifact,
        "sizes": {**file_sizes(model), "macs": count_macs(model)},
    }
