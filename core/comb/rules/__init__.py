"""How each operation moves, ties, creates or freezes removable indices; one file per family of operations."""

from ...registry import discover

discover(__name__, __path__)
