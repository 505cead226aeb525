"""N:M patterns: of every M neighbouring weights at most N stay. Knows no torch.

Neighbours are consecutive **along the input dimension** (dimension 1 of a weight [out, in, …]), for every output and
every place of the kernel: the layout that NVIDIA's sparse tensor cores and TensorRT want for 2:4 (Mishra et al.,
“Accelerating Sparse Deep Neural Networks”, arXiv 2104.08378; Zhou et al., ICLR 2021, for other N:M).
"""

import re
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np

__all__ = ["INPUT_DIM", "PATTERNS", "SPEED_OF_PATTERNS", "Pattern", "fulfils", "pattern_of", "pattern_problem"]

INPUT_DIM: Final = 1
"""The dimension of a weight along which blocks lie."""

PATTERNS: Final = ("2:4", "1:4", "4:8")
"""What menus offer; files may name any N:M up to 32."""

SPEED_OF_PATTERNS: Final = (
    "Processors run 2:4 zeros no faster than other zeros. NVIDIA GPUs since Ampere (A100, RTX 30 series and newer) "
    "have tensor cores for exactly 2:4, which TensorRT and cuSPARSELt use in half precision or int8; nothing in this "
    "program measures them."
)
"""What a person must know before choosing a pattern for its speed."""

_WORD = re.compile(r"([1-9]\d?):([1-9]\d?)")
_BLOCK_AT_MOST = 32


class Pattern(NamedTuple):
    """``keep`` of every ``of`` neighbours stay."""

    keep: int
    of: int

    def __str__(self) -> str:
        return f"{self.keep}:{self.of}"

    @property
    def sparsity(self) -> float:
        """The fraction that goes."""
        return 1.0 - self.keep / self.of

    def removed(self, size: int) -> int:
        """How many of ``size`` weights, a whole number of blocks, go."""
        return size // self.of * (self.of - self.keep)


def pattern_of(text: str) -> Pattern:
    """Read “2:4”.

    Raises:
        ValueError: when it is no N:M with 1 ≤ N < M ≤ 32.
    """
    found = _WORD.fullmatch(text)
    pattern = Pattern(int(found[1]), int(found[2])) if found else None
    if pattern is None or not pattern.keep < pattern.of <= _BLOCK_AT_MOST:
        raise ValueError(f"a pattern is N:M with 1 ≤ N < M ≤ {_BLOCK_AT_MOST}, such as 2:4; got “{text[:20]}”")
    return pattern


def pattern_problem(pattern: Pattern, shape: Sequence[int]) -> str | None:
    """Why a weight of this shape cannot have the pattern, as the end of a sentence; None when it can."""
    inputs = shape[INPUT_DIM] if len(shape) > INPUT_DIM else 0
    if inputs == 0 or inputs % pattern.of:
        return f"its input dimension is {inputs}, which is no multiple of {pattern.of}"
    return None


def fulfils(pattern: Pattern, weight: "np.ndarray[Any, Any]") -> bool:
    """Whether at most ``keep`` of every ``of`` neighbours along the input dimension are not 0."""
    if pattern_problem(pattern, weight.shape) is not None:
        return False
    blocks = np.moveaxis(weight != 0, INPUT_DIM, -1).reshape(-1, pattern.of)
    return bool((blocks.sum(axis=1) <= pattern.keep).all())
