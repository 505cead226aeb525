"""Saved graphs: exact, free of code, and safe to read whatever they hold."""

import copy
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from core.errors import ModelError
from core.models.capture import trace
from core.models.traced import TracedModel

from . import invariants
from .examples import EXAMPLES, Tied


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("saved")
    trace(EXAMPLES["size_arithmetic"](), (3, 16, 16), origin={"name": "demo"}).save(folder)
    return folder


@pytest.fixture
def changed(saved: Path, tmp_path: Path) -> Callable[[Callable[[dict[str, Any]], None]], Path]:
    """Write a copy of the saved model with a changed graph."""

    def change(edit: Callable[[dict[str, Any]], None]) -> Path:
        body = json.loads((saved / "graph.json").read_text())
        edit(body)
        (tmp_path / "graph.json").write_text(json.dumps(body))
        (tmp_path / "weights.safetensors").write_bytes((saved / "weights.safetensors").read_bytes())
        return tmp_path

    return change


def test_two_files_that_name_none_of_the_authors_code(saved: Path) -> None:
    assert sorted(path.name for path in saved.iterdir()) == ["graph.json", "weights.safetensors"]
    body = json.loads((saved / "graph.json").read_text())
    sources = body.pop("sources")  # lines for people to read; nothing is ever imported from them
    assert any("examples.py:" in source for source in sources)
    assert "SizeArithmetic" not in json.dumps(body)
    assert "tests" not in json.dumps(body)
    model = TracedModel.load(saved)
    assert model.origin == {"name": "demo"}
    assert not model.training


def test_tied_and_frozen_parameters_survive(tmp_path: Path) -> None:
    module = Tied()
    module.stem.weight.requires_grad_(False)
    traced = trace(module, (3, 16, 16))
    traced.save(tmp_path)
    loaded = TracedModel.load(tmp_path)
    layers = loaded.prunable()
    assert layers["up"].weight is layers["down"].weight
    assert not layers["stem"].weight.requires_grad
    assert layers["head"].weight.requires_grad
    assert set(loaded.state_dict()) == set(module.state_dict())
    invariants.survives_saving(loaded)


def test_clones_and_loaded_models_save_alike(saved: Path, tmp_path: Path) -> None:
    first = TracedModel.load(saved)
    first.clone().save(tmp_path)
    assert (tmp_path / "graph.json").read_text() == (saved / "graph.json").read_text()
    assert (tmp_path / "weights.safetensors").read_bytes() == (saved / "weights.safetensors").read_bytes()


def test_parametrized_layers_are_refused_in_words(tmp_path: Path) -> None:
    traced = trace(Tied(), (3, 16, 16))
    nn.utils.parametrize.register_parametrization(traced.prunable()["head"], "weight", nn.Identity())
    with pytest.raises(ModelError, match="remove parametrizations"):
        traced.save(tmp_path)


def test_weights_cut_without_the_layers_sizes_are_refused_when_saving(tmp_path: Path) -> None:
    traced = trace(Tied(), (3, 16, 16)).clone()
    head = traced.prunable()["head"]
    head.weight = nn.Parameter(head.weight[:2].detach())
    with pytest.raises(ModelError, match=r"“head\.weight” should have shape \[4, 8\]"):
        traced.save(tmp_path)


def _set(path: list[Any], value: Any) -> Callable[[dict[str, Any]], None]:
    def edit(body: dict[str, Any]) -> None:
        for key in path[:-1]:
            body = body[key]
        body[path[-1]] = value

    return edit


def _append(node: dict[str, Any]) -> Callable[[dict[str, Any]], None]:
    return lambda body: body["nodes"].insert(-1, node)


def _call(target: str, *args: Any, kwargs: dict[str, Any] | None = None) -> Callable[[dict[str, Any]], None]:
    return _append({"op": "call_function", "target": target, "args": list(args), "kwargs": kwargs or {}})


