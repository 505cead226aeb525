"""What the units of a group can be. Knows no torch: settings name kinds, too."""

from typing import Literal, get_args

__all__ = ["KINDS", "Kind"]

Kind = Literal["channels", "heads", "head_width", "neurons", "embedding"]
KINDS: tuple[Kind, ...] = get_args(Kind)
