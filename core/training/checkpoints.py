"""Checkpoints of a training run: one folder, one complete generation in it, replaced atomically after every epoch.

A generation is a folder ``epoch-000012`` with ``state.pt`` (tensors and plain values, read with ``weights_only``) and,
when the run has replaced its model by a smaller one, that model's ``model/``. It is written under a temporary name,
made durable and renamed: a reader finds the whole of it or the one before. Importing this needs no torch.
"""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import StoreError

if TYPE_CHECKING:
    from ..models.traced import TracedModel

__all__ = ["Checkpoints"]

_PREFIX = "epoch-"
_TEMPORARY = ".writing-"


class Checkpoints:
    """Where one run keeps its last epoch. A run that is given a folder with a checkpoint continues from it."""

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)

    @property
    def exists(self) -> bool:
        """Whether there is a complete checkpoint to continue from."""
        return self._newest() is not None

    @property
    def epoch(self) -> int | None:
        """Epochs (counted over all stages) that the checkpoint holds; None when there is none."""
        newest = self._newest()
        return None if newest is None else _number(newest)

    def clear(self) -> None:
        """Delete everything: the next run starts anew."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def save(self, epoch: int, state: Mapping[str, Any], model: "TracedModel | None" = None) -> None:
        """Replace the checkpoint by this one.

        Args:
            epoch: epochs done, counted over all stages.
            state: nested dicts and lists of tensors, numbers, strings, bools and None.
            model: the structure, when it is not the one that the run began with.

        Raises:
            StoreError: when it cannot be written (disk full, …); the checkpoint before is intact.
        """
        import torch

        target = self.folder / f"{_PREFIX}{epoch:06d}"
        temporary = self.folder / f"{_TEMPORARY}{os.getpid()}"
        with _in_words(self.folder):
            for folder in (self.folder.parent, self.folder):  # no further up: a workspace that is gone stays gone
                folder.mkdir(exist_ok=True)
            shutil.rmtree(temporary, ignore_errors=True)
            try:
                temporary.mkdir()
                with (temporary / "state.pt").open("wb") as file:
                    torch.save(dict(state), file)
                if model is not None:
                    model.save(temporary / "model")
                _make_durable(temporary)
                if target.exists():  # the same epoch again: the old one leaves in one step, and this one comes
                    target.rename(self.folder / f"{_TEMPORARY}old-{os.getpid()}")
                temporary.rename(target)
                _sync(self.folder)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
        for other in self.folder.iterdir():
            if other != target:
                shutil.rmtree(other, ignore_errors=True)

    def load(self) -> "tuple[dict[str, Any], TracedModel | None]":
        """The state, its tensors on the CPU, and the model's structure where ``save`` got one.

        Raises:
            StoreError: when there is none, or it is damaged.
        """
        import torch

        from ..models.traced import TracedModel

        newest = self._newest()
        if newest is None:
            raise StoreError(f"There is no checkpoint in {self.folder}; start the run anew.")
        try:
            state = torch.load(newest / "state.pt", map_location="cpu", weights_only=True)
            model = TracedModel.load(newest / "model") if (newest / "model").is_dir() else None
        except Exception as error:  # whatever a damaged file raises inside torch
            raise StoreError(
                f"The checkpoint {newest} is damaged ({str(error).splitlines()[0][:120] if str(error) else error!r}): "
                "delete it and start the run anew."
            ) from error
        return state, model

    def _newest(self) -> Path | None:
        if not self.folder.is_dir():
            return None
        found = [
            path for path in self.folder.iterdir() if path.name.startswith(_PREFIX) and (path / "state.pt").is_file()
        ]
        return max(found, key=_number, default=None)


def _number(folder: Path) -> int:
    digits = folder.name.removeprefix(_PREFIX)
    return int(digits) if digits.isdigit() else -1


@contextmanager
def _in_words(folder: Path) -> Iterator[None]:
    """Torch reports a full disk as RuntimeError: both become one sentence."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0][:160]
        raise StoreError(
            f"The checkpoint of this run cannot be written to {folder} ({reason}); the one before is intact. Free some "
            "space and continue the run."
        ) from error


def _make_durable(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
    _sync(folder)


def _sync(folder: Path) -> None:
    """Make names inside ``folder`` durable; systems that cannot open folders (Windows) do without."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
