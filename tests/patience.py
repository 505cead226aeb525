"""How long a test waits: a busy machine must not decide it."""

import os

__all__ = ["patient"]


def patient(seconds: float) -> float:
    """A limit that a quiet machine keeps easily, longer by as much as the processor is asked for by others."""
    return seconds * (2 + os.getloadavg()[0])
