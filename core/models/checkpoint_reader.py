"""Read checkpoints in a limited process of their own, which hands back safetensors and a few words.

``read_confined`` is the caller's side; ``main`` is the process: ``python -m core.models.checkpoint_reader``. Neither
unpickles: see pickle_reader. Knows no torch.
"""

import json
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..confinement import Ending, Limits, confine, limits_from, run_confined
from ..errors import CheckpointError, EspalierError
from ..progress import SILENT, Progress
from .checkpoint_files import examine, shown
from .rewriting import write_safetensors
from .unwrapping import tensors_of, without_prefixes

__all__ = ["Reading", "read_confined", "rewrite"]

_WEIGHTS, _FACTS = "weights.safetensors", "facts.json"
_BASE_BYTES = 400_000_000  # an interpreter with NumPy, and the largest table of contents that is read
_MAX_FACTS_BYTES = 200_000_000
_BASE_CPU_S = 20
_CPU_S_PER_GB = 30


@dataclass(frozen=True)
class Reading:
    """What the reader made of a file: safetensors, the names of their tensors in order, and what was done.

    ``names`` None: the file was safetensors already, found whole, and speaks for itself.
    """

    weights: Path
    names: tuple[str, ...] | None
    notes: tuple[str, ...]


def read_confined(path: Path, folder: Path, *, progress: Progress = SILENT) -> Reading:
    """Let a limited process read ``path`` and write what it found into ``folder``.

    Raises:
        CheckpointError: the file is missing, empty, damaged, too large, unsafe or no checkpoint; or reading it took
            more memory or time than any honest file of its size.
        Cancelled: the person cancelled.
    """
    limits = _limits(path)
    ending = run_confined(__name__, [str(path.absolute())], limits, folder=folder, progress=progress)
    if ending.code != 0:
        raise CheckpointError(_ended(shown(path.name), ending, limits))
    facts = _facts(folder / _FACTS, shown(path.name))
    if "error" in facts:
        raise CheckpointError(facts["error"])
    names = facts["names"]
    return Reading(
        path if names is None else folder / _WEIGHTS, None if names is None else tuple(names), tuple(facts["notes"])
    )


def rewrite(path: Path, folder: Path) -> Reading:
    """Examine a file and write its tensors into ``folder``, in this process.

    Raises:
        CheckpointError: as ``read_confined``, but for the limits.
    """
    file = examine(path)
    notes = list(file.notes)
    if file.kind == "safetensors":
        return Reading(path, None, tuple(notes))
    tensors = tensors_of(file, notes)
    names = without_prefixes(list(tensors), notes)
    try:
        write_safetensors(file, tensors.values(), folder / _WEIGHTS)
    except OSError as error:
        raise CheckpointError(
            f"The checkpoint {file.label} could not be read: its copy cannot be written ({error.strerror or error})."
        ) from None
    return Reading(folder / _WEIGHTS, tuple(names), tuple(notes))


def main(arguments: list[str]) -> None:
    """The process: limits, then the file, then what came of it in ``facts.json`` of the current folder."""
    confine(limits_from(arguments[0]))
    path = Path(arguments[1])
    facts: dict[str, Any]
    try:
        reading = rewrite(path, Path.cwd())
        facts = {"names": reading.names, "notes": reading.notes}
    except EspalierError as error:
        facts = {"error": str(error)}
    except (MemoryError, RecursionError):
        facts = {"error": _too_much(shown(path.name), "memory")}
    Path(_FACTS).write_text(json.dumps(facts), "utf-8")


def _limits(path: Path) -> Limits:
    label = shown(path.name)
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise CheckpointError(f"The checkpoint {label} cannot be read: {reason}.") from None
    if not path.is_file():
        kind = "Is a directory" if path.is_dir() else "It is no regular file"
        raise CheckpointError(f"The checkpoint {label} cannot be read: {kind}.")
    size_bytes = status.st_size
    _check_memory(size_bytes, label)
    cpu_s = _BASE_CPU_S + int(size_bytes / 1e9 * _CPU_S_PER_GB)
    return Limits(
        memory_bytes=_BASE_BYTES + 2 * size_bytes,
        file_bytes=_MAX_FACTS_BYTES + 4 * size_bytes,
        cpu_s=cpu_s,
        wall_s=60.0 + 20 * cpu_s,  # at low priority on a busy machine
    )


def _check_memory(size_bytes: int, label: str) -> None:
    import psutil

    free_bytes = psutil.virtual_memory().available
    if 2 * size_bytes > free_bytes:
        raise CheckpointError(
            f"The checkpoint {label} has {size_bytes / 1e9:.1f} GB, and loading it takes twice as much memory; "
            f"{free_bytes / 1e9:.1f} GB are free on this machine."
        )


def _facts(path: Path, label: str) -> dict[str, Any]:
    """What the process says, which is not trusted either."""
    try:
        if path.stat().st_size > _MAX_FACTS_BYTES:
            raise ValueError("too long")
        facts = json.loads(path.read_text("utf-8"))
        if "error" not in facts and not (facts["names"] is None or isinstance(facts["names"], list)):
            raise ValueError("no names")
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise CheckpointError(
            f"The checkpoint {label} was not loaded: the process that read it gave no answer that can be understood."
        ) from None
    return facts


def _ended(label: str, ending: Ending, limits: Limits) -> str:
    if ending.out_of_time:
        return _too_much(label, f"time ({limits.cpu_s} s of a processor)")
    if ending.code < 0:
        name = signal.Signals(-ending.code).name
        return f"The checkpoint {label} was not loaded: the separate process that read it crashed ({name})."
    return f"The checkpoint {label} was not loaded: the separate process that read it failed (exit code {ending.code})."


def _too_much(label: str, what: str) -> str:
    return (
        f"The checkpoint {label} was not loaded: reading it takes more {what} than any honest file of its size. "
        "Save only model.state_dict(), or use .safetensors."
    )


if __name__ == "__main__":
    main(sys.argv[1:])
