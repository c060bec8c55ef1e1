"""The contracts of the database and its stores on a server."""

from collections.abc import Iterator

import pytest

from facesearch.databases import MySQLDatabase
from facesearch.interfaces import DatabaseCRUD
from tests.contracts.collection_store import CollectionStoreContract
from tests.contracts.database_crud import DatabaseCRUDContract
from tests.contracts.image_database import ImageDatabaseContract
from tests.contracts.job_store import JobStoreContract
from tests.contracts.key_store import KeyStoreContract
from tests.contracts.person_store import PersonStoreContract
from tests.contracts.reencoding_store import ReencodingStoreContract
from tests.contracts.transfer_store import TransferStoreContract
from tests.engines import OnMySQL
from tests.mariadb import MariaDB

pytestmark = pytest.mark.mysql


class TestMySQLDatabase(DatabaseCRUDContract):
    @pytest.fixture
    def database(self, mariadb: MariaDB) -> Iterator[DatabaseCRUD]:
        database = MySQLDatabase(mariadb.new_database())
        yield database
        database.close()


class TestMySQLImageDatabase(OnMySQL, ImageDatabaseContract):
    pass


class TestSQLCollectionStoreOnMySQL(OnMySQL, CollectionStoreContract):
    pass


class TestSQLPersonStoreOnMySQL(OnMySQL, PersonStoreContract):
    pass


class TestSQLJobStoreOnMySQL(OnMySQL, JobStoreContract):
    pass


class TestSQLKeyStoreOnMySQL(OnMySQL, KeyStoreContract):
    pass


class TestSQLReencodingStoreOnMySQL(OnMySQL, ReencodingStoreContract):
    pass


class TestSQLTransferStoreOnMySQL(OnMySQL, TransferStoreContract):
    pass
