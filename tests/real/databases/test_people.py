"""The contract of a person store on a server."""

from collections.abc import Iterator

import pytest

from facesearch.databases import MySQLImageDatabase, open_collection_store
from facesearch.interfaces import CollectionStore
from tests.contracts.person_store import PersonStoreContract
from tests.mariadb import MariaDB


@pytest.mark.mysql
class TestSQLPersonStoreOnMySQL(PersonStoreContract):
    @pytest.fixture
    def collections(self, mariadb: MariaDB) -> Iterator[CollectionStore]:
        database = MySQLImageDatabase(mariadb.new_database(wait_s=60))
        yield open_collection_store(database)
        database.close()
