"""What a bundle is: a ``.zip`` of plain files, and a manifest with the SHA-256 of each.

```
manifest.json                         format, versions, and every other file with its SHA-256 and size
README.txt                            what this is, and how it is opened
session.json                          the snapshot: rows, plans, measurements
artifacts/<id>/folder/graph.json      a model: its graph as data …
artifacts/<id>/folder/weights.safetensors   … and its tensors
artifacts/<id>/file.onnx, file.npz    exports; arrays of evaluations, histograms and images
```

There is no pickle in it and no path of the machine that wrote it. An artifact's id is the SHA-256 of its content.
"""

import json
import re
from collections.abc import Callable
from typing import Any

from pydantic import Field

from ..errors import StoreError
from ..settings import Settings
from .snapshot import Hash

__all__ = ["ALLOWED", "BUNDLE_VERSION", "MANIFEST", "README", "SESSION", "FileEntry", "Manifest", "read_manifest"]

BUNDLE_VERSION = 1
FORMAT = "espalier-bundle"
MANIFEST, SESSION, README = "manifest.json", "session.json", "README.txt"

_PART = r"[A-Za-z0-9][A-Za-z0-9_-]{0,60}(?:\.[A-Za-z0-9_-]{1,60}){0,4}"
_KINDS = r"\.(?:json|safetensors|npz|onnx|data|onnx\.data)"
ALLOWED = re.compile(
    rf"manifest\.json|session\.json|README\.txt|artifacts/[0-9a-f]{{64}}/(?:file{_KINDS}|folder/(?=[^/]*{_KINDS}$){_PART})"
)
"""Every name that a file of a bundle may have."""


class FileEntry(Settings):
    """One file of the bundle."""

    sha256: Hash
    size_bytes: int = Field(ge=0)


class Manifest(Settings):
    """The list of files, and who wrote it."""

    format: str
    version: int = Field(ge=1)
    espalier: str = Field(default="", max_length=60)
    created: str = Field(max_length=60)
    files: dict[str, FileEntry]


# From an older version of manifest and session to the next one.
_UPGRADES: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}


def read_manifest(data: bytes) -> Manifest:
    """The manifest of a bundle of this version or an older one.

    Raises:
        StoreError: for another format, a newer version, unknown fields.
    """
    try:
        body = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise StoreError(f"The manifest of the bundle is not JSON ({str(error)[:80]}).") from None
    if not isinstance(body, dict) or body.get("format") != FORMAT:
        raise StoreError("This zip file is not a bundle of Espalier: its manifest does not say so.")
    version = body.get("version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise StoreError(f"The bundle says that its version is {str(version)[:20]!r}; it is damaged.")
    if version > BUNDLE_VERSION:
        raise StoreError(
            f"This bundle was made with bundle version {version} (Espalier {str(body.get('espalier'))[:20]}), this is "
            f"version {BUNDLE_VERSION}; update Espalier to open it."
        )
    for step in range(version, BUNDLE_VERSION):
        body = _UPGRADES[step](body)
    return Manifest.parse(body, error=StoreError)
