"""What the person who starts a process chooses for it, and its worker processes inherit: environment variables.

Knows no torch.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from .errors import EspalierError
from .reach import CONFINED, DATA_ROOTS

__all__ = ["DEVICE", "JOB_MEMORY", "WORKSPACE", "configure", "device_choice", "job_memory_mb"]

WORKSPACE = "ESPALIER_WORKSPACE"
DEVICE = "ESPALIER_DEVICE"
JOB_MEMORY = "ESPALIER_JOB_MEMORY_MB"


_LEAST_MB = 1024


def configure(
    *,
    workspace: Path | None = None,
    data_roots: Sequence[Path] = (),
    confined: bool = False,
    device: str | None = None,
    job_memory_mb: int | None = None,
    models: Sequence[str] = (),
) -> None:
    """Write the choices into the environment; what is None, empty or False keeps what the environment says.

    Raises:
        EspalierError: when a data root is no folder, a device is misspelt, jobs get too little memory or a model file
            cannot be used.
    """
    if workspace is not None:
        os.environ[WORKSPACE] = str(workspace.expanduser().absolute())
    folders = [folder.expanduser().absolute() for folder in data_roots]
    for folder in folders:
        if not folder.is_dir():
            raise EspalierError(f"The data root must be a folder; there is none at {folder}.")
        if os.pathsep in str(folder):
            raise EspalierError(f"The path of a data root must not contain “{os.pathsep}”; got {folder}.")
    if folders:
        os.environ[DATA_ROOTS] = os.pathsep.join(map(str, folders))
    if confined:
        os.environ[CONFINED] = "1"
    if device is not None:
        if device != "auto" and device.split(":")[0] not in ("cpu", "cuda", "mps"):
            raise EspalierError(f"The device must be auto, cpu, cuda, cuda:<number> or mps; got “{device}”.")
        os.environ[DEVICE] = device
    if job_memory_mb is not None:
        if job_memory_mb < _LEAST_MB:
            raise EspalierError(f"A job needs {_LEAST_MB} MB at least to import PyTorch; got {job_memory_mb} MB.")
        os.environ[JOB_MEMORY] = str(job_memory_mb)
    if models:
        from .models.sources.python import register_python_factory

        for factory in models:
            # Written into the environment by the source itself, which workers read.
            register_python_factory(factory)


def device_choice() -> str:
    """The device that jobs compute on: "auto" unless chosen."""
    return os.environ.get(DEVICE) or "auto"


def job_memory_mb() -> int | None:
    """How much memory a worker may take, in MB; None: as much as there is."""
    chosen = os.environ.get(JOB_MEMORY, "")
    return int(chosen) if chosen.isdecimal() and int(chosen) > 0 else None
