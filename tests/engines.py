"""A fresh database on each engine, and the stores in it: what a subclass of a contract inherits first."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from facesearch.databases import (
    MySQLImageDatabase,
    SQLImageDatabase,
    SQLiteImageDatabase,
    SQLJobStore,
    SQLKeyStore,
    open_collection_store,
    open_reencoding_store,
    open_transfer_store,
)
from facesearch.interfaces import CollectionStore, JobStore, KeyStore, ReencodingStore, TransferStore
from tests.contracts.job_parts import Clock
from tests.mariadb import MariaDB

# As long as the slowest of many writers at once may have to wait.
WAIT_S = 60


class SQLStores:
    """The stores of `database`; jobs and keys are on `clock`."""

    @pytest.fixture
    def collections(self, database: SQLImageDatabase) -> CollectionStore:
        return open_collection_store(database)

    @pytest.fixture
    def jobs(self, database: SQLImageDatabase, clock: Clock) -> JobStore:
        return SQLJobStore(database, clock)

    @pytest.fixture
    def keys(self, database: SQLImageDatabase, clock: Clock) -> KeyStore:
        return SQLKeyStore(database, clock)

    @pytest.fixture
    def store(self, database: SQLImageDatabase) -> ReencodingStore:
        return open_reencoding_store(database)

    @pytest.fixture
    def transfers(self, database: SQLImageDatabase) -> TransferStore:
        return open_transfer_store(database)


class OnSQLite(SQLStores):
    @pytest.fixture
    def database(self, tmp_path: Path) -> Iterator[SQLImageDatabase]:
        database = SQLiteImageDatabase(tmp_path / "test.db", wait_s=WAIT_S)
        yield database
        database.close()


class OnMySQL(SQLStores):
    @pytest.fixture
    def database(self, mariadb: MariaDB) -> Iterator[SQLImageDatabase]:
        database = MySQLImageDatabase(mariadb.new_database(wait_s=WAIT_S))
        yield database
        database.close()
