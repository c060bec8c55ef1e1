"""Printing lists that may be long: a part at a time, so that none is held whole."""

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import islice
from typing import Any

import click

from facesearch.commands.terminal import table

_ROWS = 1000


def print_list(
    items: Iterator[dict[str, Any]],
    heads: Sequence[str],
    row_of: Callable[[dict[str, Any]], list[str]],
    right: Collection[int],
    shrinks: int | Sequence[int],
    *,
    as_json: bool,
    empty: str,
    most: int | None = None,
) -> None:
    """Print a table, or an array.

    Args:
        heads, right, shrinks: as of `table`.
        empty: what is said of none.
        most: how many were asked for, None for all.
    """
    if as_json:
        _print_array(items)
        return
    count = 0
    while rows := [row_of(item) for item in islice(items, _ROWS)]:
        lines = table(heads, rows, right, shrinks)
        click.echo("\n".join(lines[1:] if count else lines))
        count += len(rows)
    if not count:
        click.echo(empty)
    elif count == most:
        click.echo(f"Listed the first {most:,}; --limit and --all list more.", err=True)


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Say how many there are; the plural has an s where none is given."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def not_there(asked: Sequence[int], done: Sequence[int]) -> str:
    """Say which faces were asked for in vain, with a blank before it; nothing where none was."""
    there = set(done)
    gone = [number for number in asked if number not in there]
    if not gone:
        return ""
    named = ", ".join(map(str, gone[:5])) + (f" and {len(gone) - 5:,} more" if len(gone) > 5 else "")
    return f" Not there: {named}."


def _print_array(items: Iterator[dict[str, Any]]) -> None:
    before = "["
    for item in items:
        text = json.dumps(item, indent=2).replace("\n", "\n  ")
        click.echo(f"{before}\n  {text}", nl=False)
        before = ","
    click.echo("[]" if before == "[" else "\n]")
