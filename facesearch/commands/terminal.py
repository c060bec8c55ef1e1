"""Text for people on a terminal: tables and paragraphs that fit its width."""

import shutil
import textwrap
import unicodedata
from collections.abc import Collection, Sequence

import click

from facesearch.commands.import_report import printable

_WIDEST = 100
_BETWEEN = "  "
_SHORTEST = 8


def width() -> int:
    """How many columns lines may have."""
    return min(shutil.get_terminal_size().columns, _WIDEST)


def paragraph(label: str, text: str, indent: int) -> str:
    """Return text beside a label, its lines broken to fit; `indent` is where the text begins.

    The label may hold colours. Text that has no room beside it stays unbroken.
    """
    room = max(width() - indent, 20)
    lines = textwrap.wrap(printable(text), room, break_long_words=False, break_on_hyphens=False)
    first = label + " " * max(indent - len(click.unstyle(label)), 0)
    return f"\n{' ' * indent}".join([first + (lines[0] if lines else ""), *lines[1:]]).rstrip()


def table(
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    right: Collection[int] = (),
    shrinks: int | Sequence[int] = 0,
    indent: int = 0,
) -> list[str]:
    """Return the lines of a table that is no wider than the terminal.

    Args:
        right: columns that stand at their right edge, as numbers do.
        shrinks: the column whose texts are cut where the table would be too wide, or columns, of which the
            widest is cut first.
        indent: how many columns are to stay free beside it.
    """
    cells = [[printable(cell) for cell in row] for row in (heads, *rows)]
    widths = [max(columns_of(row[at]) for row in cells) for at in range(len(heads))]
    over = sum(widths) + len(_BETWEEN) * (len(widths) - 1) + indent - width()
    columns = [shrinks] if isinstance(shrinks, int) else shrinks
    while over > 0 and widths[widest := max(columns, key=widths.__getitem__)] > _SHORTEST:
        widths[widest] -= 1
        over -= 1
    lines = [
        _BETWEEN.join(_fitted(cell, widths[at], at in right) for at, cell in enumerate(row)).rstrip()
        for row in cells
    ]
    return [click.style(lines[0], bold=True), *lines[1:]]


def columns_of(text: str) -> int:
    """How many columns a text takes: Chinese characters take two, accents of their own none."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text
    )


def _fitted(text: str, columns: int, right: bool) -> str:
    if columns_of(text) > columns:
        kept = ""
        for character in text:
            if columns_of(kept + character) >= columns:
                break
            kept += character
        text = f"{kept}…"
    blank = " " * (columns - columns_of(text))
    return blank + text if right else text + blank
