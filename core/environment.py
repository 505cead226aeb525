"""What the person who starts a process chooses for it, and its worker processes inherit: environment variables.

Knows no torch.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from .errors import EspalierError, ModelError

__all__ = ["DATA_ROOT", "DEVICE", "MODELS", "WORKSPACE", "configure", "device_choice", "register_models"]

WORKSPACE = "ESPALIER_WORKSPACE"
DATA_ROOT = "ESPALIER_DATA_ROOT"
DEVICE = "ESPALIER_DEVICE"
MODELS = "ESPALIER_MODELS"


def configure(
    *,
    workspace: Path | None = None,
    data_root: Path | None = None,
    device: str | None = None,
    models: Sequence[str] = (),
) -> None:
    """Write the choices into the environment; what is None keeps what the environment says.

    Raises:
        EspalierError: when the data root is no folder, a device is misspelt or a model file does not exist.
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
        os.environ[MODELS] = os.pathsep.join(_absolute(factory) for factory in models)
    register_models()


def device_choice() -> str:
    """The device that jobs compute on: "auto" unless chosen."""
    return os.environ.get(DEVICE) or "auto"


def register_models() -> None:
    """Register the factories named by ESPALIER_MODELS with the model source "python"."""
    factories = list(filter(None, os.environ.get(MODELS, "").split(os.pathsep)))
    if factories:
        from .models.sources.python import register_python_factory

        for factory in factories:
            register_python_factory(factory)


def _absolute(factory: str) -> str:
    """``my_models.py:build`` with an absolute path, because workers start in another folder."""
    name, colon, function = factory.rpartition(":")
    if not colon or not name.endswith(".py"):
        name, function = factory, ""
    path = Path(name).expanduser().absolute()
    if not path.is_file():
        raise ModelError(f"--models must name a Python file; there is none at {path}.")
    return f"{path}:{function}" if function else str(path)
