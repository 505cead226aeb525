"""Importance criteria, one file each; a new file that registers a ``Criterion`` here appears in every menu."""

from ...registry import discover
from .base import CRITERIA, CalibrationContext, Criterion, score_layers

__all__ = ["CRITERIA", "CalibrationContext", "Criterion", "score_layers"]

discover(__name__, __path__)
