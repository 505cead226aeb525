"""A traced model as two files: ``graph.json`` (nodes, layer constructors as data) and ``weights.safetensors``.

Loading runs no code of the author and no pickle. Layers come from the list in ``layers``, functions from the
``vocabulary``; every name is checked before it is used, so a hostile file can at worst be refused. Tied tensors are
stored once and stay tied.
"""

import hashlib
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, fx, nn

from ..errors import ModelError
from .assembly import assemble
from .layers import LAYER_TYPES, build_layer, constructor_arguments
from .vocabulary import DTYPES, FUNCTIONS, name_of

if TYPE_CHECKING:
    from .traced import TracedModel

__all__ = ["FORMAT", "VERSION", "fingerprint", "graph_to_json", "load", "save", "temporary_names"]

FORMAT = "espalier-graph"
VERSION = 1
_GRAPH, _WEIGHTS = "graph.json", "weights.safetensors"
_MAX_GRAPH_BYTES = 64 * 2**20
_SOURCE_CHARACTERS = 300
_MAX_NODES = 100_000
_MAX_ELEMENTS = 2**31  # of one tensor for one image
_MAX_CONSTANT = 2**40
_MAX_DEPTH = 8
# Names are pasted into generated code by fx, so nothing that could close a quote may pass.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_\-+ ]{0,199}")


# -- writing ------------------------------------------------------------------------------------------------------


def save(model: "TracedModel", folder: Path) -> None:
    """Write both files. The weights come first: a folder with a graph is complete.

    Raises:
        ModelError: when the graph holds a layer or function that may not stand in a file.
    """
    body = graph_to_json(model)
    body["sources"] = [str(node.meta.get("source", "")) for node in model.graph_module.graph.nodes]
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in _unique_tensors(model).items()}
    save_file(tensors, folder / _WEIGHTS, metadata={"format": FORMAT})
    (folder / _GRAPH).write_text(json.dumps(body, ensure_ascii=False, allow_nan=False), encoding="utf-8")


def fingerprint(model: "TracedModel") -> str:
    """SHA-256 (hex) over the graph and the bytes of every tensor; ``origin`` and source lines are left out."""
    body = graph_to_json(model)
    del body["origin"]
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode())
    for name, tensor in sorted(_unique_tensors(model).items()):
        value = tensor.detach().cpu().contiguous()
        digest.update(f"{name}:{value.dtype}:{list(value.shape)}:".encode())
        digest.update(value.flatten().view(torch.uint8).numpy().data if value.numel() else b"")
    return digest.hexdigest()


def graph_to_json(model: "TracedModel") -> dict[str, Any]:
    """The JSON body of ``graph.json``."""
    module = model.graph_module
    index = {node: number for number, node in enumerate(module.graph.nodes)}
    nodes, layers = [], {}
    for node in module.graph.nodes:
        entry: dict[str, Any] = {"op": node.op}
        if node.op == "call_function":
            entry["target"] = name_of(node.target)
        elif node.op in ("call_module", "get_attr"):
            entry["target"] = _checked_name(str(node.target))
        if node.op == "call_module" and node.target not in layers:
            layers[node.target] = _layer_to_json(module.get_submodule(node.target), node.target)
        if node.args:
            entry["args"] = [_encode(argument, index) for argument in node.args]
        if node.kwargs:
            entry["kwargs"] = {key: _encode(value, index) for key, value in node.kwargs.items()}
        nodes.append(entry)
    unique = _first_names(module)
    everything = dict(sorted(_all_tensors(module).items()))
    return {
        "format": FORMAT,
        "version": VERSION,
        "input_shape": list(model.input_shape),
        "task": model.task,
        "captured_by": model.captured_by,
        "origin": model.origin,
        "layers": layers,
        "nodes": nodes,
        "parameters": [name for name, tensor in everything.items() if isinstance(tensor, nn.Parameter)],
        "frozen": [n for n, t in everything.items() if isinstance(t, nn.Parameter) and not t.requires_grad],
        "temporary": sorted(temporary_names(module)),
        "shared": {name: unique[id(tensor)] for name, tensor in everything.items() if unique[id(tensor)] != name},
        "original_names": {name: list(names) for name, names in sorted(model.original_names.items())},
    }


