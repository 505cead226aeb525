"""timm's models by name, when the extra is installed."""

from __future__ import annotations

import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import ModelError
from ...progress import SILENT, Progress
from ..downloads import reachable
from ..specs import ModelSpec, Weights
from .base import MODEL_SOURCES, BuiltModel, choose_weights, finish, seeded

if TYPE_CHECKING:
    from ..checkpoints import Checkpoint

__all__ = ["TimmSource"]

_HUB = "https://huggingface.co"
_ENTRY_POINT = re.compile(r"^@register_model\s*\n(?:@.*\n)*def (\w+)\(", re.MULTILINE)


class TimmSource:
    """timm: over a thousand classification architectures, when `timm` is installed."""

    def unavailable(self) -> str | None:
        if find_spec("timm") is None:
            return "timm is not installed; install it with `uv sync --extra timm` or `pip install timm`."
        return None

    def names(self) -> list[str]:
        return list(_names())

    def weights(self, name: str) -> tuple[Weights, ...]:
        return ("published", "checkpoint", "random")

    def build(
        self, spec: ModelSpec, *, checkpoint: Checkpoint | None = None, progress: Progress = SILENT
    ) -> BuiltModel:
        kind = choose_weights(self, spec)
        defaults = _defaults(spec.name)
        found = checkpoint.num_classes if checkpoint else None
        options = _options(spec, defaults, spec.num_classes or found)
        notes: tuple[str, ...]
        if kind == "published":
            progress.update(0, 1, "Looking for the published weights")
            file = _published_file(spec.name, defaults)
            module = _create(spec, pretrained=True, pretrained_cfg_overlay={"file": file}, **options)
            notes = (f"Published weights {spec.name} ({defaults.get('hf_hub_id', 'timm')}).",)
            if spec.num_classes and spec.num_classes != defaults.get("num_classes"):
                notes += (f"The head was replaced: {spec.num_classes} classes with random weights, to be trained.",)
        else:
            module = _create(spec, **options)
            notes = finish(module, spec, checkpoint)
        channels, height, width = defaults.get("input_size") or (3, 224, 224)
        trained = kind != "random" and "mean" in defaults
        return BuiltModel(
            module,
            spec.input_shape or (int(channels), int(height), int(width)),
            "classification",
            int(module.num_classes),
            mean=tuple(defaults["mean"]) if trained else None,
            std=tuple(defaults["std"]) if trained else None,
            notes=notes,
        )


def _defaults(name: str) -> dict[str, Any]:
    """What timm says of a name's weights: input size, mean, std, classes, where they lie."""
    from timm.models import get_pretrained_cfg

    try:
        config = get_pretrained_cfg(name)
    except RuntimeError as error:
        raise ModelError(f"timm has no “{name}”: {error}") from None
    return {} if config is None else config.to_dict()


def _options(spec: ModelSpec, defaults: dict[str, Any], num_classes: int | None) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if num_classes:
        options["num_classes"] = num_classes
    if spec.input_shape is not None:
        options["in_chans"] = spec.input_shape[0]
        if defaults.get("fixed_input_size"):
            options["img_size"] = spec.input_shape[1:]
    return options


def _create(spec: ModelSpec, **options: Any) -> Any:
    import timm

    try:
        with seeded(spec.seed):
            return timm.create_model(spec.name, **options)
    except Exception as error:  # each architecture raises what it likes, and so does a damaged file in the cache
        raise ModelError(f"timm cannot build “{spec.name}” with {options or 'its defaults'}: {error}") from None


@cache
def _names() -> tuple[str, ...]:
    """Names read from timm's source text: importing timm would import torch, which takes seconds."""
    spec = find_spec("timm")
    if spec is None or not spec.submodule_search_locations:
        return ()
    found: set[str] = set()
    for file in (Path(spec.submodule_search_locations[0]) / "models").glob("*.py"):
        found.update(_ENTRY_POINT.findall(file.read_text("utf-8")))
    return tuple(sorted(found))


def _published_file(name: str, defaults: dict[str, Any]) -> str:
    """The weights' file in the cache, downloaded when the hub answers."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    repository = defaults.get("hf_hub_id")
    if not repository:
        raise ModelError(f"timm has no published weights for “{name}”; choose random weights or a checkpoint.")
    online = reachable(_HUB)
    try:
        return str(hf_hub_download(repository, "model.safetensors", local_files_only=not online))
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        reason = str(error) if online else "no connection to huggingface.co"
        raise ModelError(
            f"The published weights of “{name}” are not on this machine and cannot be downloaded: {reason}. "
            "Choose random weights or open a checkpoint."
        ) from None


MODEL_SOURCES.register("timm")(TimmSource())
