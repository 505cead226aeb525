"""How numbers are written in sentences. Knows no torch."""

__all__ = ["percent"]


def percent(fraction: float, digits: int = 1) -> str:
    """A fraction as per cent: 91.6 %."""
    return f"{100 * fraction:.{digits}f} %".replace("-", "−")