def _layer_to_json(layer: nn.Module, name: str) -> dict[str, Any]:
    kind = type(layer)
    if LAYER_TYPES.get(kind.__name__) is not kind:
        raise ModelError(
            f"“{name}” is a {kind.__name__}, which cannot be saved; remove parametrizations (for masks: make them "
            "permanent) first."
        )
    arguments = constructor_arguments(layer)
    fresh = build_layer(kind.__name__, arguments)
    for leaf, tensor in [*fresh.named_parameters(recurse=False), *fresh.named_buffers(recurse=False)]:
        own = getattr(layer, leaf, None)
        if own is None or own.shape != tensor.shape:
            raise ModelError(
                f"“{name}.{leaf}” should have shape {list(tensor.shape)} by the layer's settings, it has "
                f"{list(own.shape) if own is not None else 'no value'}; set the layer's sizes when you cut its weights."
            )
    return {"type": kind.__name__, "args": {key: _encode(value, {}) for key, value in arguments.items()}}


def _all_tensors(module: nn.Module) -> dict[str, Tensor]:
    return dict([*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False)])


def _first_names(module: nn.Module) -> dict[int, str]:
    names: dict[int, str] = {}
    for name, tensor in sorted(_all_tensors(module).items()):
        names.setdefault(id(tensor), name)
    return names


def _unique_tensors(model: "TracedModel") -> dict[str, Tensor]:
    """Each tensor once, under its first name. Different tensors on one memory are copied apart by the caller."""
    first = set(_first_names(model.graph_module).values())
    tensors = {name: tensor for name, tensor in _all_tensors(model.graph_module).items() if name in first}
    seen: dict[int, str] = {}
    for name, tensor in tensors.items():
        memory = tensor.untyped_storage().data_ptr()
        if tensor.numel() and memory in seen:
            tensors[name] = tensor.detach().clone()  # a view of another tensor: safetensors stores it apart
        seen.setdefault(memory, name)
    return tensors


def temporary_names(module: nn.Module) -> set[str]:
    """Buffers that stay out of the state dict."""
    return {
        f"{path}.{leaf}" if path else leaf
        for path, child in module.named_modules()
        for leaf in child._non_persistent_buffers_set
        if child._buffers.get(leaf) is not None
    }


def _encode(value: Any, index: Mapping[fx.Node, int]) -> Any:
    """JSON form of an argument: plain values as they are, everything else as ``{kind: …}``."""
    if isinstance(value, fx.Node):
        return {"node": index[value]}
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": repr(value)}
    if isinstance(value, list):
        return [_encode(item, index) for item in value]
    if isinstance(value, tuple):
        return {"tuple": [_encode(item, index) for item in value]}
    if isinstance(value, Mapping):
        return {"dict": [[str(key), _encode(item, index)] for key, item in value.items()]}
    if isinstance(value, slice):
        return {"slice": [_encode(part, index) for part in (value.start, value.stop, value.step)]}
    if value is Ellipsis:
        return {"ellipsis": True}
    if isinstance(value, torch.dtype) and str(value).removeprefix("torch.") in DTYPES:
        return {"dtype": str(value).removeprefix("torch.")}
    raise ModelError(f"A {type(value).__name__} cannot be kept in a graph file.")


# -- reading ------------------------------------------------------------------------------------------------------


