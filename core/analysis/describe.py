"""A traced model as JSON for pages: its layers with their costs, and how they are connected."""

from dataclasses import asdict
from typing import Any

import torch
from torch import fx, nn

from ..models.traced import TracedModel
from .cost import count_macs, count_parameters, layer_table

__all__ = ["describe_model", "layer_edges"]


def describe_model(model: TracedModel) -> dict[str, Any]:
    """Everything about a model that needs no measuring, JSON-serialisable.

    Keys: name, task, input_shape, num_classes, class_names, captured_by, parameters, macs (of one example), layers
    (rows of ``layer_table`` with ``nonfinite``: NaN or infinite weights), notes, mean, std, edges (``layer_edges``).
    """
    origin = model.origin
    named = dict(model.graph_module.named_modules())
    rows = []
    broken = []
    for layer in layer_table(model):
        nonfinite = _nonfinite(named.get(layer.name))
        rows.append({**asdict(layer), "nonfinite": nonfinite})
        if nonfinite:
            broken.append(f"{layer.name} ({nonfinite:,})")
    notes = [str(note) for note in origin.get("notes") or ()]
    if broken:
        notes.append(f"Weights are NaN or infinite in {', '.join(broken[:10])}{' and more' if broken[10:] else ''}.")
    return {
        "name": origin.get("name") or "model",
        "task": model.task,
        "input_shape": list(model.input_shape),
        "num_classes": model.num_classes,
        "class_names": _listed(origin.get("class_names")),
        "captured_by": model.captured_by,
        "parameters": count_parameters(model),
        "macs": count_macs(model),
        "layers": rows,
        "notes": notes,
        "mean": _listed(origin.get("mean")),
        "std": _listed(origin.get("std")),
        "edges": [list(edge) for edge in layer_edges(model.graph_module)],
    }


def layer_edges(graph_module: fx.GraphModule) -> list[tuple[str, str]]:
    """Which parameterised layer feeds which, with all glue between them collapsed; in execution order, each once."""
    sources: dict[fx.Node, tuple[str, ...]] = {}
    edges: dict[tuple[str, str], None] = {}
    modules = dict(graph_module.named_modules())
    for node in graph_module.graph.nodes:
        # A dict keeps the order of first appearance, where a set would not.
        reaching = tuple(dict.fromkeys(layer for before in node.all_input_nodes for layer in sources[before]))
        if node.op == "call_module" and any(True for _ in modules[node.target].parameters()):
            edges.update(dict.fromkeys((before, node.target) for before in reaching if before != node.target))
            sources[node] = (node.target,)
        else:
            sources[node] = reaching
    return list(edges)


def _nonfinite(module: nn.Module | None) -> int:
    if module is None:
        return 0
    return sum(int((~torch.isfinite(parameter)).sum()) for parameter in module.parameters(recurse=False))


def _listed(values: Any) -> list[Any] | None:
    return None if values is None else list(values)
