"""What a person should expect of a plan's speed, said before it runs. Knows no torch."""

from typing import Final, Literal

from ..pruning.patterns import SPEED_OF_PATTERNS
from ..pruning.plan import Plan

__all__ = ["ZEROS_MEASURED", "expectation"]

ZEROS_MEASURED: Final = (
    "measured: ONNX Runtime ran ResNet-20, ResNet-18 and MobileNetV2 with 50–95 % zeros at 0.81–1.12× the speed of the "
    "dense networks on a busy 2-core AVX-512 machine, which is noise"
)
"""The measurement behind the sentence, with its machine (DESIGN §5)."""


def expectation(plan: Plan, *, removes: Literal["weights", "units", "nothing"] = "weights") -> str:
    """Whether this plan makes the model faster or smaller, in plain words. Estimated, and it says so.

    ``removes`` is what the plan's method takes away.

    Masks set single weights to zero and keep every tensor's shape, and dense kernels multiply by zeros at full cost.
    """
    if removes == "nothing":
        return "Nothing is removed by this method: size and speed stay as they are. It shows what training alone does."
    if plan.removes_nothing:
        return "Nothing is removed by this plan: size, speed and predictions stay as they are."
    if removes == "units":
        return (
            "Whole channels, heads and neurons go for good: parameters, MACs and the file shrink. How much faster the "
            "network runs depends on the channel counts that remain, and multiples of 8 or 16 are kind to kernels. "
            "Compare shows what your machine measures."
        )
    said = (
        "Expect a smaller compressed file, not a faster model: zeros do not make dense kernels faster "
        f"({ZEROS_MEASURED}). Compare shows what your machine measures."
    )
    return f"{said} {SPEED_OF_PATTERNS}" if plan.patterns else said
