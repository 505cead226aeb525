"""How numbers and labels are written in sentences. Knows no torch."""

__all__ = ["inside", "percent"]


def percent(fraction: float, digits: int = 1) -> str:
    """A fraction as per cent: 91.6 %."""
    return f"{100 * fraction:.{digits}f} %".replace("-", "−")


def inside(label: str) -> str:
    """A label as it stands inside a sentence: “Dense file” → “dense file”; abbreviations (“MACs”) stay."""
    return label if label[:2].isupper() else f"{label[:1].lower()}{label[1:]}"