X = {"node": 2}
HOSTILE: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "other format": (_set(["format"], "pickle"), "not a graph"),
    "newer version": (_set(["version"], 99), "version 99"),
    "list": (lambda body: body.__setitem__("nodes", "x"), "damaged|only"),
    "unknown function": (_call("os.system", "true"), "vocabulary"),
    "dunder function": (_call("__import__", "os"), "vocabulary"),
    "unknown kind of node": (_append({"op": "call_method", "target": "x", "args": [X]}), "not allowed"),
    "second input": (_append({"op": "placeholder"}), "one input"),
    "second output": (_append({"op": "output", "args": [X]}), "one output"),
    "no output": (lambda body: body["nodes"].pop(), "end in its output"),
    "unknown layer type": (_set(["layers", "head", "type"], "Module"), "not allowed"),
    "layer type walks": (_set(["layers", "head", "type"], "nn.Linear.__init__"), "not allowed"),
    "unknown layer argument": (_set(["layers", "head", "args", "device"], "cuda"), "takes no argument"),
    "huge layer": (_set(["layers", "head", "args", "out_features"], 2**40), "shape"),
    "overflowing layer": (_set(["layers", "head", "args", "out_features"], 2**62), "cannot be built|shape"),
    "undescribed layer": (_append({"op": "call_module", "target": "nowhere", "args": [X]}), "does not describe"),
    "attribute walk": (_append({"op": "get_attr", "target": "head.__class__"}), "weights lack|not allowed"),
    "code in a name": (_append({"op": "get_attr", "target": 'x"); import os; ("'}), "not allowed"),
    "code in a layer's name": (lambda b: b["layers"].update({'a"+__import__("os")+"': {}}), "not allowed"),
    "method's name": (lambda b: b["shared"].__setitem__("forward", "head.weight"), "cannot be named|damaged"),
    "forward reference": (_call("relu", {"node": 9999}), "understood"),
    "self reference": (_set(["nodes", 5, "args"], [{"node": 5}]), "understood"),
    "boolean reference": (_call("relu", {"node": True}), "understood"),
    "unknown argument kind": (_call("relu", {"code": "x"}), "understood"),
    "unknown dtype": (_call("cast", X, {"dtype": "load"}), "understood"),
    "unknown keyword": (_call("relu", X, kwargs={"o=1, p": 1}), "takes no"),
    "deep nesting": (_call("cat", [[[[[[[[[[[1]]]]]]]]]]]), "nested"),
    "no node argument": (_call("mul", "a", 10**9), "no input"),
    "huge tensor": (_call("new_full", X, [2**20, 2**20], 0, {"dtype": "int8"}), "elements"),
    "wrong shape": (_call("reshape", X, [7, 7]), "does not run"),
    "unknown task": (_set(["task"], "mining"), "task"),
    "negative shape": (_set(["input_shape"], [3, -1, 16]), "positive"),
    "huge shape": (_set(["input_shape"], [3, 2**40, 16]), "positive"),
    "lost tensor": (lambda body: body["nodes"].__setitem__(0, {"op": "get_attr", "target": "lost"}), "lack"),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_graphs_are_refused_in_words(case: str, changed: Callable[..., Path]) -> None:
    edit, words = HOSTILE[case]
    with pytest.raises(ModelError, match=words):
        TracedModel.load(changed(edit))


def test_powers_of_sizes_are_refused(changed: Callable[..., Path]) -> None:
    def edit(body: dict[str, Any]) -> None:
        size = next(i for i, node in enumerate(body["nodes"]) if node.get("target") == "size")
        body["nodes"].insert(-1, {"op": "call_function", "target": "pow", "args": [{"node": size}, 10**9]})

    with pytest.raises(ModelError, match="of a size is not allowed"):
        TracedModel.load(changed(edit))


def test_damaged_and_missing_files(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"holds no graph\.json"):
        TracedModel.load(tmp_path)
    (tmp_path / "graph.json").write_text((saved / "graph.json").read_text())
    with pytest.raises(ModelError, match=r"holds no weights\.safetensors"):
        TracedModel.load(tmp_path)
    (tmp_path / "weights.safetensors").write_bytes((saved / "weights.safetensors").read_bytes()[:-20])
    with pytest.raises(ModelError, match="damaged"):
        TracedModel.load(tmp_path)
    (tmp_path / "graph.json").write_text((saved / "graph.json").read_text()[:-20])
    with pytest.raises(ModelError, match="damaged"):
        TracedModel.load(tmp_path)
    (tmp_path / "graph.json").write_text("[" * 100_000)
    with pytest.raises(ModelError, match="damaged"):
        TracedModel.load(tmp_path)


def test_random_damage_gives_a_model_or_a_model_error(saved: Path, tmp_path: Path) -> None:
    body = json.loads((saved / "graph.json").read_text())
    (tmp_path / "weights.safetensors").write_bytes((saved / "weights.safetensors").read_bytes())
    generator = random.Random(0)
    values = [
        None,
        True,
        -1,
        0,
        10**12,
        1e300,
        "",
        "x",
        "__class__",
        [],
        {},
        [1],
        {"node": 3},
        {"tuple": 1},
        {"slice": []},
    ]
    refused = 0
    for _ in range(150):
        damaged = copy.deepcopy(body)
        place: Any = damaged
        for _ in range(12):
            key = generator.choice(list(place) if isinstance(place, dict) else list(range(len(place))))
            if not isinstance(place[key], dict | list) or not place[key] or generator.random() < 0.2:
                break
            place = place[key]
        place[key] = generator.choice(values)
        (tmp_path / "graph.json").write_text(json.dumps(damaged))
        try:
            TracedModel.load(tmp_path)
        except ModelError:
            refused += 1
    assert refused > 50
