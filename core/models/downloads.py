"""Fetch published weights: quick to say that there is no connection, cancellable, and never half a file. No torch."""

import hashlib
import os
import re
import tempfile
import threading
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path
from urllib.parse import urlparse

from ..errors import ModelError
from ..progress import SILENT, Progress

__all__ = ["fetch", "reachable"]

_CONNECT_SECONDS = 4.0
_STALL_SECONDS = 15.0


def reachable(url: str, *, seconds: float = _CONNECT_SECONDS) -> bool:
    """Whether a server answers at ``url``, decided within ``seconds`` (proxies of the environment are used)."""
    answered = threading.Event()

    def ask() -> None:
        request = urllib.request.Request(url, method="HEAD")
        try:
            with urllib.request.urlopen(request, timeout=seconds):
                answered.set()
        except urllib.error.HTTPError:
            answered.set()  # it refused, but it is there
        except (OSError, HTTPException, ValueError):
            pass

    # Name resolution has no timeout of its own: a daemon thread may be left behind with it.
    asking = threading.Thread(target=ask, name="reachable", daemon=True)
    asking.start()
    asking.join(seconds)
    return answered.is_set()


def fetch(url: str, target: Path, *, progress: Progress = SILENT) -> Path:
    """Download ``url`` to ``target`` unless it lies there already; atomic, checked against the hash in its name.

    PyTorch's weights carry the first digits of their SHA-256 in their name, as in ``resnet18-f37072fd.pth``.

    Raises:
        ModelError: no connection, a broken one, or other bytes than the name promises.
        Cancelled: the person cancelled.
    """
    if target.exists():
        return target
    if not reachable(url):
        raise ModelError(
            f"The weights {target.name} are not on this machine and cannot be downloaded: no connection to "
            f"{urlparse(url).hostname}. Put the file into {target.parent}, choose random weights, "
            "or open a checkpoint."
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=".download-")
    try:
        digest = hashlib.sha256()
        with os.fdopen(handle, "wb") as file, urllib.request.urlopen(url, timeout=_STALL_SECONDS) as answer:
            total_bytes = int(answer.headers.get("Content-Length") or 0)
            done_bytes = 0
            while block := answer.read(1 << 18):
                progress.check()
                file.write(block)
                digest.update(block)
                done_bytes += len(block)
                progress.update(done_bytes, max(total_bytes, done_bytes), f"Downloading {target.name}")
        promised = re.search(r"-([0-9a-f]{8,})\.", target.name)
        if done_bytes < total_bytes or (promised and not digest.hexdigest().startswith(promised[1])):
            raise ModelError(f"The download of {target.name} is incomplete or damaged. Try again.")
        os.replace(temporary, target)
    except (OSError, HTTPException) as error:
        raise ModelError(
            f"The download of {target.name} broke off: {error}. Try again, or open a checkpoint."
        ) from None
    finally:
        Path(temporary).unlink(missing_ok=True)
    return target
