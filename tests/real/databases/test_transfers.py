"""The contract of TransferStore on a server."""

from collections.abc import Iterator

import pytest

from facesearch.databases import MySQLImageDatabase, open_collection_store, open_transfer_store
from facesearch.interfaces import CollectionStore, ImageDatabase, TransferStore
from tests.contracts.transfer_store import TransferStoreContract
from tests.mariadb import MariaDB


@pytest.mark.mysql
class TestSQLTransferStoreOnMySQL(TransferStoreContract):
    @pytest.fixture
    def database(self, mariadb: MariaDB) -> Iterator[ImageDatabase]:
        database = MySQLImageDatabase(mariadb.new_database(wait_s=30))
        yield database
        database.close()

    @pytest.fixture
    def collections(self, database: ImageDatabase) -> CollectionStore:
        return open_collection_store(database)

    @pytest.fixture
    def transfers(self, database: ImageDatabase) -> TransferStore:
        return open_transfer_store(database)
