"""Where models come from. Knows no torch until a model is built."""

import importlib

from ...registry import discover
from .base import MODEL_SOURCES, BuiltModel, ModelSource

__all__ = ["MODEL_SOURCES", "BuiltModel", "ModelSource"]

# The order in which a bare name is looked up, and in which menus show the sources; others follow.
for _name in ("sample", "cifar", "torchvision", "timm", "python"):
    importlib.import_module(f"{__name__}.{_name}")
discover(__name__, __path__)
