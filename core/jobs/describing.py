"""A model as pages need it: the row with its layers, its weights in numbers, and its groups."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..progress import SILENT, Progress
from ..store import Model, Workspace

if TYPE_CHECKING:
    from ..models.traced import TracedModel

__all__ = ["store_model"]


def store_model(
    workspace: Workspace, model: "TracedModel", *, name: str, spec: dict[str, Any], progress: Progress = SILENT
) -> Model:
    """Describe a model, find its groups, and keep all of it under the model's fingerprint."""
    from ..analysis.describe import describe_model
    from ..analysis.weights import save_weight_statistics, weight_statistics
    from .grouping import write_groups

    description = describe_model(model)
    with tempfile.TemporaryDirectory(prefix="espalier-") as place:
        folder = Path(place)
        statistics = folder / "weights.npz"
        save_weight_statistics(weight_statistics(model), statistics)
        model.save(folder / "model")
        write_groups(model, folder / "model")
        progress.check()
        return workspace.store.add_model(
            id=model.fingerprint(),
            name=name,
            spec=spec,
            description=description,
            artifact=workspace.artifacts.put_folder(folder / "model"),
            weights_artifact=workspace.artifacts.put_file(statistics),
        )
