"""Presets: names for several settings at once. What a person sets explicitly wins over the preset. Knows no torch."""

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from ..settings import Settings

__all__ = ["OWN", "PresetSettings"]

OWN = "own"
"""The preset that sets nothing."""


class PresetSettings(Settings):
    """Settings with a field ``preset`` that fills in what was not given.

    A subclass narrows ``preset`` to the names in its ``PRESETS`` and “own”. Constructed or parsed, a field that is
    given wins over the preset, inside nested settings too, so that what ``to_json`` wrote is read back as it was.
    ``changed(preset=…)`` is the act of choosing another preset: its values replace the present ones.
    """

    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    preset: str = Field(default=OWN, title="Preset")

    def changed(self, **changes: Any) -> Self:
        """As ``Settings.changed``; another preset replaces what it sets, except what is changed in the same call."""
        name = changes.get("preset", self.preset)
        chosen = {} if name == self.preset else self.PRESETS.get(name, {})
        return type(self).model_validate(_laid_over(_laid_over(self.model_dump(), chosen), changes))

    @model_validator(mode="before")
    @classmethod
    def _filled_in(cls, body: Any) -> Any:
        if not isinstance(body, Mapping):
            return body
        name = body.get("preset", OWN)
        chosen = cls.PRESETS.get(name, {}) if isinstance(name, str) else {}
        if not chosen:
            return body
        defaults = {key: cls.model_fields[key].get_default(call_default_factory=True) for key in chosen}
        return _laid_over(_laid_over(defaults, chosen), body)


def _laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """``below`` with the fields of ``above`` in place of its own; nested settings are merged field by field."""
    result = dict(below)
    for key, value in above.items():
        under = result.get(key)
        under = under.model_dump() if isinstance(under, Settings) else under
        if isinstance(value, Mapping) and isinstance(under, Mapping):
            value = {**under, **value}
        result[key] = value
    return result
