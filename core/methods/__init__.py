"""Pruning methods, one file each. ``METHODS`` lists them without torch; ``prune`` runs a plan."""

from ..registry import discover
from .base import METHODS, Course, Method, MethodResult
from .running import prune

__all__ = ["METHODS", "Course", "Method", "MethodResult", "prune"]

discover(__name__, __path__)
