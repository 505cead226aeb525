"""Where rules are filed, and what they share."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

__all__ = ["RULES", "Rule", "axes", "axis", "flat", "rule"]

Rule = Callable[..., Any]

RULES: dict[str, Rule] = {}
"""Rules by the base name that an operation has in any of its forms."""


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Decorator that files a rule under each of the names."""

    def add(function: Rule) -> Rule:
        for name in names:
            assert name not in RULES, name
            RULES[name] = function
        return function

    return add


def axis(dim: int, x: Tensor, *, extra: int = 0) -> int:
    """``dim`` counted from the front."""
    return int(dim) % max(x.ndim + extra, 1)


def axes(dims: Any, x: Tensor) -> list[int]:
    """One or more dimensions counted from the front; none means all."""
    if dims is None or (isinstance(dims, tuple | list) and len(dims) == 0):
        return list(range(x.ndim))
    return [axis(dim, x) for dim in (dims if isinstance(dims, tuple | list) else (dims,))]


def flat(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """``f(1, 2)`` and ``f((1, 2))`` mean the same to many operations."""
    return tuple(values[0]) if len(values) == 1 and isinstance(values[0], tuple | list) else values
