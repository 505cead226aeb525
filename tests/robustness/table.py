"""``python -m tests.robustness.table``: run the tests of the bad inputs and faults and print what they came to.

Options: row numbers (``B07 F01``) for some rows only, ``--fast`` without the slow tests, ``--json FILE`` for machines.
Exit code 1 when a row fails or has no test.
"""

import argparse
import json
import re
import sys
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from .rows import ROWS, rows_of

__all__ = ["Recorder", "Row", "main"]

_TESTS = Path(__file__).resolve().parent.parent


@dataclass
class Row:
    """What the tests of one row came to."""

    passed: int = 0
    failed: list[str] = field(default_factory=list)
    skipped: int = 0
    seconds: float = 0.0

    @property
    def outcome(self) -> str:
        """In a word or two."""
        if self.failed:
            return "FAIL"
        if not self.passed:
            return "skipped" if self.skipped else "no test"
        return "pass"


class Recorder:
    """A pytest plugin: keeps to the tests of the wanted rows and counts what they came to."""

    def __init__(self, wanted: set[str], *, fast: bool = False) -> None:
        self.rows: dict[str, Row] = defaultdict(Row)
        self._wanted = wanted
        self._fast = fast
        self._of: dict[str, set[str]] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        kept, left = [], []
        for item in items:
            marked = [str(row) for mark in item.iter_markers("row") for row in mark.args]
            rows = set(rows_of(item.nodeid, marked)) & self._wanted
            slow = self._fast and item.get_closest_marker("slow") is not None
            (kept if rows and not slow else left).append(item)
            if rows and not slow:
                self._of[item.nodeid] = rows
        config.hook.pytest_deselected(items=left)
        items[:] = kept

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        for name in self._of.get(report.nodeid, ()):
            row = self.rows[name]
            row.seconds += report.duration
            if report.failed:
                row.failed.append(report.nodeid)
            elif report.skipped:
                row.skipped += 1
            elif report.when == "call":
                row.passed += 1


def main(arguments: list[str] | None = None) -> int:
    """Run and print; returns the exit code."""
    parser = argparse.ArgumentParser(description="The bad inputs and faults that Espalier survives, as tests say.")
    parser.add_argument("rows", nargs="*", help="rows such as B07 (default: all)")
    parser.add_argument("--fast", action="store_true", help="leave out the slow tests")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the table there, too")
    options = parser.parse_args(arguments)
    wanted = [row for row in ROWS if not options.rows or row in {name.upper() for name in options.rows}]
    if not wanted:
        parser.error(f"no such row; there are {', '.join(ROWS)}")
    recorder = Recorder(set(wanted), fast=options.fast)
    # Files without a row are not imported: importing them all costs more than many of the tests.
    pytest.main([*files_with_rows(), "-q", "--no-header", "-o", "addopts=--strict-markers", "-p", "no:cacheprovider"],
                plugins=[recorder])  # fmt: skip
    print()
    for name in wanted:
        row = recorder.rows[name]
        tests = f"{row.passed} passed" + (f", {row.skipped} skipped" if row.skipped else "")
        tests += f", {len(row.failed)} FAILED" if row.failed else ""
        print(f"{name}  {row.outcome:8} {row.seconds:7.1f} s  {ROWS[name]:72} {tests}")
        for nodeid in row.failed:
            print(f"       {nodeid}")
    outcomes = [recorder.rows[name].outcome for name in wanted]
    print(f"{outcomes.count('pass')} of {len(wanted)} rows pass.")
    if options.json:
        table = {name: {**vars(recorder.rows[name]), "outcome": recorder.rows[name].outcome} for name in wanted}
        options.json.write_text(json.dumps(table, indent=2), "utf-8")
    return 0 if set(outcomes) <= {"pass"} else 1


def files_with_rows() -> list[str]:
    """The test files in which a row is named."""
    named = re.compile(r"mark\.row\(|[\"'][BF]\d\d ")
    return [str(path) for path in sorted(_TESTS.rglob("test_*.py")) if named.search(path.read_text("utf-8"))]


if __name__ == "__main__":
    sys.exit(main())
