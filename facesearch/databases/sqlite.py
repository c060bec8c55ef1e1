"""SQLite behind the five verbs: the embedded default."""

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, QueuePool, create_engine, event

from facesearch.databases.faces import SQLImageDatabase
from facesearch.databases.sql import WRITES, SQLDatabase
from facesearch.databases.wiping import FileWiper
from facesearch.errors import Conflict, DatabaseUnavailable, FacesearchError, InvalidParameter
from facesearch.interfaces import ImageDatabase

_UNAVAILABLE = {
    sqlite3.SQLITE_BUSY: "The database is busy: another change held its lock for too long.",
    sqlite3.SQLITE_LOCKED: "The database is busy: another change held its lock for too long.",
    sqlite3.SQLITE_PROTOCOL: "The database is busy: another change held its lock for too long.",
    sqlite3.SQLITE_FULL: "The database's disk is full.",
    sqlite3.SQLITE_IOERR: "The database's disk cannot be read or written.",
    sqlite3.SQLITE_CANTOPEN: "The database's file cannot be opened.",
    sqlite3.SQLITE_PERM: "The database's file cannot be opened.",
    sqlite3.SQLITE_READONLY: "The database's file cannot be written.",
    sqlite3.SQLITE_NOMEM: "The database ran out of memory.",
    sqlite3.SQLITE_INTERRUPT: "The database was interrupted.",
}


class SQLiteDatabase(SQLDatabase):
    """The five verbs on one SQLite file, shared by the processes of one host.

    Lives as long as its process, and pools its connections. Any thread may call it; a transaction
    belongs to the thread that opened it. Not to be carried over a fork. Making it opens nothing; the
    file is made at the first call, readable by its owner alone. Its folder must exist, on a local disk.

    Readers and one writer work side by side (WAL). A write takes the write lock at its start (BEGIN
    IMMEDIATE): one that began reading and writes later would fail at once where another wrote between.
    A commit is on the disk when it returns (synchronous=FULL): with NORMAL a power cut could take back
    the last commits, faces that were answered with OK among them.

    Args:
        connections: how many this process holds at most.
        wait_s: bounds the wait for a free connection and for the write lock.
        read_only: nothing is written, and no file is left behind that was not there.
    """

    def __init__(
        self, file: Path, *, connections: int = 8, wait_s: float = 5.0, read_only: bool = False
    ) -> None:
        self._file = file
        self._read_only = read_only
        self._wait_s = wait_s
        engine = create_engine(
            "sqlite://",
            creator=self._connect,
            poolclass=QueuePool,
            pool_size=connections,
            max_overflow=0,
            pool_timeout=wait_s,
            pool_use_lifo=True,
            # Every connection comes back with its transaction ended; see sql.give_back.
            pool_reset_on_return=None,
            hide_parameters=True,
        )
        event.listen(engine, "begin", _begin)
        super().__init__(engine)

    def _connect(self) -> sqlite3.Connection:
        return self._connect_to_read() if self._read_only else self._connect_to_write()

    def _connect_to_read(self) -> sqlite3.Connection:
        """Connect to a file that must be there.

        Where there is a log of changes it is read as it is. Where there is none, one is made and goes with
        the last connection, which a connection that cannot write would leave behind.
        """
        if not self._file.exists():
            raise DatabaseUnavailable("There is no database yet: the service makes it when it starts.")
        log = self._file.with_name(f"{self._file.name}-wal")
        writable = not log.exists() and os.access(self._file, os.W_OK) and os.access(log.parent, os.W_OK)
        address = f"{self._file.absolute().as_uri()}?mode={'rw' if writable else 'ro'}"
        connection = sqlite3.connect(
            address, timeout=self._wait_s, isolation_level=None, check_same_thread=False, uri=True
        )
        connection.execute("PRAGMA query_only = ON")
        return connection

    def _connect_to_write(self) -> sqlite3.Connection:
        # Made without being opened: to close a descriptor of the file would end the locks of this process's
        # other connections, and the next process to leave would delete the log that these write to
        # (https://sqlite.org/howtocorrupt.html, 2.2). What cannot be made fails below, as an error of SQLite.
        with suppress(OSError):
            os.mknod(self._file, 0o600)
        connection = sqlite3.connect(
            self._file, timeout=self._wait_s, isolation_level=None, check_same_thread=False
        )
        try:
            self._use_wal(connection)
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
            # What is deleted is overwritten where it was; see wiping.FileWiper for where else it may be.
            connection.execute("PRAGMA secure_delete = ON")
        except BaseException:
            connection.close()
            raise
        return connection

    def _use_wal(self, connection: sqlite3.Connection) -> None:
        """Switch a new file to WAL: SQLite does not wait for its busy timeout in this one place."""
        deadline = time.monotonic() + self._wait_s
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    def _ping_statement(self) -> str:
        # Unlike SELECT 1, this reads the file.
        return "PRAGMA schema_version"

    def _meaning(self, error: BaseException) -> FacesearchError | None:
        if isinstance(error, OverflowError):
            return InvalidParameter("A value does not fit its column.")
        if not isinstance(error, sqlite3.Error):
            return None
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in _UNAVAILABLE:
            return DatabaseUnavailable(_UNAVAILABLE[code])
        if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            return Conflict("The database's file is damaged, or is no SQLite database.")
        if code == sqlite3.SQLITE_CONSTRAINT:
            return _broken_constraint(error)
        if code in (sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_MISMATCH):
            return InvalidParameter("A value does not fit its column.")
        return None


class SQLiteImageDatabase(SQLiteDatabase, SQLImageDatabase, ImageDatabase):
    """The truth about faces in one SQLite file; lifetime and threads as for SQLiteDatabase."""

    def wipe(self) -> None:
        """Have no file of the database hold what was removed before; not to be called inside a transaction.

        Reads the whole file, and keeps others from writing meanwhile: a second or so for a gigabyte.

        Raises:
            DatabaseUnavailable: also where others read for too long what was there before.
        """
        if self._transaction is not None:
            raise InvalidParameter("What a transaction removes is there until its end.")
        self.ready()
        with self._translated():
            FileWiper(self._file, self._connect_to_write, self._wait_s).wipe()

    @contextmanager
    def _migrating(self) -> Iterator[Connection]:
        """A connection that alone may migrate: it holds the file's write lock; all or nothing is done."""
        with self._begun() as connection:
            yield connection


def _begin(connection: Connection) -> None:
    if connection.get_execution_options().get(WRITES):
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _broken_constraint(error: Any) -> FacesearchError:
    if error.sqlite_errorcode == sqlite3.SQLITE_CONSTRAINT_NOTNULL:
        return InvalidParameter("A value does not fit its column.")
    return Conflict("The change contradicts what is stored.")
