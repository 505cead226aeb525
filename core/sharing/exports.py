"""The exported file of a variant, for those who may take it away. Knows no torch."""

from pathlib import Path

from ..store import Measurement, Workspace

__all__ = ["exported_file"]


def exported_file(workspace: Workspace, made: Measurement) -> Path:
    """Where the file (or the folder, where tensors lie beside the graph) of an ``onnx`` measurement is.

    Raises:
        AccessError: when the session is somebody else's.
        StoreError: when the file is missing or damaged.
    """
    workspace.store.check_take(workspace.store.get_variant(made.variant_id).session_id)
    return workspace.artifacts.path(str(made.result["artifact"]))
