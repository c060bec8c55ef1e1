from collections.abc import Iterator

import pytest

from facesearch.databases import MySQLDatabase, MySQLImageDatabase
from facesearch.interfaces import DatabaseCRUD, ImageDatabase
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
