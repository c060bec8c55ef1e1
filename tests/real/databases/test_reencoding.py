"""The contract of ReencodingStore on a server."""

from collections.abc import Iterator

import pytest

from facesearch.databases import MySQLImageDatabase, open_collection_store, open_reencoding_store
from facesearch.interfaces import CollectionStore, ImageDatabase, ReencodingStore
from tests.contracts.reencoding_store import ReencodingStoreContract
from tests.mariadb import MariaDB


@pytest.mark.mysql
class TestSQLReencodingStoreOnMySQL(ReencodingStoreContract):
    @pytest.fixture
    def database(self, mariadb: MariaDB) -> Iterator[ImageDatabase]:
        database = MySQLImageDatabase(mariadb.new_database(wait_s=30))
        yield database
        database.close()

    @pytest.fixture
    def collections(self, database: ImageDatabase) -> CollectionStore:
        return open_collection_store(database)

    @pytest.fixture
    def store(self, database: ImageDatabase) -> ReencodingStore:
        return open_reencoding_store(database)