def load(folder: Path) -> "TracedModel":
    """Read both files, checking everything on the way.

    Raises:
        ModelError: saying what is missing, damaged or not allowed.
    """
    from .traced import TracedModel  # traced imports this module

    body = _read_body(folder / _GRAPH)
    try:
        tensors = load_file(folder / _WEIGHTS)
    except FileNotFoundError:
        raise ModelError(f"{folder} holds no {_WEIGHTS}; copy the whole folder.") from None
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{folder / _WEIGHTS} is damaged: {error}.") from None
    try:
        return _build(body, tensors, TracedModel)
    except ModelError as error:
        raise ModelError(f"{folder / _GRAPH} cannot be used: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RuntimeError, RecursionError) as error:
        raise ModelError(f"{folder / _GRAPH} is damaged ({type(error).__name__}: {error}).") from error


def _read_body(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _MAX_GRAPH_BYTES:
            raise ModelError(f"{path} is larger than {_MAX_GRAPH_BYTES >> 20} MiB; this is no graph of ours.")
        body = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"{path.parent} holds no {path.name}; copy the whole folder.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path} is damaged: {error}.") from None
    if not isinstance(body, dict) or body.get("format") != FORMAT:
        raise ModelError(f"{path} is not a graph written by Espalier.")
    if body.get("version") != VERSION:
        raise ModelError(f"{path} was made with graph version {body.get('version')}, this program reads {VERSION}.")
    return body


def _build(body: dict[str, Any], tensors: dict[str, Tensor], model_type: type["TracedModel"]) -> "TracedModel":
    shape = _integers(body["input_shape"], 3, "input_shape")
    if body["task"] not in ("classification", "segmentation"):
        raise ModelError(f"the task “{str(body['task'])[:40]}” is unknown.")
    layers = {_checked_name(name): _layer(name, entry) for name, entry in body["layers"].items()}
    named = _named_tensors(body, tensors)
    graph = _graph(body["nodes"], layers, named)
    for node, source in zip(graph.nodes, body.get("sources", ()), strict=False):  # lines of the author's code
        node.meta["source"] = str(source)[:_SOURCE_CHARACTERS]
    for name, layer in layers.items():
        _fill(name, layer, named)
    held = {f"{name}.{leaf}" for name, layer in layers.items() for leaf in (*layer._parameters, *layer._buffers)}
    extra = {name: tensor for name, tensor in named.items() if name not in held}
    names = {_checked_name(name): tuple(map(_checked_name, others)) for name, others in body["original_names"].items()}
    _check_integers(graph)
    model = model_type(
        assemble(graph, layers, extra, temporary=[str(name) for name in body["temporary"]]),
        input_shape=(shape[0], shape[1], shape[2]),
        task=body["task"],
        origin=body["origin"] if isinstance(body["origin"], dict) else {},
        captured_by=str(body["captured_by"]),
        original_names=names,
    )
    _check_shapes(model.eval())
    return model


def _check_integers(graph: fx.Graph) -> None:
    """Arithmetic on sizes stays small, whatever the file says (a power of a size could run for hours)."""
    integers: set[fx.Node] = set()
    for node in graph.nodes:
        if node.op != "call_function":
            continue
        name = name_of(node.target)
        if not node.all_input_nodes:
            raise ModelError(f"“{name}” has no input.")
        if name == "size":
            integers.add(node)
        elif name in _ARITHMETIC and integers.issuperset(node.all_input_nodes):
            constants = [argument for argument in node.args if not isinstance(argument, fx.Node)]
            small = all(type(constant) is int and abs(constant) < _MAX_CONSTANT for constant in constants)
            if name not in _SIZE_ARITHMETIC or not small or len(integers) > 1000:
                raise ModelError(f"“{name}” of a size is not allowed.")
            integers.add(node)


_SIZE_ARITHMETIC = {"add", "sub", "mul", "floordiv", "mod"}
_ARITHMETIC = _SIZE_ARITHMETIC | {"truediv", "pow", "matmul", "neg", "invert", "and", "or", "xor", "getitem"}


def _check_shapes(model: "TracedModel") -> None:
    """The graph runs, and no tensor of it is absurdly large. Done on the meta device: nothing is computed."""
    from .shapes import walk  # shapes works on traced models

    try:
        values = walk(model)
    except Exception as error:
        raise ModelError(f"the graph does not run: {type(error).__name__}: {str(error)[:200]}") from error
    for node, value in values.items():
        if isinstance(value, Tensor) and value.numel() > _MAX_ELEMENTS:
            raise ModelError(f"“{node.name}” would have {value.numel()} elements.")


def _checked_name(name: str) -> str:
    if not isinstance(name, str) or not all(_NAME.fullmatch(part) for part in name.split(".")) or "__" in name[:2]:
        raise ModelError(f"the name {str(name)[:60]!r} is not allowed; use letters, digits, “_”, “-” and dots.")
    return name


def _integers(values: Any, count: int, what: str) -> list[int]:
    good = isinstance(values, list) and len(values) == count and all(type(v) is int and 0 < v < 2**20 for v in values)
    if not good:
        raise ModelError(f"{what} must be {count} positive integers, got {str(values)[:60]}.")
    return list(values)


def _layer(name: str, entry: dict[str, Any]) -> nn.Module:
    arguments = {key: _decode(value, None, 0) for key, value in entry["args"].items()}
    return build_layer(str(entry["type"]), arguments)


def _named_tensors(body: dict[str, Any], tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Every tensor under each of its names, with parameters as parameters."""
    parameters, frozen = set(body["parameters"]), set(body["frozen"])
    named: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        _checked_name(name)
        if name in parameters:
            trainable = name not in frozen and (tensor.is_floating_point() or tensor.is_complex())
            named[name] = nn.Parameter(tensor, requires_grad=trainable)
        else:
            named[name] = tensor
    for name, source in body["shared"].items():
        named[_checked_name(name)] = named[source]
    return named


def _fill(name: str, layer: nn.Module, named: dict[str, Tensor]) -> None:
    """Replace the layer's tensors without data by the stored ones, of exactly the same shape."""
    for kind in (layer._parameters, layer._buffers):
        for leaf, empty in kind.items():
            if empty is None:
                continue
            tensor = named.get(f"{name}.{leaf}")
            if tensor is None:
                raise ModelError(f"the weights lack “{name}.{leaf}”.")
            if tensor.shape != empty.shape:
                raise ModelError(
                    f"“{name}.{leaf}” must have shape {list(empty.shape)}, the weights hold {list(tensor.shape)}."
                )
            kind[leaf] = tensor  # type: ignore[assignment]


def _graph(entries: list[dict[str, Any]], layers: Mapping[str, nn.Module], named: Mapping[str, Tensor]) -> fx.Graph:
    if len(entries) > _MAX_NODES:
        raise ModelError(f"a graph of {len(entries)} nodes is too large (at most {_MAX_NODES}).")
    graph = fx.Graph()
    nodes: list[fx.Node] = []
    for entry in entries:
        operation = entry["op"]
        args = tuple(_decode(argument, nodes, 0) for argument in entry.get("args", []))
        kwargs = {str(key): _decode(value, nodes, 0) for key, value in entry.get("kwargs", {}).items()}
        if operation == "placeholder":
            if any(node.op == "placeholder" for node in nodes):
                raise ModelError("the graph must have exactly one input.")
            nodes.append(graph.placeholder("x"))
        elif operation == "get_attr":
            if _checked_name(entry["target"]) not in named:
                raise ModelError(f"the weights lack “{entry['target']}”.")
            nodes.append(graph.create_node("get_attr", entry["target"]))
        elif operation == "call_module":
            if _checked_name(entry["target"]) not in layers or kwargs:
                raise ModelError(f"the graph calls “{entry['target']}”, which it does not describe.")
            nodes.append(graph.create_node("call_module", entry["target"], args))
        elif operation == "call_function":
            function = FUNCTIONS.get(str(entry["target"]))
            if function is None:
                raise ModelError(f"the operation “{str(entry['target'])[:60]}” is not in the vocabulary.")
            if set(kwargs) - set(function.keywords):
                raise ModelError(f"“{function.name}” takes no argument “{sorted(set(kwargs))[0][:60]}”.")
            nodes.append(graph.call_function(function.call, args, kwargs))
        elif operation == "output":
            nodes.append(graph.output(args[0]))
        else:
            raise ModelError(f"nodes of kind “{str(operation)[:40]}” are not allowed.")
    if [node.op for node in nodes].count("placeholder") != 1 or nodes[-1].op != "output":
        raise ModelError("the graph must have exactly one input, and end in its output.")
    if any(node.op == "output" for node in nodes[:-1]):
        raise ModelError("the graph must have exactly one output.")
    graph.lint()
    return graph


def _decode(value: Any, nodes: list[fx.Node] | None, depth: int) -> Any:
    if depth > _MAX_DEPTH:
        raise ModelError("arguments are nested too deeply.")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list):
        return [_decode(item, nodes, depth + 1) for item in value]
    if isinstance(value, dict) and len(value) == 1:
        ((kind, content),) = value.items()
        if kind == "node" and nodes is not None and type(content) is int and 0 <= content < len(nodes):
            return nodes[content]
        if kind == "tuple":
            return tuple(_decode(item, nodes, depth + 1) for item in content)
        if kind == "dict":
            return {_checked_name(key): _decode(item, nodes, depth + 1) for key, item in content}
        if kind == "slice" and len(content) == 3:
            return slice(*(_decode(part, nodes, depth + 1) for part in content))
        if kind == "ellipsis":
            return Ellipsis
        if kind == "dtype" and content in DTYPES:
            return DTYPES[content]
        if kind == "float" and content in ("inf", "-inf", "nan"):
            return float(content)
    raise ModelError(f"the argument {str(value)[:60]} is not understood.")
