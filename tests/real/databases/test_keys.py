"""The contract of a key store on a server."""

from collections.abc import Iterator

import pytest

from facesearch.databases import MySQLImageDatabase, SQLImageDatabase, SQLKeyStore
from facesearch.interfaces import ImageDatabase, KeyStore
from tests.contracts.job_parts import Clock
from tests.contracts.key_store import KeyStoreContract
from tests.mariadb import MariaDB


@pytest.mark.mysql
class TestSQLKeyStoreOnMySQL(KeyStoreContract):
    @pytest.fixture
    def database(self, mariadb: MariaDB) -> Iterator[ImageDatabase]:
        database = MySQLImageDatabase(mariadb.new_database(wait_s=30))
        yield database
        database.close()

    @pytest.fixture
    def keys(self, database: ImageDatabase, clock: Clock) -> KeyStore:
        assert isinstance(database, SQLImageDatabase)
        return SQLKeyStore(database, clock)
