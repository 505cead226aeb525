"""Export a variant to ONNX, with the checks that belong to it."""

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...store import Variant
from . import JobContext, job_kind


@job_kind("export", lane="measure")
def export(payload: Mapping[str, Any], context: JobContext) -> dict[str, Any]:
    """Write a checked ONNX file of a variant.

    Payload: ``variant_id``, ``settings`` (OnnxSettings as JSON, optional). Result: ``measurement_id`` (kind "onnx"),
    ``artifact`` (a file, or a folder when the tensors lie beside the graph), ``filename``, ``passed``.
    """
    from ...export.onnx_file import OnnxSettings, export_onnx
    from .. import loading

    workspace, store = context.workspace, context.workspace.store
    settings = OnnxSettings.parse(payload.get("settings") or {})
    variant = store.get_variant(payload["variant_id"])
    filename = onnx_filename(variant)
    context.progress.update(0, 0, "Loading the variant")
    model = loading.load_model(workspace, variant.artifact, on="cpu")
    splits = loading.load_data(store.get_dataset(variant.data_id), progress=context.progress)
    with tempfile.TemporaryDirectory(prefix="espalier-") as name:
        folder = Path(name)
        report = export_onnx(
            model,
            folder / filename,
            settings=settings,
            metadata=_metadata(variant),
            splits=splits,
            progress=context.progress,
        )
        context.progress.check()
        files = [path for path in folder.iterdir() if path.is_file()]
        artifacts = workspace.artifacts
        artifact = artifacts.put_file(folder / filename) if len(files) == 1 else artifacts.put_folder(folder)
    # Paths of the temporary folder mean nothing to anybody.
    report = {key: value for key, value in report.items() if key not in ("path", "files")}
    measurement = store.add_measurement(
        variant_id=variant.id,
        kind="onnx",
        context={"settings": settings.to_json(), "job_id": context.job_id},
        result={**report, "artifact": artifact, "filename": filename},
    )
    return {
        "measurement_id": measurement.id,
        "artifact": artifact,
        "filename": filename,
        "passed": report.get("passed"),
    }


def onnx_filename(variant: Variant) -> str:
    """A file name made of the label, for any system: letters, digits, dot, dash and underscore only."""
    label = re.sub(r"[^A-Za-z0-9._-]+", "-", variant.name).strip("-.")[:60]
    if re.fullmatch(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", label, re.IGNORECASE):  # devices of Windows
        label = f"variant-{label}"
    return f"{label or 'variant'}.onnx"


def _metadata(variant: Variant) -> dict[str, Any]:
    return {
        "variant": variant.name,
        "variant_id": variant.id,
        "model": variant.model_id,
        "data": variant.data_id,
        "plan": variant.plan,
        "metrics": variant.metrics,
    }
