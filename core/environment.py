"""What the person who starts a process chooses for it, and its worker processes inherit: environment variables.

Knows no torch.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from .errors import EspalierError

__all__ = ["DATA_ROOT", "DEVICE", "WORKSPACE", "configure", "device_choice"]

WORKSPACE = "ESPALIER_WORKSPACE"
DATA_ROOT = "ESPALIER_DATA_ROOT"
DEVICE = "ESPALIER_DEVICE"


def configure(
    *,
    workspace: Path | None = None,
    data_root: Path | None = None,
    device: str | None = None,
    models: Sequence[str] = (),
) -> None:
    """Write the choices into the environment; what is None keeps what the environment says.

    Raises:
        EspalierError: when the data root is no folder, a device is misspelt or a model file cannot be used.
    """
    if workspace is not None:
        os.environ[WORKSPACE] = str(workspace.expanduser().absolute())
    if data_root is not None:
        folder = data_root.expanduser().absolute()
        if not folder.is_dir():
            raise EspalierError(f"The data root must be a folder; there is none at {folder}.")
        os.environ[DATA_ROOT] = str(folder)
    if device is not None:
        if device != "auto" and device.split(":")[0] not in ("cpu", "cuda", "mps"):
            raise EspalierError(f"The device must be auto, cpu, cuda, cuda:<number> or mps; got “{device}”.")
        os.environ[DEVICE] = device
    if models:
        from .models.sources.python import register_python_factory

        for factory in models:
            # Written into the environment by the source itself, which workers read.
            register_python_factory(factory)


def device_choice() -> str:
    """The device that jobs compute on: "auto" unless chosen."""
    return os.environ.get(DEVICE) or "auto"
