"""Importance of groups of channels, heads and neurons, and how much each group loses. Listing them needs no torch."""

from ...registry import discover
from .allocation import GROUP_ALLOCATIONS
from .base import GROUP_CRITERIA

__all__ = ["GROUP_ALLOCATIONS", "GROUP_CRITERIA"]

discover(__name__, __path__)
