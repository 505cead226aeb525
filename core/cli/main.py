"""``espalier``: the commands and their exit codes (0 done, 1 failed with one sentence, 2 wrong usage, 130 Ctrl-C)."""

import sys
from collections.abc import Sequence

import typer

from ..errors import Cancelled, EspalierError
from . import explore, people, planning, reference, results, searching, sharing, system

__all__ = ["app", "main"]

app = typer.Typer(
    name="espalier",
    help="Explore the pruning of neural networks: measure sensitivity, plan, prune, compare honestly, export.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _module in (explore, results, searching, planning, sharing, people, system, reference):
    _module.add_to(app)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    try:
        app(args=list(sys.argv[1:] if arguments is None else arguments), prog_name="espalier")
    except SystemExit as end:
        # Typer ends every command like this, wrong usage with 2.
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except EspalierError as error:
        print(f"espalier: {error}", file=sys.stderr)
        return 1
    except Cancelled:
        print("espalier: cancelled.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of a pipe (head) has seen enough.
        return 0
    return 0
