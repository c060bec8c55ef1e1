"""Who may use the service, on a server."""

from collections.abc import Iterator

import pytest

from facesearch.databases import MySQLImageDatabase
from facesearch.interfaces import ImageDatabase
from tests.contracts.access import StoredAccessContract
from tests.mariadb import MariaDB


@pytest.mark.mysql
class TestKeyAccessOnMySQL(StoredAccessContract):
    @pytest.fixture
    def database(self, mariadb: MariaDB) -> Iterator[ImageDatabase]:
        database = MySQLImageDatabase(mariadb.new_database(wait_s=30))
        database.prepare()  # which takes longer than a request waits
        yield database
        database.close()
