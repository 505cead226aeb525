"""Collects what was odd about single files, and says it in a few sentences."""

from collections.abc import Iterable

__all__ = ["NAMED_AT_MOST", "Notes"]

NAMED_AT_MOST = 20


class Notes:
    """Remarks about a data set, grouped by what was remarked; files are named up to ``NAMED_AT_MOST`` per remark."""

    def __init__(self) -> None:
        self._plain: list[str] = []
        self._grouped: dict[str, list[str]] = {}

    def say(self, sentence: str) -> None:
        """Add one whole sentence about the data set; repeated ones are kept once."""
        if sentence not in self._plain:
            self._plain.append(sentence)

    def add(self, remark: str, item: str) -> None:
        """Add one file to a remark such as "converted from CMYK to RGB"."""
        self._grouped.setdefault(remark, []).append(item)

    def extend(self, remarks: Iterable[str], item: str) -> None:
        """Add one file to several remarks."""
        for remark in remarks:
            self.add(remark, item)

    def count(self, remark: str) -> int:
        """How many files got this remark."""
        return len(self._grouped.get(remark, ()))

    def named(self, remark: str) -> str:
        """The files of one remark as a list in words: at most ``NAMED_AT_MOST`` names, then a count."""
        return listed(self._grouped.get(remark, ()))

    def sentences(self) -> tuple[str, ...]:
        """All remarks, one sentence each: "3 files converted from CMYK to RGB: a.jpg, b.jpg, c.jpg."."""
        grouped = [
            f"{len(items):,} file{'s' if len(items) > 1 else ''} {remark}: {listed(items)}."
            for remark, items in self._grouped.items()
        ]
        return (*self._plain, *grouped)


def listed(items: Iterable[str]) -> str:
    """``a, b, c and 12 more``: at most ``NAMED_AT_MOST`` names, each at most 120 characters long."""
    names = [name if len(name) <= 120 else f"…{name[-119:]}" for name in items]
    shown = ", ".join(names[:NAMED_AT_MOST])
    return f"{shown} and {len(names) - NAMED_AT_MOST:,} more" if len(names) > NAMED_AT_MOST else shown
