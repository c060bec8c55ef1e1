"""Printing one thing, or a list that may be long: a part at a time, so that none is held whole."""

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import click

from facesearch.commands.import_report import printable
from facesearch.commands.terminal import paragraph, table

_ROWS = 1000

as_object = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


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


def print_fields(title: str, fields: Mapping[str, str | None], indent: int) -> None:
    """Print what is known of one thing; `indent` is where the texts begin."""
    lines = [click.style(printable(title), bold=True)]
    lines += [paragraph(f"  {name}", text, indent) for name, text in fields.items() if text]
    click.echo("\n".join(lines))


def moment(text: str | None) -> str | None:
    """Say a time, which comes as ISO 8601, to the second and in UTC."""
    return text and f"{datetime.fromisoformat(text).astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


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
