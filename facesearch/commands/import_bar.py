"""How far an import is, on a terminal."""

import os
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any, Self

import click
from tqdm import tqdm

from facesearch.commands.import_report import described, printable

_REDRAW_S = 0.5
# Photos that are stored already go by a hundred times faster than new ones; the rate shown is that of the
# last few seconds.
_SMOOTHING = 0.1
_FILES = (
    "{desc}{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_noinv_fmt}]{postfix}"
)


class ImportBar:
    """Shows files and bytes as bars, or nothing. A context manager; lives for one command, in its thread.

    Args:
        shown: whether there is a terminal to show bars on.
    """

    def __init__(self, shown: bool) -> None:
        self._shown = shown
        # tqdm's own lock would be one between processes, and start one more process for that.
        _Bar.set_lock(threading.RLock())
        self._files: Any = None
        self._bytes: Any = None
        self._drawn_at = 0.0
        self._waits_for: str | None = None

    def files(self, total: int, counts: Mapping[str, int]) -> None:
        """Show how many files have their report."""
        self._end_bytes()
        self._waits_for = None
        if not self._shown or not total:
            return
        if self._files is None:
            self._files = _bar(total=total, unit="", bar_format=_FILES, smoothing=_SMOOTHING)
        self._files.total = total
        self._files.set_postfix_str(described(counts), refresh=False)
        if (more := sum(counts.values()) - self._files.n) > 0:
            self._files.update(more)
        elif time.monotonic() - self._drawn_at >= _REDRAW_S:
            self._drawn_at = time.monotonic()
            self._files.refresh()

    def sending(self, name: str, sent: int, size: int) -> None:
        """Show how much of an archive has been sent."""
        if not self._shown:
            return
        if self._bytes is None:
            what = f"Sending {printable(name)}"
            self._bytes = _bar(total=size, unit="B", unit_scale=True, desc=what, leave=False)
        if sent < self._bytes.n:  # it is sent once more
            self._bytes.reset(size)
        self._bytes.update(sent - self._bytes.n)
        if sent == size:
            self._end_bytes()

    def waiting(self, reason: str) -> None:
        """Say, once, what is being waited for."""
        self._end_bytes()
        if reason != self._waits_for:
            self._waits_for = reason
            text = f"{printable(reason)} Trying again ..."
            if self._shown:
                _Bar.write(text, file=sys.stderr)
            else:
                click.echo(text, err=True)

    def _end_bytes(self) -> None:
        if self._bytes is not None:
            self._bytes.close()
            self._bytes = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end_bytes()
        if self._files is not None:
            self._files.close()


class _Bar(tqdm):  # type: ignore[misc]  # tqdm carries no types
    """A bar without the thread that tqdm starts to watch over its bars: processes are forked beside it."""

    monitor_interval = 0


def _bar(**settings: Any) -> Any:
    try:
        known = os.get_terminal_size(sys.stderr.fileno()).columns > 0
    except (OSError, ValueError):
        known = True  # COLUMNS says it
    # A terminal that does not know its size gets no bar from tqdm.
    size = {"dynamic_ncols": True} if known else {"ncols": 80, "nrows": 24}
    return _Bar(file=sys.stderr, mininterval=_REDRAW_S, miniters=1, **size, **settings)
