from collections.abc import Iterator
from datetime import timedelta, timezone
from pathlib import Path

import pytest

from facesearch.databases import SQLImageDatabase, SQLiteImageDatabase, SQLKeyStore, open_key_store
from facesearch.errors import Conflict
from tests.contracts.job_parts import BEGUN
from tests.contracts.key_store import LATER, KeyStoreContract, new_key
from tests.engines import OnSQLite
from tests.fakes import FakeImageDatabase


class TestSQLKeyStoreOnSQLite(OnSQLite, KeyStoreContract):
    pass


@pytest.fixture
def database(tmp_path: Path) -> Iterator[SQLImageDatabase]:
    database = SQLiteImageDatabase(tmp_path / "test.db", wait_s=0.1)
    yield database
    database.close()


def test_times_of_another_zone_are_stored_in_utc(database: SQLImageDatabase) -> None:
    east = timezone(timedelta(hours=9))
    keys = SQLKeyStore(database, lambda: BEGUN.astimezone(east))
    key = keys.add(new_key(expires_at=LATER.astimezone(east)))
    assert (key.created_at, key.expires_at) == (BEGUN, LATER)
    [row] = database.select("FACESEARCH_KEY", ["created_at", "expires_at"])
    assert row == {"created_at": BEGUN.replace(tzinfo=None), "expires_at": LATER.replace(tzinfo=None)}


def test_asking_writes_nothing_and_waits_for_nobody(database: SQLImageDatabase, tmp_path: Path) -> None:
    keys = open_key_store(database)
    added = keys.add(new_key())
    writer = SQLiteImageDatabase(tmp_path / "test.db")
    with writer.transaction():
        assert keys.version()
        assert keys.keys() == (added,)
    writer.close()


def test_a_version_that_was_lost_is_told(database: SQLImageDatabase) -> None:
    keys = open_key_store(database)
    assert keys.version() == ""
    database.delete("FACESEARCH_KEYS", {"id": 1})
    with pytest.raises(Conflict, match="FACESEARCH_KEYS"):
        keys.version()


def test_keys_lie_in_an_sql_database() -> None:
    with pytest.raises(TypeError):
        open_key_store(FakeImageDatabase())
