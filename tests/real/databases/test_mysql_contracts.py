from collections.abc import Iterator

import pytest

from facesearch.databases import MySQLDatabase, MySQLImageDatabase, open_collection_store
from facesearch.interfaces import CollectionStore, DatabaseCRUD, ImageDatabase
from tests.contracts.collection_store import CollectionStoreContract
from tests.contracts.database_crud import DatabaseCRUDContract
from tests.contracts.image_database import ImageDatabaseContract
from tests.mariadb import MariaDB

pytestmark = pytest.mark.mysql


class TestMySQLDatabase(DatabaseCRUDContract):
    @pytest.fixture
    def database(self, mariadb: MariaDB) -> Iterator[DatabaseCRUD]:
        database = MySQLDatabase(mariadb.new_database())
        yield database
        database.close()


class TestMySQLImageDatabase(ImageDatabaseContract):
    @pytest.fixture
    def database(self, mariadb: MariaDB) -> Iterator[ImageDatabase]:
        database = MySQLImageDatabase(mariadb.new_database(wait_s=30))
        yield database
        database.close()


class TestMySQLCollectionStore(CollectionStoreContract):
    @pytest.fixture
    def database(self, mariadb: MariaDB) -> Iterator[ImageDatabase]:
        database = MySQLImageDatabase(mariadb.new_database(wait_s=30))
        yield database
        database.close()

    @pytest.fixture
    def collections(self, database: ImageDatabase) -> CollectionStore:
        return open_collection_store(database)
