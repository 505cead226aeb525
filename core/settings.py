"""Base of every settings type: frozen, validated on construction, JSON round trip, unknown keys refused.

The dashboard draws forms from these types: ``Field(title=…, description=…, ge=…, le=…)`` is what a person sees.
"""

import types
from typing import Any, Self, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo

from .errors import EspalierError, PlanError

__all__ = ["Settings", "field_label", "nested_type", "without_none"]

_SAID = 8


class Settings(BaseModel):
    """Frozen settings. Construct with keywords; ``changed(x=1)`` gives a validated copy."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())

    def changed(self, **changes: Any) -> Self:
        """A copy with some fields changed, validated again."""
        return type(self).model_validate({**self.model_dump(), **changes})

    def to_json(self) -> dict[str, Any]:
        """A JSON-serialisable dict that ``parse`` reads back to an equal object."""
        return self.model_dump(mode="json")

    @classmethod
    def parse(cls, body: Any, *, error: type[EspalierError] = PlanError) -> Self:
        """Read settings from a dict, turning pydantic's report into one sentence per field.

        Raises:
            PlanError: (or ``error``) naming each wrong field, what came and what is allowed.
        """
        try:
            return cls.model_validate(body)
        except ValidationError as report:
            problems = []
            for item in report.errors(include_url=False):
                where = ".".join(str(part) for part in item["loc"]) or cls.__name__
                problems.append(f"“{where}”: {item['msg']} (got {str(item.get('input'))[:60]!r})")
            more = f"; and {len(problems) - _SAID} more" if len(problems) > _SAID else ""
            raise error("; ".join(problems[:_SAID]) + f"{more}.") from None


def field_label(name: str, field: FieldInfo) -> str:
    """What a person reads beside a field."""
    return field.title or name.replace("_", " ").capitalize()


def nested_type(field: FieldInfo) -> type[Settings] | None:
    """The settings type of a field that is a section of its own."""
    kind, _ = without_none(field.annotation)
    return kind if isinstance(kind, type) and issubclass(kind, Settings) else None


def without_none(annotation: Any) -> tuple[Any, bool]:
    """``X | None`` → (X, True)."""
    if get_origin(annotation) in (Union, types.UnionType):
        kinds = [kind for kind in get_args(annotation) if kind is not type(None)]
        return (kinds[0] if len(kinds) == 1 else str), len(kinds) < len(get_args(annotation))
    return annotation, False
