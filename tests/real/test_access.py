"""Who may use the service, on a server."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from facesearch.config import AccessSettings
from facesearch.databases import MySQLImageDatabase, open_key_store
from facesearch.interfaces import Access, ImageDatabase, KeyStore
from facesearch.service import KeyAccess
from tests.contracts.access import AccessContract, NewAccess
from tests.mariadb import MariaDB


@pytest.mark.mysql
class TestKeyAccessOnMySQL(AccessContract):
    @pytest.fixture
    def database(self, mariadb: MariaDB) -> Iterator[ImageDatabase]:
        database = MySQLImageDatabase(mariadb.new_database(wait_s=30))
        database.prepare()  # which takes longer than a request waits
        yield database
        database.close()

    @pytest.fixture
    def keys(self, database: ImageDatabase) -> KeyStore:
        return open_key_store(database)

    @pytest.fixture
    def new_access(self, keys: KeyStore, tmp_path: Path) -> Iterator[NewAccess]:
        opened: list[Access] = []

        def new(settings: AccessSettings) -> Access:
            opened.append(KeyAccess(keys, tmp_path / "access", settings))
            return opened[-1]

        yield new
        for access in opened:
            access.close()
