from collections.abc import Iterator
from pathlib import Path

import pytest

from facesearch.databases import (
    SQLImageDatabase,
    SQLiteImageDatabase,
    SQLReencodingStore,
    open_collection_store,
    open_reencoding_store,
)
from facesearch.interfaces import CollectionStore, ImageDatabase, ReencodingStore
from tests.contracts.reencoding_store import ReencodingStoreContract
from tests.fakes import FakeImageDatabase


class TestSQLReencodingStoreOnSQLite(ReencodingStoreContract):
    @pytest.fixture
    def database(self, tmp_path: Path) -> Iterator[ImageDatabase]:
        database = SQLiteImageDatabase(tmp_path / "test.db", wait_s=30)
        yield database
        database.close()

    @pytest.fixture
    def collections(self, database: ImageDatabase) -> CollectionStore:
        return open_collection_store(database)

    @pytest.fixture
    def store(self, database: ImageDatabase) -> ReencodingStore:
        assert isinstance(database, SQLImageDatabase)
        return SQLReencodingStore(database)


def test_it_lies_in_an_sql_database() -> None:
    with pytest.raises(TypeError):
        open_reencoding_store(FakeImageDatabase())
