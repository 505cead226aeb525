"""What is installed, what this machine has, and whether the workspace can be used. Knows no torch by itself."""

import importlib.metadata
import importlib.util
import platform
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from .analysis.machine import available_cores, cpu_features, cpu_name
from .data.roots import data_roots
from .environment import device_choice
from .errors import EspalierError
from .jobs.resources import worker_threads
from .store.workspace import Workspace, default_folder

__all__ = ["examine"]

REQUIRED = ("torch", "torchvision", "streamlit", "onnx", "numpy", "sqlalchemy")
OPTIONAL = {
    "onnxruntime": "latency is measured in PyTorch only and exports are not compared",
    "openvino": "latency is not measured in OpenVINO: pip install openvino",
    "timm": "models of timm cannot be opened: pip install timm",
}
LOW_DISK_BYTES = 1 << 30


def examine(workspace: Path | None = None, *, import_torch: bool = True) -> dict[str, Any]:
    """Look at everything a bug report or a new machine needs.

    ``import_torch`` also asks torch for devices, which takes seconds.

    Returns:
        JSON: ``versions``, ``machine``, ``torch`` (None when not asked), ``optional`` (name → version, or what is
        missing without it), ``workspace``, ``problems`` (sentences; empty when all is well) and ``ok``.
    """
    problems: list[str] = []
    versions = {name: _version(name) for name in REQUIRED}
    problems += [f"{name} is not installed: pip install {name}." for name, version in versions.items() if not version]
    report: dict[str, Any] = {
        "espalier": _version("espalier") or "checkout",
        "python": platform.python_version(),
        "executable": sys.executable,
        "versions": versions,
        "optional": {
            name: {"version": _version(name), "without": None if _version(name) else consequence}
            for name, consequence in OPTIONAL.items()
        },
        "machine": {
            "system": platform.platform(),
            "cpu": cpu_name(),
            "features": cpu_features(),
            "cores": available_cores(),
            "worker_threads": worker_threads(),
            "device": device_choice(),
        },
        "torch": _torch(problems) if import_torch and versions["torch"] else None,
        "workspace": _workspace(workspace, problems),
        "data_roots": _data_roots(problems),
    }
    return {**report, "problems": problems, "ok": not problems}


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _torch(problems: list[str]) -> dict[str, Any] | None:
    started = time.perf_counter()
    try:
        import torch
    except Exception as error:
        problems.append(f"torch is installed but cannot be imported ({error}); install it again.")
        return None
    devices = ["cpu"]
    if torch.cuda.is_available():
        devices += [f"cuda:{i} ({torch.cuda.get_device_name(i)})" for i in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        devices.append("mps")
    wanted = device_choice().split(":")[0]
    if wanted not in ("auto", "cpu") and not any(name.startswith(wanted) for name in devices):
        problems.append(f"The chosen device {wanted} is not there; torch sees {', '.join(devices)}.")
    return {
        "devices": devices,
        "threads": torch.get_num_threads(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "import_s": round(time.perf_counter() - started, 1),
    }


def _workspace(chosen: Path | None, problems: list[str]) -> dict[str, Any]:
    folder = chosen or default_folder()
    report: dict[str, Any] = {"folder": str(folder), "writable": False, "database": False}
    try:
        with Workspace.open(folder) as workspace:
            sessions = len(workspace.store.list_sessions(limit=10_000))
            report |= {"writable": True, "database": True, "sessions": sessions, "notice": workspace.notice}
            if workspace.notice:
                problems.append(workspace.notice)
    except EspalierError as error:
        problems.append(str(error))
    free = _free_bytes(folder)
    report["free_bytes"] = free
    if free is not None and free < LOW_DISK_BYTES:
        problems.append(f"Only {free / 1e6:.0f} MB are free on the disk of {folder}; results may not fit.")
    return report


def _free_bytes(folder: Path) -> int | None:
    place = folder.absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        return shutil.disk_usage(place).free
    except OSError:
        return None


def _data_roots(problems: list[str]) -> list[str]:
    problems += [f"The data root {root} is no folder." for root in data_roots() if not root.is_dir()]
    return [str(root) for root in data_roots()]
