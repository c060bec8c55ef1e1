"""A server that is away, comes back, hangs, refuses, or holds its locks."""

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from facesearch.config import DatabaseSettings, Settings
from facesearch.databases import MySQLImageDatabase, open_image_database, open_job_store
from facesearch.databases import mysql as mysql_module
from facesearch.errors import DatabaseUnavailable, FacesearchError, InvalidParameter
from facesearch.interfaces import ImageDatabase
from tests.contracts.image_database import MODEL, all_changes, new_face
from tests.mariadb import MariaDB
from tests.real.databases.processes import in_time

pytestmark = pytest.mark.mysql


@pytest.fixture(scope="module")
def server(mariadb: MariaDB) -> Iterator[MariaDB]:
    """A server that these tests may stop, kill and pause; `mariadb` says whether there can be one."""
    assert mariadb.port
    with MariaDB() as server:
        yield server


@pytest.fixture
def settings(server: MariaDB) -> DatabaseSettings:
    return server.new_database(wait_s=2, connections=2)


@pytest.fixture
def database(settings: DatabaseSettings) -> Iterator[MySQLImageDatabase]:
    database = MySQLImageDatabase(settings)
    yield database
    database.close()


def assert_away(database: ImageDatabase) -> None:
    jobs = open_job_store(database)
    calls: list[Callable[[], object]] = [
        database.ping,
        database.newest_change,
        database.gallery_model,
        lambda: database.get_faces([1]),
        lambda: database.add_faces([new_face()], MODEL),
        lambda: database.delete_faces([1]),
        lambda: all_changes(database),
        lambda: database.alone().__enter__(),
        lambda: jobs.claim("place", "owner", 15.0, 1),
        lambda: jobs.first_answer("key"),
    ]
    for call in calls:
        with pytest.raises(DatabaseUnavailable):
            in_time(call)


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_server_that_comes_back_is_used_again(
    server: MariaDB, database: MySQLImageDatabase, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    [before] = database.add_faces([new_face()], MODEL)
    getattr(server, how)()
    try:
        with caplog.at_level(logging.INFO):
            assert_away(database)
    finally:
        server.start()
    [after] = database.add_faces([new_face()], MODEL)
    assert [change.face_id for change in all_changes(database)] == [before, after]
    assert [record for record in caplog.records if record.exc_info] == []


def test_a_database_that_was_away_at_the_start_is_prepared_later(
    server: MariaDB, settings: DatabaseSettings
) -> None:
    server.stop()
    try:
        database = open_image_database(Settings(database=settings))
        with pytest.raises(DatabaseUnavailable):
            database.prepare()
        assert_away(database)
    finally:
        server.start()
    assert database.newest_change() == 0
    assert database.add_faces([new_face()], MODEL)
    database.close()


def test_a_server_that_answers_nothing_is_not_waited_for_long(
    server: MariaDB, database: MySQLImageDatabase
) -> None:
    database.add_faces([new_face()], MODEL)
    server.pause()
    try:
        assert_away(database)
    finally:
        server.resume()
    assert in_time(database.newest_change) >= 1


def test_a_server_lost_inside_a_transaction_is_reported(
    server: MariaDB, database: MySQLImageDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    database.prepare()

    def lose_it_before_the_commit() -> None:
        with database.transaction():
            database.add_faces([new_face()], MODEL)
            server.kill()

    def lose_it_before_a_verb() -> None:
        with database.transaction():
            database.add_faces([new_face()], MODEL)
            server.kill()
            database.add_faces([new_face()], MODEL)

    for lose_it in (lose_it_before_the_commit, lose_it_before_a_verb):
        try:
            with pytest.raises(DatabaseUnavailable):
                lose_it()
        finally:
            server.start()
        assert database.newest_change() == 0
    assert [record for record in caplog.records if record.exc_info] == []


def test_connections_that_the_server_closed_are_replaced(
    server: MariaDB, settings: DatabaseSettings, database: MySQLImageDatabase
) -> None:
    database.prepare()
    rows = server.execute(f"SELECT id FROM information_schema.processlist WHERE user = '{settings.user}'")
    server.execute(*(f"KILL {number}" for (number,) in rows))
    assert rows
    assert database.newest_change() == 0


def test_a_held_lock_is_waited_for_and_then_reported(
    settings: DatabaseSettings, database: MySQLImageDatabase
) -> None:
    holder = MySQLImageDatabase(settings)
    with holder.transaction():
        holder.add_faces([new_face()], MODEL)
        with pytest.raises(DatabaseUnavailable, match="busy"):
            in_time(lambda: database.add_faces([new_face()], MODEL))
        assert database.newest_change() == 0
    database.add_faces([new_face()], MODEL)
    assert [change.number for change in all_changes(database)] == [1, 2]
    holder.close()


def test_a_process_that_froze_in_a_transaction_loses_its_locks(
    server: MariaDB, settings: DatabaseSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody else would tell the server to give up on it."""
    if "MariaDB" not in server.execute("SELECT VERSION()")[0][0]:
        pytest.skip("MySQL knows no limit of idle transactions, only one of idle connections")
    monkeypatch.setattr(mysql_module, "_IDLE_WAITS", 1)
    frozen, others = MySQLImageDatabase(settings), MySQLImageDatabase(settings)
    others.prepare()

    def add() -> bool:
        try:
            return bool(others.add_faces([new_face()], MODEL))
        except DatabaseUnavailable:
            return False

    def freeze() -> None:
        with frozen.alone():
            assert any(in_time(add) for _ in range(20))

    with pytest.raises(DatabaseUnavailable):
        freeze()
    assert others.newest_change() == 1
    frozen.close()
    others.close()


def test_one_of_two_deadlocked_transactions_is_told_to_come_again(
    server: MariaDB,
) -> None:
    database = MySQLImageDatabase(server.new_database(wait_s=20))
    database.create("t", {"id": "INTEGER PRIMARY KEY", "n": "INTEGER"})
    database.insert("t", [{"id": 1, "n": 0}, {"id": 2, "n": 0}])
    with ThreadPoolExecutor(1) as other:

        def crossed() -> None:
            with database.transaction():
                database.update("t", {"n": 2}, {"id": 2})
                database.update("t", {"n": 2}, {"id": 1})

        failures: list[BaseException | None] = []
        try:
            with database.transaction():
                database.update("t", {"n": 1}, {"id": 1})
                waiting = other.submit(crossed)
                blocked = "SELECT COUNT(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'"
                for _ in range(10_000):
                    if server.execute(blocked) == [(1,)]:
                        break
                database.update("t", {"n": 1}, {"id": 2})
        except DatabaseUnavailable as error:
            failures.append(error)
        failures.append(waiting.exception(60))
    assert [type(failure) for failure in failures if failure] == [DatabaseUnavailable]
    assert len({row["n"] for row in database.select("t")}) == 1
    database.close()


def test_connections_in_use_are_waited_for_and_then_reported(database: MySQLImageDatabase) -> None:
    database.prepare()
    with ThreadPoolExecutor(1) as other, database.transaction(), database._reading():
        assert isinstance(other.submit(database.ping).exception(30), DatabaseUnavailable)
    database.ping()


def test_a_server_without_a_free_connection_is_reported(server: MariaDB, settings: DatabaseSettings) -> None:
    server.execute(f"ALTER USER '{settings.user}'@'%' WITH MAX_USER_CONNECTIONS 1")
    first, second = MySQLImageDatabase(settings), MySQLImageDatabase(settings)
    with first._reading(), pytest.raises(DatabaseUnavailable, match="no connection left"):
        second.ping()
    first.close()
    second.close()


@pytest.mark.parametrize("wrong", [{"password": "wrong"}, {"user": "nobody"}, {"database": "nothing"}])
def test_a_refused_login_says_so_and_names_nothing(
    server: MariaDB, settings: DatabaseSettings, wrong: dict[str, str]
) -> None:
    values = settings.model_dump() | {"password": settings.password.get_secret_value()} | wrong
    database = MySQLImageDatabase(DatabaseSettings.model_validate(values))
    with pytest.raises(DatabaseUnavailable, match="refuses") as caught:
        database.prepare()
    database.close()
    told = str(caught.value)
    assert not any(str(values[key]) in told for key in ("host", "port", "user", "password"))


def test_values_are_kept_whole_also_where_the_server_is_lenient(server: MariaDB) -> None:
    server.execute("SET GLOBAL sql_mode = ''")
    database = MySQLImageDatabase(server.new_database())
    database.create("t", {"id": "INTEGER", "name": "VARCHAR(3)", "small": "TINYINT"})
    for row in ({"id": 1, "name": "four"}, {"id": 1, "small": 200}, {"id": 1, "small": "x"}):
        with pytest.raises(InvalidParameter):
            database.insert("t", [row])
    with pytest.raises(InvalidParameter):
        database.insert("t", [{"id": 1, "name": "n" * 20_000_000}])
    assert database.select("t") == []
    database.close()


@pytest.mark.parametrize("number", [1040, 1047, 1129, 1135, 1180, 1205, 1206, 1213, 1927])
def test_what_may_pass_by_itself_is_to_be_tried_again(database: MySQLImageDatabase, number: int) -> None:
    database.prepare()
    with pytest.raises(DatabaseUnavailable), database._reading() as connection:
        connection.exec_driver_sql(f"SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = {number}")


def test_a_statement_that_fails_for_no_known_reason_is_still_our_error(database: MySQLImageDatabase) -> None:
    database.prepare()
    with pytest.raises(FacesearchError) as caught, database._reading() as connection:
        connection.exec_driver_sql("NO SUCH STATEMENT")
    assert "STATEMENT" not in str(caught.value)
