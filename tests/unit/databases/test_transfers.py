from collections.abc import Iterator
from pathlib import Path

import pytest

from facesearch.databases import (
    SQLImageDatabase,
    SQLiteImageDatabase,
    SQLTransferStore,
    open_collection_store,
    open_transfer_store,
)
from facesearch.interfaces import CollectionStore, ImageDatabase, TransferStore
from tests.contracts.transfer_store import TransferStoreContract
from tests.fakes import FakeImageDatabase


class TestSQLTransferStoreOnSQLite(TransferStoreContract):
    @pytest.fixture
    def database(self, tmp_path: Path) -> Iterator[ImageDatabase]:
        database = SQLiteImageDatabase(tmp_path / "test.db", wait_s=30)
        yield database
        database.close()

    @pytest.fixture
    def collections(self, database: ImageDatabase) -> CollectionStore:
        return open_collection_store(database)

    @pytest.fixture
    def transfers(self, database: ImageDatabase) -> TransferStore:
        assert isinstance(database, SQLImageDatabase)
        return SQLTransferStore(database)


def test_it_lies_in_an_sql_database() -> None:
    with pytest.raises(TypeError):
        open_transfer_store(FakeImageDatabase())
