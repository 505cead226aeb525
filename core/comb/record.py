"""Removals as JSON: a pruned model is a dense model, a list of records, and the weights that are left.

One record is ``{"version": 1, "groups": {name: [units]}, "structure": "…"}``; ``structure`` is a fingerprint of the
groups of the model that it was made for, so that a record for another model is refused. Surgeries one after the other
are a list of records; the list travels with the model, in ``TracedModel.origin["removals"]``.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from ..errors import ModelError, PlanError
from ..models.traced import TracedModel
from .combing import comb
from .groups import Comb
from .surgery import remove
from .survivors import Removal

__all__ = ["RECORD_VERSION", "apply_records", "load_weights", "record", "recorded_removal", "save_weights", "structure"]

RECORD_VERSION = 1


def structure(found: Comb) -> str:
    """Fingerprint (16 hex digits) of the groups: names, sizes and members, not weights."""
    digest = hashlib.sha256()
    for group in found.groups:
        digest.update(f"{group.name}|{group.kind}|{group.units}".encode())
        for member in group.members:
            digest.update(f"|{member.tensor}|{member.dim}".encode())
            digest.update(np.ascontiguousarray(member.unit_of_index, dtype="<i8").tobytes())
    return digest.hexdigest()[:16]


def record(found: Comb, removal: Removal) -> dict[str, Any]:
    """The JSON record of a removal from a combed model."""
    groups = {name: sorted({int(unit) for unit in units}) for name, units in removal.items() if len(units)}
    return {"version": RECORD_VERSION, "structure": structure(found), "groups": groups}


def recorded_removal(model: TracedModel, found: Comb, removal: Removal) -> TracedModel:
    """``remove``, and the record added to the result's ``origin["removals"]``."""
    pruned = remove(found, removal)
    pruned.origin["removals"] = [*model.origin.get("removals", []), record(found, removal)]
    return pruned


def apply_records(model: TracedModel, records: Sequence[Mapping[str, Any]] | Mapping[str, Any]) -> TracedModel:
    """Remove what one record or a list of them says, in order.

    Raises:
        PlanError: when a record is damaged, was made by a newer program, or does not belong to this model.
    """
    for number, body in enumerate([records] if isinstance(records, Mapping) else records, start=1):
        groups = _checked(body, number)
        found = comb(model)
        if body.get("structure") != structure(found):
            raise PlanError(
                f"Removal record {number} was made for a model with other groups than this one has; apply it to the "
                "model that it was made from."
            )
        model = recorded_removal(model, found, groups)
    return model


def _checked(body: Any, number: int) -> dict[str, list[int]]:
    if not isinstance(body, Mapping) or not isinstance(body.get("groups"), Mapping):
        raise PlanError(f"Removal record {number} must be an object with “version”, “structure” and “groups”.")
    if body.get("version") != RECORD_VERSION:
        raise PlanError(
            f"Removal record {number} has version {body.get('version')!r}, this program reads {RECORD_VERSION}."
        )
    for name, units in body["groups"].items():
        if not isinstance(units, list) or not all(type(unit) is int for unit in units):
            raise PlanError(f"The units of “{name}” in removal record {number} must be a list of integers.")
    return dict(body["groups"])


def save_weights(model: TracedModel, path: Path) -> None:
    """Write the weights of a pruned model, with its records, to one safetensors file."""
    tensors, names = {}, dict[int, str]()
    for name, tensor in model.state_dict().items():
        if names.setdefault(id(tensor), name) == name:
            tensors[name] = tensor.detach().cpu().contiguous()
    save_file(tensors, path, metadata={"removals": json.dumps(model.origin.get("removals", []))})


def load_weights(dense: TracedModel, path: Path) -> TracedModel:
    """The pruned model of a file by ``save_weights``, rebuilt from the dense one (its weights do not matter).

    Raises:
        PlanError: when the file's records do not belong to the model.
        ModelError: when the file is damaged or its weights do not fit.
    """
    from safetensors import safe_open

    try:
        with safe_open(path, framework="pt") as file:
            records = json.loads((file.metadata() or {}).get("removals", "[]"))
        state = load_file(path)
    except (OSError, SafetensorError, ValueError) as error:
        raise ModelError(f"{path} cannot be read as weights of a pruned model: {error}.") from None
    pruned = apply_records(dense, records)
    with torch.no_grad():
        pruned.load_state_dict({**_aliases(pruned), **state})
    return pruned


def _aliases(model: TracedModel) -> dict[str, torch.Tensor]:
    """Tensors that share another's storage are written once: they keep what their twin loads."""
    seen: set[int] = set()
    return {name: t for name, t in model.state_dict().items() if id(t) in seen or seen.add(id(t))}  # type: ignore[func-returns-value]
