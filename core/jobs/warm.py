"""What a worker imports before its first job, so that the job starts at once."""

import importlib
import traceback

__all__ = ["import_rooms"]

_ROOMS = (
    "torchvision.models",
    "core.models.opening",
    "core.data.opening",
    "core.analysis.evaluation",
    "core.analysis.sensitivity",
    "core.methods",
    "core.training.loop",
    "core.export.sizes",
)


def import_rooms(*, threads: int = 0) -> None:
    """Import torch and the rooms that jobs use; ``threads`` > 0 sets torch's threads per operation."""
    import torch

    if threads > 0:
        torch.set_num_threads(threads)
    for room in _ROOMS:
        try:
            importlib.import_module(room)
        except Exception:
            # The job that needs the room will fail with the reason; the others go on.
            traceback.print_exc()
