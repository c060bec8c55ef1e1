import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from facesearch.databases import SQLiteDatabase, SQLiteImageDatabase
from facesearch.databases.migrate import check
from facesearch.errors import Conflict, DatabaseUnavailable
from facesearch.interfaces import DatabaseCRUD
from tests.contracts.database_crud import DatabaseCRUDContract
from tests.contracts.image_database import MODEL, ImageDatabaseContract, new_face
from tests.engines import OnSQLite


class TestSQLiteDatabase(DatabaseCRUDContract):
    @pytest.fixture
    def database(self, tmp_path: Path) -> Iterator[DatabaseCRUD]:
        database = SQLiteDatabase(tmp_path / "test.db")
        yield database
        database.close()


class TestSQLiteImageDatabase(OnSQLite, ImageDatabaseContract):
    pass


def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    database = SQLiteImageDatabase(tmp_path / "test.db")
    database.prepare()
    modes = {name.name: stat.S_IMODE(name.stat().st_mode) for name in tmp_path.iterdir()}
    database.close()
    assert modes == {"test.db": 0o600, "test.db-wal": 0o600, "test.db-shm": 0o600}


def test_commits_are_on_the_disk_and_readers_do_not_wait(tmp_path: Path) -> None:
    database = SQLiteDatabase(tmp_path / "test.db")
    with database._reading() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "busy_timeout", "secure_delete")
        }
    database.close()
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "busy_timeout": 5000, "secure_delete": 1}


@pytest.mark.parametrize("content", [b"not a database\n" * 100, b"SQLite format 3\x00" + b"\xff" * 4096])
def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "test.db"
    file.write_bytes(content)
    database = SQLiteImageDatabase(file)
    with pytest.raises(Conflict) as caught:
        database.prepare()
    database.close()
    assert str(tmp_path) not in str(caught.value)
    assert file.read_bytes() == content


def test_a_damaged_file_gives_an_error_and_no_wrong_answer(tmp_path: Path) -> None:
    file = tmp_path / "test.db"
    database = SQLiteImageDatabase(file)
    database.add_faces([new_face([0.0] * 128)] * 2_000, MODEL)
    database.close()
    content = bytearray(file.read_bytes())
    content[len(content) // 2 :: 3] = b"\xa5" * len(content[len(content) // 2 :: 3])
    file.write_bytes(content)
    database = SQLiteImageDatabase(file)
    with pytest.raises(Conflict):
        list(database.changes_after(0, MODEL))
    database.close()


def test_a_missing_folder_is_reported_without_its_name(tmp_path: Path) -> None:
    database = SQLiteDatabase(tmp_path / "missing" / "test.db")
    with pytest.raises(DatabaseUnavailable) as caught:
        database.ping()
    assert str(tmp_path) not in str(caught.value)


def test_a_held_write_lock_is_waited_for_and_then_reported(tmp_path: Path) -> None:
    holder = SQLiteDatabase(tmp_path / "test.db")
    holder.create("people", {"id": "INTEGER"})
    other = SQLiteDatabase(tmp_path / "test.db", wait_s=0.1)
    with holder.transaction():
        with pytest.raises(DatabaseUnavailable, match="busy"):
            other.insert("people", [{"id": 1}])
        assert other.select("people") == []
    other.insert("people", [{"id": 1}])
    holder.close()
    other.close()


def test_a_transaction_that_read_first_can_still_write(tmp_path: Path) -> None:
    databases = [SQLiteDatabase(tmp_path / "test.db", wait_s=30) for _ in range(2)]
    databases[0].create("counter", {"id": "INTEGER", "n": "INTEGER"})
    databases[0].insert("counter", [{"id": 1, "n": 0}])

    def count(database: SQLiteDatabase) -> None:
        for _ in range(25):
            with database.transaction():
                [row] = database.select("counter", ["n"], {"id": 1})
                database.update("counter", {"n": row["n"] + 1}, {"id": 1})

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(count, databases))
    assert databases[0].select("counter", ["n"]) == [{"n": 50}]
    for database in databases:
        database.close()


def test_connections_in_use_are_waited_for_and_then_reported(tmp_path: Path) -> None:
    database = SQLiteDatabase(tmp_path / "test.db", connections=1, wait_s=0.1)
    database.create("people", {"id": "INTEGER"})
    with ThreadPoolExecutor(1) as other, database.transaction():
        waiting = other.submit(database.ping)
        assert isinstance(waiting.exception(30), DatabaseUnavailable)
    database.ping()
    database.close()


def test_a_process_that_leaves_does_not_delete_the_log_of_those_that_stay(tmp_path: Path) -> None:
    file = tmp_path / "test.db"
    database = SQLiteDatabase(file)
    database.create("people", {"id": "INTEGER"})
    with ThreadPoolExecutor(1) as other, database.transaction():
        other.submit(database.ping).result(30)  # has a connection of its own
    visit = "import sys, pathlib; from facesearch.databases import SQLiteDatabase as Database; "
    visit += "there = Database(pathlib.Path(sys.argv[1])); there.insert('people', [{'id': 1}]); there.close()"
    subprocess.run([sys.executable, "-c", visit, str(file)], check=True, timeout=60)
    assert (tmp_path / "test.db-wal").exists()
    database.insert("people", [{"id": 2}])
    witness = SQLiteDatabase(file)
    assert [row["id"] for row in witness.select("people", ["id"])] == [1, 2]
    witness.close()
    database.close()


def test_many_processes_may_make_the_file_at_once(tmp_path: Path) -> None:
    barrier = threading.Barrier(8)

    def make(_: int) -> str:
        database = SQLiteImageDatabase(tmp_path / "test.db", wait_s=30)
        barrier.wait(30)
        database.prepare()
        try:
            return database.database_id()
        finally:
            database.close()

    with ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(make, range(8)))) == 1


def test_tables_that_another_process_makes_meanwhile_are_not_of_another_program(tmp_path: Path) -> None:
    with closing(SQLiteImageDatabase(tmp_path / "test.db")) as database:
        database.prepare()
        with database._connection(writes=False) as connection:
            check(connection, None)  # which was the version a moment ago
