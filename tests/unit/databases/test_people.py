from collections.abc import Iterator
from pathlib import Path

import pytest

from facesearch.databases import SQLiteImageDatabase, open_collection_store
from facesearch.interfaces import CollectionStore
from tests.contracts.person_store import PersonStoreContract


class TestSQLPersonStoreOnSQLite(PersonStoreContract):
    @pytest.fixture
    def collections(self, tmp_path: Path) -> Iterator[CollectionStore]:
        database = SQLiteImageDatabase(tmp_path / "test.db", wait_s=60)
        yield open_collection_store(database)
        database.close()
