"""Labels inside an ONNX file (``metadata_props``): lineage and what a program needs to feed images to the network."""

import json
from collections.abc import Mapping
from importlib import metadata as packages
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx
from google.protobuf.message import DecodeError

from ..errors import ExportError

if TYPE_CHECKING:
    from ..models.traced import TracedModel

__all__ = ["labels_of", "read_metadata", "version", "write_labels"]

PREFIX = "espalier."


def version() -> str:
    """The installed version of this program."""
    try:
        return packages.version("espalier")
    except packages.PackageNotFoundError:
        return "unknown"


def labels_of(model: "TracedModel", metadata: Mapping[str, Any]) -> dict[str, str]:
    """JSON texts under ``espalier.…``: version, content_hash, task, input_shape, class_names, mean, std, ``metadata``.

    Raises:
        ExportError: when the metadata are no JSON.
    """
    known = {
        "version": version(),
        "content_hash": model.fingerprint(),
        "task": model.task,
        "input_shape": list(model.input_shape),
        **{key: model.origin.get(key) for key in ("class_names", "mean", "std")},
    }
    merged = {**{key: value for key, value in known.items() if value is not None}, **metadata}
    try:
        return {PREFIX + key: json.dumps(value, ensure_ascii=False, allow_nan=False) for key, value in merged.items()}
    except (TypeError, ValueError) as problem:
        raise ExportError(f"What is written into an ONNX file must be JSON: {problem}.") from None


def write_labels(proto: onnx.ModelProto, labels: Mapping[str, str]) -> None:
    """Replace the labels of ``proto``."""
    del proto.metadata_props[:]
    onnx.helper.set_model_props(proto, dict(labels))


def read_metadata(path: Path | str) -> dict[str, Any]:
    """What ``export_onnx`` wrote into the file beside the network, decoded; empty for files of other programs.

    Tensors outside the file are not touched.

    Raises:
        ExportError: when the file is missing, empty, damaged or no ONNX model.
    """
    file = Path(path)
    try:
        proto = onnx.load(str(file), load_external_data=False)
    except OSError as problem:
        raise ExportError(f"“{file.name}” cannot be read: {problem.strerror or problem}.") from None
    except DecodeError:
        raise ExportError(f"“{file.name}” is no ONNX model, or it is damaged.") from None
    if not proto.ir_version or not proto.graph.node:
        raise ExportError(f"“{file.name}” is no ONNX model, or it is empty.")
    found = {}
    for entry in proto.metadata_props:
        if entry.key.startswith(PREFIX):
            try:
                found[entry.key.removeprefix(PREFIX)] = json.loads(entry.value)
            except (ValueError, RecursionError):
                raise ExportError(f"The label “{entry.key[:80]}” of “{file.name}” is damaged.") from None
    return found
