from collections.abc import Iterator
from pathlib import Path

import pytest

from facesearch.databases import SQLiteImageDatabase, open_collection_store
from facesearch.interfaces import CollectionStore, ImageDatabase
from tests.contracts.collection_store import CollectionStoreContract


class TestSQLCollectionStore(CollectionStoreContract):
    @pytest.fixture
    def database(self, tmp_path: Path) -> Iterator[ImageDatabase]:
        database = SQLiteImageDatabase(tmp_path / "test.db", wait_s=30)
        yield database
        database.close()

    @pytest.fixture
    def collections(self, database: ImageDatabase) -> CollectionStore:
        return open_collection_store(database)
