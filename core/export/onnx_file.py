"""A model as one ONNX file: exported, checked, compared with PyTorch in ONNX Runtime, and labelled with its lineage."""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx
from torch import Tensor, fx

from ..errors import ExportError
from ..progress import SILENT, Progress
from ..pruning.patterns import Pattern, fulfils
from . import onnx_exporters
from .onnx_labels import labels_of, read_metadata, version, write_labels
from .onnx_parity import compare_with_pytorch, parity_images
from .onnx_patterns import patterned_layers
from .onnx_settings import DEFAULT_OPSET, SUPPORTED_OPSETS, OnnxSettings

if TYPE_CHECKING:
    from ..data.splits import Splits
    from ..models.traced import TracedModel

__all__ = ["DEFAULT_OPSET", "SUPPORTED_OPSETS", "OnnxSettings", "export_onnx", "read_metadata"]

SINGLE_FILE_BYTES = 1_500_000_000
"""Above this, tensors lie beside the graph: a single file ends at protobuf's 2 GB."""


def export_onnx(
    model: "TracedModel",
    path: Path | str,
    *,
    settings: OnnxSettings | None = None,
    metadata: Mapping[str, Any] | None = None,
    splits: "Splits | None" = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Write ``model`` to ``path`` and say how well the file agrees with it.

    The graph takes ``images`` [N, C, H, W] (float32, normalised) and returns ``logits`` ([N, classes], or
    [N, classes, H, W] for segmentation; only the main output). ``metadata`` (JSON-serialisable: plan, metrics, …) is
    written into the file next to version, content hash, class names and normalisation; ``read_metadata`` reads it back.
    Images come from the test split of ``splits``, or are seeded noise without one. Files appear at their place only
    when they are complete; above 1.5 GB the tensors lie beside the graph in ``<name>.data``.

    Returns:
        JSON: path, files, size_bytes (of all files), opset, exporter, nodes, checker, max_abs_difference,
        relative_difference, tolerance, top1_agreement, n, batch_sizes, images ("test split" or "noise"), passed,
        problems and notes (sentences), pattern_layers (of the file) and pattern_layers_of_model: layers with 2:4 zeros.
        What was not checked is None.

    Raises:
        ExportError: when no exporter can express the model at this opset (it names the operation), when the metadata
            are no JSON, or when the file cannot be written.
    """
    settings = settings or OnnxSettings()
    target = Path(path)
    labels = labels_of(model, metadata or {})
    images, source = parity_images(model, splits, count=settings.images)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".onnx-", dir=target.parent) as folder:
            report = _best_of(model, Path(folder), target.name, images, settings, labels, progress)
            files = _move(Path(report.pop("folder")), target)
    except OSError as problem:
        raise ExportError(f"“{target.name}” could not be written: {problem.strerror or problem}.") from problem
    progress.update(1, 1, "Exported")
    del report["comparable"]
    return report | {"path": str(target), "files": [str(file) for file in files], "images": source}


def _best_of(
    model: "TracedModel",
    folder: Path,
    name: str,
    images: Tensor,
    settings: OnnxSettings,
    labels: Mapping[str, str],
    progress: Progress,
) -> dict[str, Any]:
    """The report of the first exporter whose file passes, else of the first that wrote one; files are in ``folder``."""
    on_cpu = model if _is_on_cpu(model) else model.clone().to("cpu")
    graph = onnx_exporters.main_output_graph(on_cpu)
    beside = sum(tensor.numel() * tensor.element_size() for tensor in graph.state_dict().values()) > SINGLE_FILE_BYTES
    reports: list[dict[str, Any]] = []
    notes: list[str] = []
    failures: list[ExportError] = []
    exporters = ("dynamo",) if beside else tuple(onnx_exporters.EXPORTERS)
    for step, exporter in enumerate(exporters):
        progress.check()
        progress.update(step, len(exporters), f"Exporting ({exporter})")
        draft = folder / exporter / name
        draft.parent.mkdir()
        try:
            nodes = _write(graph, images, draft, exporter=exporter, settings=settings, labels=labels, beside=beside)
        except ExportError as failure:
            failures.append(failure)
            notes.append(f"PyTorch's {exporter} exporter gave up: {failure}")
            continue
        report = {"opset": settings.opset, "exporter": exporter, "nodes": nodes, "folder": str(draft.parent)}
        report["size_bytes"] = sum(file.stat().st_size for file in draft.parent.iterdir())
        reports.append(report | _check(on_cpu, draft, images, settings, progress))
        if reports[-1]["passed"] is not False or not reports[-1]["comparable"]:
            return reports[-1] | {"notes": notes}
        notes.append(f"The file of PyTorch's {exporter} exporter did not pass: {' '.join(reports[-1]['problems'])}")
    if not reports:
        raise failures[0]
    return reports[0] | {"notes": notes}


def _is_on_cpu(model: "TracedModel") -> bool:
    return all(tensor.device.type == "cpu" for tensor in model.state_dict().values())


def _write(
    graph: fx.GraphModule,
    images: Tensor,
    draft: Path,
    *,
    exporter: str,
    settings: OnnxSettings,
    labels: Mapping[str, str],
    beside: bool,
) -> int:
    """Export, drop what the exporter wrote about this machine's source files, and label. Returns the node count."""
    dynamic = settings.dynamic_batch
    example = images[: 2 if dynamic else 1].contiguous()
    proto = onnx_exporters.write_onnx(
        graph, example, draft, exporter=exporter, opset=settings.opset, dynamic=dynamic, beside=beside
    )
    for part in (proto.graph, *proto.functions):
        del part.metadata_props[:]
        for item in (*part.node, *part.value_info):
            del item.metadata_props[:]
            item.doc_string = ""
    for value in (*proto.graph.input, *proto.graph.output, *proto.graph.initializer):
        del value.metadata_props[:]
    proto.producer_name, proto.producer_version = "espalier", version()
    write_labels(proto, labels)
    with draft.open("wb") as file:
        file.write(proto.SerializeToString(deterministic=True))
        file.flush()
        os.fsync(file.fileno())
    return len(proto.graph.node)


def _check(
    model: "TracedModel", draft: Path, images: Tensor, settings: OnnxSettings, progress: Progress
) -> dict[str, Any]:
    """ONNX's checker, then ONNX Runtime against PyTorch."""
    unknown = ("checker", "max_abs_difference", "relative_difference", "tolerance", "top1_agreement", "passed")
    report: dict[str, Any] = dict.fromkeys(unknown) | {"n": 0, "batch_sizes": [], "problems": [], "comparable": True}
    if not settings.check:
        return report
    problems = []
    try:
        onnx.checker.check_model(str(draft), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as problem:
        problems.append(f"ONNX's checker refused the file: {str(problem).splitlines()[0][:300]}")
    report["checker"] = not problems
    batch_sizes = (1, 2, 7) if settings.dynamic_batch else (1,)
    parity = compare_with_pytorch(model, draft, images, batch_sizes=batch_sizes, progress=progress)
    problems += parity.pop("problems")
    report |= _patterns(model, draft)
    return report | parity | {"batch_sizes": list(batch_sizes), "problems": problems, "passed": not problems}


def _patterns(model: "TracedModel", draft: Path) -> dict[str, int]:
    """How many layers of the model have 2:4 zeros, and in how many of the file a runtime would find them."""
    weights = {id(layer.weight): layer.get_parameter("weight").detach() for layer in model.prunable().values()}
    wanted = sum(fulfils(Pattern(2, 4), (weight != 0).numpy()) for weight in weights.values())
    return {"pattern_layers": patterned_layers(draft) if wanted else 0, "pattern_layers_of_model": wanted}


def _move(folder: Path, target: Path) -> list[Path]:
    """Put the finished files in place, the graph last: whoever sees it finds its tensors. Returns the graph first."""
    files = sorted(folder.iterdir(), key=lambda file: file.name == target.name)
    return [file.replace(target.with_name(file.name)) for file in files][::-1]
