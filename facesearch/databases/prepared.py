"""A database whose tables are made, or brought to this program's version, before they are used."""

import threading
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TypeVar

from sqlalchemy import Connection, Engine

from facesearch.databases import migrate
from facesearch.databases.sql import SQLDatabase
from facesearch.databases.tables import SCHEMA_VERSION
from facesearch.errors import Conflict

T = TypeVar("T")


class PreparedDatabase(SQLDatabase):
    """The five verbs, on tables that this program's migrations make.

    Lives as long as its process. Any thread may call it. `prepare` may fail because the database is
    away: `transaction`, `ping` and whoever calls `ready` try it again before their own work.
    """

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        # Shared by the views of several collections.
        self._is_prepared = threading.Event()

    @abstractmethod
    def _migrating(self) -> AbstractContextManager[Connection]:
        """A connection on which this process alone migrates; the wait for it is bounded."""

    def prepare(self) -> None:
        """Make or migrate the tables, once however many processes ask at the same time.

        Raises:
            ForeignTable: IMAGE_DATASET exists and is another program's.
            Conflict: a newer version of this program has migrated the database, or it was opened for
                reading alone, and its tables are not of this version.
        """
        # Not guarded against other threads: the database's lock lets one through, and a mutex here
        # would make them wait one after the other for a server that does not answer.
        version = self.checked_version()
        if version != SCHEMA_VERSION:
            if self._read_only:
                raise Conflict(_not_ready(version))
            with self._migrating() as connection:
                version = migrate.stored_version(connection)
                migrate.check(connection, version)
                if version != SCHEMA_VERSION:
                    migrate.upgrade(connection)
        self._tables.clear()
        self._is_prepared.set()

    def checked_version(self) -> str | None:
        """The version of the tables: None where there are none, "" where making them broke off.

        Raises:
            ForeignTable, Conflict: as `prepare`; nothing is changed.
        """
        with self._reading() as connection:
            version = migrate.stored_version(connection)
            migrate.check(connection, version)
        return version

    def look(self, question: Callable[[Connection], T]) -> T:
        """Return what a question reads on a connection, from tables of whatever version."""
        with self._reading() as connection:
            return question(connection)

    def ready(self) -> None:
        """Prepare the tables unless this object has done so."""
        if not self._is_prepared.is_set():
            self.prepare()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self.ready()
        with super().transaction():
            yield

    def ping(self) -> None:
        """Make a round trip to the database, and find its tables ready."""
        self.ready()
        super().ping()


def _not_ready(version: str | None) -> str:
    if version is None:
        return "The database has no tables yet: the service makes them when it starts."
    return (
        f"The database's tables are of version {version or 'none'}, and this program needs {SCHEMA_VERSION}: "
        "`facesearch migrate` brings them there."
    )
