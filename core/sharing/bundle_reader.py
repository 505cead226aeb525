"""Read bundles in a limited process of their own, which hands back checked files and a few words.

``read_confined`` is the caller's side; ``main`` is the process: ``python -m core.sharing.bundle_reader``. A bundle
holds no code, but it makes the machine build models: one that would take all of its memory or its day ends here.
"""

import json
import signal
import sys
from pathlib import Path

from ..confinement import Ending, Limits, confine, limits_from, run_confined
from ..errors import EspalierError, ModelError, StoreError
from ..progress import SILENT, Progress
from .archive import MAX_UNPACKED_BYTES
from .reading import TEXT_BYTES, read_bundle
from .snapshot import Snapshot

__all__ = ["read_confined"]

_SNAPSHOT, _ERROR = "snapshot.json", "error.json"
_BASE_BYTES = 1_500_000_000  # an interpreter with PyTorch
_BASE_CPU_S = 60
_CPU_S_PER_GB = 60
_MOST_ERROR_BYTES = 100_000


def read_confined(path: Path, folder: Path, *, progress: Progress = SILENT) -> Snapshot:
    """Let a limited process read the bundle at ``path`` and unpack it into ``folder``; see ``read_bundle``.

    Raises:
        StoreError: the bundle is refused, or reading it took more memory or time than any honest one of its size.
        ModelError: a model in it cannot be loaded.
        Cancelled: the person cancelled.
    """
    limits = _limits(path)
    ending = run_confined(__name__, [str(path.absolute())], limits, folder=folder, progress=progress)
    if ending.code != 0:
        raise StoreError(_ended(ending, limits))
    _raise_refusal(folder / _ERROR)
    try:
        if (folder / _SNAPSHOT).stat().st_size > 2 * TEXT_BYTES:
            raise ValueError("too long")
        body = json.loads((folder / _SNAPSHOT).read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        raise StoreError("The bundle was not opened: the process that read it gave no answer.") from None
    return Snapshot.parse(body, error=StoreError)


def main(arguments: list[str]) -> None:
    """The process: limits, then the bundle, then what came of it in files of the current folder."""
    confine(limits_from(arguments[0]))
    refused: dict[str, str] = {}
    try:
        snapshot = read_bundle(Path(arguments[1]), Path.cwd())
        Path(_SNAPSHOT).write_text(json.dumps(snapshot.to_json(), ensure_ascii=False, allow_nan=False), "utf-8")
    except EspalierError as error:
        refused = {"error": str(error), "model": "yes" if isinstance(error, ModelError) else ""}
    except (MemoryError, RecursionError):
        refused = {"error": _too_much("memory")}
    except RuntimeError as error:  # what PyTorch raises when there is no memory
        if "memory" not in str(error):
            raise
        refused = {"error": _too_much("memory")}
    if refused:
        Path(_ERROR).write_text(json.dumps(refused), "utf-8")


def _limits(path: Path) -> Limits:
    try:
        size_bytes = path.stat().st_size
    except OSError as error:
        raise StoreError(f"There is no bundle at {path} ({error.strerror or error}).") from None
    cpu_s = _BASE_CPU_S + int(size_bytes / 1e9 * _CPU_S_PER_GB)
    return Limits(
        memory_bytes=_BASE_BYTES + 8 * size_bytes,
        file_bytes=MAX_UNPACKED_BYTES,
        cpu_s=cpu_s,
        wall_s=60.0 + 20 * cpu_s,  # at low priority on a busy machine
        counts_maps=False,
    )


def _raise_refusal(file: Path) -> None:
    """What the process says against the bundle; its words are not trusted to be few."""
    if not file.exists():
        return
    try:
        refused = json.loads(file.read_bytes()[:_MOST_ERROR_BYTES])
        words, kind = str(refused["error"]), ModelError if refused.get("model") else StoreError
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        words, kind = "The bundle was not opened: the process that read it gave no answer.", StoreError
    raise kind(words)


def _ended(ending: Ending, limits: Limits) -> str:
    if ending.out_of_time:
        return _too_much(f"time ({limits.cpu_s} s of a processor)")
    how = f"crashed ({signal.Signals(-ending.code).name})" if ending.code < 0 else f"failed (exit code {ending.code})"
    return f"The bundle was not opened: the separate process that read it {how}."


def _too_much(what: str) -> str:
    return f"The bundle was not opened: reading it takes more {what} than any honest bundle of its size."


if __name__ == "__main__":
    main(sys.argv[1:])
