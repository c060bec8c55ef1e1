"""Overwrites what SQLite leaves of deleted rows where it stores nothing at the time.

`secure_delete` overwrites a row where it was, but not the copies that stay in the unused middle of a page
when SQLite moves rows to a neighbouring one: of a thousand deleted vectors one may be found there. To VACUUM
writes the whole file anew; what is done here reads it once, and writes where there is something to overwrite.

The format of the file: https://sqlite.org/fileformat2.html
"""

import os
import sqlite3
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from facesearch.errors import Conflict, DatabaseUnavailable

PAGES_A_READ = 1_024

_TREES = frozenset([2, 5, 10, 13])  # the first byte of a page that holds rows or keys
_INNER = frozenset([2, 5])
_AUTO_VACUUM_AT, _FIRST_FREE_AT = 52, 32
# Above it, the first byte of a page that holds part of a long value may be one of _TREES.
_MOST_PAGES = 2 << 24

_descriptors: dict[tuple[int, int], int] = {}
_opening = threading.Lock()


class FileWiper:
    """Overwrites what is left of deleted rows in one SQLite file and its log of changes.

    Lives as long as its database. Any thread may call it; of several, in whatever process, one is at work at
    a time. Not to be carried over a fork.

    Args:
        connect: opens a connection that may write, in autocommit, and waits for locks.
        wait_s: bounds the wait for those who still read what was there before.
    """

    def __init__(self, file: Path, connect: Callable[[], sqlite3.Connection], wait_s: float) -> None:
        self._file = file
        self._connect = connect
        self._wait_s = wait_s

    def wipe(self) -> None:
        """Have neither the file nor the log hold anything of what was deleted before this call.

        Of what was deleted without `secure_delete`, the end of a value that was longer than a page may stay.
        Others may read meanwhile, and wait with their changes.

        Raises:
            DatabaseUnavailable: others read for too long what was there before.
            sqlite3.Error
        """
        # A connection of its own: what others have in memory of these pages is put aside by the change
        # that is made at the end, and this one has nothing in memory.
        connection = self._connect()
        try:
            self._take_over_log(connection)
            try:
                if _is_plain(self._descriptor()):
                    overwrite_unused(self._descriptor())
                    # To set a row to what it is would change nothing.
                    connection.execute("INSERT INTO FACESEARCH_LOCK (name) VALUES ('wiping')")
                    connection.execute("DELETE FROM FACESEARCH_LOCK WHERE name = 'wiping'")
                    connection.execute("COMMIT")
                    return
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        finally:
            connection.close()

    def _take_over_log(self, connection: sqlite3.Connection) -> None:
        """Write the whole log to the file, empty it, and hold the lock of writers."""
        log = self._file.with_name(f"{self._file.name}-wal")
        deadline = time.monotonic() + self._wait_s
        while True:
            # Waits for readers and writers; where that takes too long it says so, or fails.
            [(busy, *_)] = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            if not busy:
                connection.execute("BEGIN IMMEDIATE")
                if not log.exists() or log.stat().st_size == 0:
                    return
                connection.execute("ROLLBACK")  # somebody wrote in between
            if time.monotonic() > deadline:
                raise DatabaseUnavailable("Others read for too long what was removed from the database.")

    def _descriptor(self) -> int:
        """A descriptor of the file that is never closed.

        To close one would end the locks of all of this process's connections to the file
        (https://sqlite.org/howtocorrupt.html, 2.2).
        """
        with _opening:
            status = self._file.stat()
            known = (status.st_dev, status.st_ino)
            if known not in _descriptors:
                _descriptors[known] = os.open(self._file, os.O_RDWR | os.O_CLOEXEC)
            return _descriptors[known]


def overwrite_unused(descriptor: int) -> None:
    """Overwrite with zeros all that is stored nowhere, in a file whose log is empty and that nobody changes.

    Readers may go on: no byte that means anything is written.

    Raises:
        Conflict: the file is not as SQLite writes it.
    """
    head = os.pread(descriptor, 100, 0)
    page_size = struct.unpack_from(">H", head, 16)[0]
    page_size = 65_536 if page_size == 1 else page_size
    usable = page_size - head[20]
    zeros = bytes(page_size)
    written = False

    def overwrite(start: int, content: bytes) -> None:
        nonlocal written
        if content != zeros[: len(content)]:
            os.pwrite(descriptor, zeros[: len(content)], start)
            written = True

    # First, so that what a page held before it became free is not taken for a tree's.
    first_free = struct.unpack_from(">I", head, _FIRST_FREE_AT)[0]
    for number, used in _free_pages(descriptor, first_free, page_size):
        at = (number - 1) * page_size + used
        overwrite(at, os.pread(descriptor, page_size - used, at))
    for at, page in _pages(descriptor, page_size):
        first = 100 if at == 0 else 0
        if page[first] in _TREES:
            for start, end in _unused(page, first, usable):
                overwrite(at + start, page[start:end])
    if written:
        os.fsync(descriptor)


def _is_plain(descriptor: int) -> bool:
    """Whether a page's first byte tells what it is."""
    head = os.pread(descriptor, 100, 0)
    page_size = struct.unpack_from(">H", head, 16)[0]
    few = os.fstat(descriptor).st_size < _MOST_PAGES * (65_536 if page_size == 1 else page_size)
    return few and struct.unpack_from(">I", head, _AUTO_VACUUM_AT)[0] == 0


def _pages(descriptor: int, page_size: int) -> Iterator[tuple[int, bytes]]:
    """Yield each page with its offset in the file."""
    at = 0
    while block := os.pread(descriptor, PAGES_A_READ * page_size, at):
        for start in range(0, len(block), page_size):
            # Of most pages that hold long values, nothing but the first byte is looked at.
            if block[start] in _TREES or at + start == 0:
                yield at + start, block[start : start + page_size]
        at += len(block)


def _unused(page: bytes, first: int, usable: int) -> Iterator[tuple[int, int]]:
    """Yield the parts of a page of a tree that hold nothing; `first` is where its head begins."""
    kind, free, cells, content = struct.unpack_from(">BHHH", page, first)
    content = content or 65_536
    rows_end = first + (12 if kind in _INNER else 8) + 2 * cells
    if not rows_end <= content <= usable:
        raise Conflict("The database's file is damaged, or is no SQLite database.")
    yield rows_end, content
    while free:
        following, size = struct.unpack_from(">HH", page, free)
        if not (content <= free <= free + size <= usable) or (following and following <= free):
            raise Conflict("The database's file is damaged, or is no SQLite database.")
        yield free + 4, free + size
        free = following


def _free_pages(descriptor: int, trunk: int, page_size: int) -> Iterator[tuple[int, int]]:
    """Yield the numbers of pages that hold nothing but a list of others, which its first bytes are."""
    seen = set()
    while trunk and trunk not in seen:
        seen.add(trunk)
        page = os.pread(descriptor, page_size, (trunk - 1) * page_size)
        following, count = struct.unpack_from(">II", page, 0)
        if count > page_size // 4 - 2:
            raise Conflict("The database's file is damaged, or is no SQLite database.")
        yield trunk, 8 + 4 * count
        yield from ((leaf, 0) for leaf in struct.unpack_from(f">{count}I", page, 8))
        trunk = following
