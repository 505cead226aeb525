"""Runtimes whose latency can be measured: one file each. Listing them needs no torch."""

from ...registry import discover
from .base import LATENCY_RUNTIMES, LatencyRuntime

__all__ = ["LATENCY_RUNTIMES", "LatencyRuntime"]

discover(__name__, __path__)
