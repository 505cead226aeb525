"""Answers of probes, kept on this machine: the same question need not be timed twice. Knows no torch."""

import json
import tempfile
from pathlib import Path
from typing import Any

from .machine import cache_folder

__all__ = ["ProbeCache"]

_ENTRIES_AT_MOST = 200


class ProbeCache:
    """Key (``probe_key``) → result, in one JSON file of the user's cache folder. It is only a cache: a file that is
    damaged is empty, and one that cannot be written is not written."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or cache_folder() / "probes.json"

    def get(self, key: str) -> dict[str, Any] | None:
        """The answer, or None."""
        found = self._read().get(key)
        return found if isinstance(found, dict) and "rows" in found else None

    def put(self, result: dict[str, Any]) -> None:
        """Keep an answer; one of a busy machine is not worth keeping."""
        if result.get("busy"):
            return
        entries = {**self._read(), str(result["key"]): result}
        kept = dict(list(entries.items())[-_ENTRIES_AT_MOST:])
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile("w", dir=self.path.parent, suffix=".tmp", delete=False) as file:
                json.dump(kept, file)
            Path(file.name).replace(self.path)
        except OSError:
            return

    def _read(self) -> dict[str, Any]:
        try:
            body = json.loads(self.path.read_text())
        except (OSError, ValueError):
            return {}
        return body if isinstance(body, dict) else {}
