"""What the commands print: tables for people, JSON for programs, progress on a terminal only."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from ..store.tables import plain

__all__ = ["bar", "note", "print_json", "print_table"]


def print_json(body: Any) -> None:
    """JSON on standard output; NaN becomes null."""
    sys.stdout.write(json.dumps(plain(body), indent=2, ensure_ascii=False) + "\n")


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """A table on standard output; columns of numbers stand on the right."""
    table = Table(title=title, title_justify="left", header_style="bold")
    for index, name in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[index], int | float | None) for row in rows)
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*("" if cell is None else _text(cell) for cell in row))
    # Wide enough for names of layers when the output goes to a file.
    console = Console() if sys.stdout.isatty() else Console(width=160)
    console.print(table)


def note(sentence: str) -> None:
    """A sentence for the person, on standard error."""
    print(sentence, file=sys.stderr, flush=True)


@contextmanager
def bar(title: str) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """A progress bar on standard error while it is a terminal; the yielded function takes done, total, message."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _news: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(title, total=None)

        def show(news: Mapping[str, Any]) -> None:
            message = str(news.get("message") or "")
            progress.update(
                task,
                description=f"{title}: {message}" if message else title,
                completed=float(news.get("done") or 0.0),
                total=float(news.get("total") or 0.0) or None,
            )

        yield show


def _text(cell: Any) -> str:
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, int):
        return f"{cell:,}"
    return f"{cell:.4g}" if isinstance(cell, float) else str(cell)
