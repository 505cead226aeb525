"""Sections of plain text as Markdown and as an HTML page. No text in them ever becomes markup."""

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Block", "Code", "Items", "Section", "Table", "Text", "as_html", "as_markdown"]


@dataclass(frozen=True)
class Text:
    """One paragraph."""

    text: str


@dataclass(frozen=True)
class Items:
    """A list."""

    texts: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """A table; a head of empty texts only is not drawn in HTML."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Code:
    """Lines of Python, written by the program itself: nothing that a person typed."""

    text: str


Block = Text | Items | Table | Code


@dataclass(frozen=True)
class Section:
    """A heading with what is below it."""

    title: str
    blocks: tuple[Block, ...]


# Marks anywhere, marks that begin a line, and what viewers turn into links by themselves.
_SPECIAL = re.compile(r"([\\`*_{}\[\]|~$@]|^[#+\-=]|:(?=//)|(?<=www)\.|(?<=^\d)\.(?=\s|$))")
_STYLE = """
:root { color-scheme: light dark; --line: #8884; }
body { font: 16px/1.55 "Source Sans 3", "Source Sans Pro", system-ui, sans-serif; max-width: 46rem; margin: 2.5rem auto;
  padding: 0 1.2rem; background: #FCFBF8; color: #21231F; }
@media (prefers-color-scheme: dark) { body { background: #171916; color: #E8E6DF; } }
h1, h2 { font-family: "Source Serif 4", "Source Serif Pro", Georgia, serif; line-height: 1.25; }
h1, h2, h1 { font-size: 1.9rem; } h2 { font-size: 1.25rem; margin-top: 2rem; }
.box { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { min-width: 4.5rem; text-align: left; vertical-align: top; padding: .3rem 1.1rem .3rem 0;
  border-bottom: 1px solid var(--line); }
td:last-child { overflow-wrap: anywhere; }
pre { overflow-x: auto; border: 1px solid var(--line); border-radius: 6px; padding: .7rem 1rem; font-size: .9rem; }
"""


def as_markdown(title: str, sections: Sequence[Section]) -> str:
    """The page as Markdown, readable as it is. HTML in a text is escaped, too: many viewers would draw it."""
    lines = [f"# {_md(title)}", ""]
    for section in sections:
        lines += [f"## {_md(section.title)}", ""]
        for block in section.blocks:
            lines += [*_markdown(block), ""]
    return "\n".join(lines)


def as_html(title: str, sections: Sequence[Section]) -> str:
    """The page as HTML: one file that loads nothing, and could not run a script."""
    body = "".join(
        f"<section><h2>{_html(section.title)}</h2>{''.join(map(_block_html, section.blocks))}</section>"
        for section in sections
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        """<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">"""
        f"<title>{_html(title)}</title><style>{_STYLE}</style></head>"
        f"<body><main><h1>{_html(title)}</h1>{body}</main></body></html>\n"
    )


def _markdown(block: Block) -> list[str]:
    if isinstance(block, Text):
        return [_md(block.text)]
    if isinstance(block, Items):
        return [f"- {_md(text)}" for text in block.texts]
    if isinstance(block, Code):
        return ["```python", *block.text.splitlines(), "```"]
    rows = [block.head, ("---",) * len(block.head), *block.rows]
    return [f"| {' | '.join(cell if row == rows[1] else _md(cell) for cell in row)} |" for row in rows]


def _block_html(block: Block) -> str:
    if isinstance(block, Text):
        return f"<p>{_html(block.text)}</p>"
    if isinstance(block, Items):
        return f"<ul>{''.join(f'<li>{_html(text)}</li>' for text in block.texts)}</ul>"
    if isinstance(block, Code):
        return f"<pre><code>{html.escape(block.text)}</code></pre>"
    head = "".join(f"<th>{_html(cell)}</th>" for cell in block.head)
    head = f"<thead><tr>{head}</tr></thead>" if any(block.head) else ""
    rows = "".join(f"<tr>{''.join(f'<td>{_html(cell)}</td>' for cell in row)}</tr>" for row in block.rows)
    return f'<div class="box"><table>{head}<tbody>{rows}</tbody></table></div>'


def _line(text: str) -> str:
    """One line without control and direction characters."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def _html(text: str) -> str:
    return html.escape(_line(text))


def _md(text: str) -> str:
    # In this order: what the second step writes (“&lt;”) has nothing that the first one would touch.
    return html.escape(_SPECIAL.sub(r"\\\1", _line(text)), quote=False)
