"""How far the members of an export are, on a terminal."""

import sys
import time
from typing import Self

import click

_REDRAW_S = 0.2


class MemberBar:
    """Shows one line that counts, or nothing. A context manager; lives for one command, in its thread.

    Args:
        shown: whether there is a terminal to show it on.
    """

    def __init__(self, shown: bool) -> None:
        self._shown = shown
        self._drawn_at = 0.0
        self._width = 0

    def show(self, member: str, done: int, total: int) -> None:
        """Show how many entries of a member are done."""
        if not self._shown or (time.monotonic() - self._drawn_at < _REDRAW_S and done < total):
            return
        self._drawn_at = time.monotonic()
        text = f"{member}: {done:,} of {total:,}"
        click.echo(f"\r{text:<{self._width}}", file=sys.stderr, nl=False)
        self._width = len(text)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._width:
            click.echo(f"\r{'':<{self._width}}\r", file=sys.stderr, nl=False)
