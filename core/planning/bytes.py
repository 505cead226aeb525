"""Bytes of the files that a plan would leave, from the sizes of the dense model's real files."""

import math
from collections.abc import Mapping
from typing import Any

__all__ = ["dense_file", "sparse_file"]


def sparse_file(nonzero: int, parameters: int, dense_sizes: Mapping[str, Any]) -> int | None:
    """The compressed sparse file: the entropy of which weights stay, and each kept value at the dense model's rate.

    None without the sizes of the dense model's real files.
    """
    dense, packed = dense_sizes.get("dense_bytes"), dense_sizes.get("sparse_bytes")
    if not dense or not packed or not parameters:
        return None
    kept = nonzero / parameters
    entropy = -sum(share * math.log2(share) for share in (kept, 1.0 - kept) if share > 0.0)
    return round(parameters * entropy / 8.0 + packed * kept)


def dense_file(parameters: int, dense_parameters: int, dense_sizes: Mapping[str, Any]) -> int | None:
    """The dense file of a smaller network, at the bytes per parameter that the dense model's file has."""
    before = dense_sizes.get("dense_bytes")
    return None if not before or not dense_parameters else round(before * parameters / dense_parameters)
