"""Presets: names for several settings at once. Knows no torch."""

from collections.abc import Mapping
from typing import Any

from ..settings import Settings

__all__ = ["merged"]


def merged(kind: type[Settings], body: Mapping[str, Any], preset: Mapping[str, Any]) -> dict[str, Any]:
    """``body`` with the fields of ``preset`` in place of its own, also inside nested settings of ``kind``."""
    result = dict(body)
    for key, value in preset.items():
        if isinstance(value, Mapping):
            inner = result.get(key, kind.model_fields[key].default)
            value = {**(inner.model_dump() if isinstance(inner, Settings) else inner), **value}
        result[key] = value
    return result
