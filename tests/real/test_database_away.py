"""A database that goes away in different ways while an import and single requests are at work."""

import hashlib
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from typing import Any

import httpx2
import mysql.connector
import pytest

from facesearch.config import DatabaseSettings
from tests.labelled_photos import labelled
from tests.mariadb import MariaDB
from tests.real.test_service import PICTURES, mysql_settings, zipped
from tests.server import Server

pytestmark = [pytest.mark.faults, pytest.mark.faces, pytest.mark.mysql]

PHOTOS = 80
LIMIT_S = 120.0
AWAY_S = 3.0
LOCKED_S = 8.0  # longer than a lock is waited for

Trouble = Callable[[MariaDB, str], None]


def restart(mariadb: MariaDB, _database: str) -> None:
    mariadb.stop()
    time.sleep(AWAY_S)
    mariadb.start()


def killed_connections(mariadb: MariaDB, database: str) -> None:
    until = time.monotonic() + AWAY_S
    with _root(mariadb) as connection:
        while time.monotonic() < until:
            _kill_connections(connection, database)
            time.sleep(0.05)


def too_many_connections(mariadb: MariaDB, database: str) -> None:
    """Others take every connection but the last one, which an administrator has; ours are ended."""
    other = mariadb.new_database()
    with _root(mariadb) as connection, ExitStack() as held:
        _run(connection, "SET GLOBAL max_connections = 10")
        until = time.monotonic() + AWAY_S
        while time.monotonic() < until:
            _kill_connections(connection, database)
            with suppress(mysql.connector.Error):
                while True:
                    held.enter_context(closing(_connected(other)))
            time.sleep(0.05)
        _run(connection, "SET GLOBAL max_connections = 60")


def no_answer(mariadb: MariaDB, _database: str) -> None:
    mariadb.pause()
    time.sleep(12.0)
    mariadb.resume()


def locked_tables(mariadb: MariaDB, database: str) -> None:
    with _root(mariadb) as connection:
        _run(connection, "FLUSH TABLES WITH READ LOCK")
        time.sleep(LOCKED_S)
        _run(connection, "UNLOCK TABLES")


def locked_counter(mariadb: MariaDB, database: str) -> None:
    with _root(mariadb) as connection:
        _run(connection, "BEGIN", f"SELECT * FROM {database}.FACESEARCH_STATE FOR UPDATE")
        time.sleep(LOCKED_S)
        _run(connection, "ROLLBACK")


def read_only(mariadb: MariaDB, _database: str) -> None:
    mariadb.execute("SET GLOBAL read_only = 1")
    time.sleep(AWAY_S)
    mariadb.execute("SET GLOBAL read_only = 0")


def deadlocks(mariadb: MariaDB, database: str) -> None:
    """Somebody takes the import's locks in the other order, and has more to lose than it."""
    mariadb.execute(f"CREATE TABLE IF NOT EXISTS {database}.heavy (n INTEGER)")
    until = time.monotonic() + AWAY_S
    with _root(mariadb) as connection:
        while time.monotonic() < until:
            fill = f"INSERT INTO {database}.heavy SELECT seq FROM seq_1_to_2000"
            try:
                _run(connection, "BEGIN", fill)
                _run(connection, f"UPDATE {database}.FACESEARCH_JOB SET waited_for = 1 - waited_for")
                time.sleep(0.2)
                _run(connection, f"SELECT * FROM {database}.FACESEARCH_STATE FOR UPDATE")
            except mysql.connector.Error:
                pass
            _run(connection, "ROLLBACK")


# Requests that never meet them are answered as ever.
UNNOTICED = (killed_connections, deadlocks)


@pytest.fixture(scope="module")
def away(tmp_path_factory: pytest.TempPathFactory, mariadb: MariaDB) -> Iterator[tuple[MariaDB, Server, str]]:
    """A service on a database server of its own; `mariadb` says whether there can be one."""
    assert mariadb.port
    folder = tmp_path_factory.mktemp("away")
    with MariaDB() as database:
        settings = database.new_database(wait_s=2)
        own: dict[str, Any] = {"workers": {"processes": 2}, "intake": {"lease_s": 2}}
        with Server(folder, {**own, "database": mysql_settings(settings)}, workers=2) as server:
            yield database, server, settings.database
        assert "Traceback" not in server.log
        assert "Unforeseen" not in server.log


@pytest.mark.parametrize(
    "trouble",
    [
        restart,
        killed_connections,
        too_many_connections,
        no_answer,
        locked_tables,
        locked_counter,
        read_only,
        deadlocks,
    ],
    ids=lambda trouble: trouble.__name__,
)
def test_imports_wait_and_requests_are_told_to_come_again(
    away: tuple[MariaDB, Server, str], trouble: Trouble
) -> None:
    mariadb, server, database = away
    tag = uuid.uuid4().bytes
    # Bytes behind the end of a JPEG count for the digest alone: each round has photos of its own.
    photos = [path.read_bytes() + tag for path in sorted(labelled("lfw").rglob("*.jpg"))[:PHOTOS]]
    files = {f"Person {number}/{number}.jpg": data for number, data in enumerate(photos)}
    job = _post(server, "/v1/imports", "a.zip", zipped(files)).json()
    assert job["state"] == "queued"
    done = threading.Event()
    single = (PICTURES / "Barack_Obama_0001.jpg").read_bytes() + tag
    with ThreadPoolExecutor(1) as client:
        asked = client.submit(_add_again_and_again, server, single, done)
        try:
            _wait_for(server, job["id"], lambda seen: seen["done"] > 0)
            trouble(mariadb, database)
            ended = _wait_for(server, job["id"], lambda seen: seen["state"] not in ("queued", "running"))
        finally:
            done.set()
        added, refused = asked.result(LIMIT_S)
    assert refused or trouble in UNNOTICED
    assert ended["state"] == "done"
    assert ended["done"] == ended["counts"]["total"] == PHOTOS
    assert ended["counts"]["inserted"] + ended["counts"]["no_face"] == PHOTOS
    rows = mariadb.execute(f"SELECT photo_sha256, id FROM {database}.IMAGE_DATASET")
    stored = [bytes(digest) for digest, _ in rows]
    mine = {hashlib.sha256(data).digest() for data in photos}
    assert len([digest for digest in stored if digest in mine]) == ended["counts"]["inserted"]
    assert len({digest for digest in stored if digest in mine}) == ended["counts"]["inserted"]
    by_request = {number for digest, number in rows if bytes(digest) == hashlib.sha256(single).digest()}
    assert by_request == added


def _add_again_and_again(server: Server, photo: bytes, done: threading.Event) -> tuple[set[int], int]:
    """Add a photo under key after key, each until it succeeds; return the ids, and how many were refused."""
    ids, refused = set(), 0
    while not done.is_set():
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        while True:
            answer = _post(server, "/add_face/", "Barack_Obama_0001.jpg", photo, headers)
            if answer.status_code == 200:
                break
            assert answer.status_code == 503, answer.text
            assert int(answer.headers["Retry-After"]) > 0
            refused += 1
            time.sleep(0.1)
        ids.add(answer.json()["result"]["id"])
    return ids, refused


def _post(
    server: Server, route: str, name: str, data: bytes, headers: dict[str, str] | None = None
) -> httpx2.Response:
    return httpx2.post(server.url + route, files={"file": (name, data)}, headers=headers, timeout=60)


def _wait_for(server: Server, job_id: str, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    deadline = time.monotonic() + LIMIT_S
    while True:
        answer = httpx2.get(f"{server.url}/v1/jobs/{job_id}", timeout=60)
        assert answer.status_code in (200, 503), answer.text
        if answer.status_code == 200 and wanted(answer.json()):
            found: dict[str, Any] = answer.json()
            return found
        assert time.monotonic() < deadline, answer.text
        time.sleep(0.05)


def _kill_connections(connection: Any, database: str) -> None:
    find = f"SELECT id FROM information_schema.processlist WHERE db = '{database}'"
    for (number,) in _run(connection, find):
        with suppress(mysql.connector.Error):  # it has gone by itself
            _run(connection, f"KILL {number}")


@contextmanager
def _root(mariadb: MariaDB) -> Iterator[Any]:
    connection = mariadb._root()
    try:
        yield connection
    finally:
        connection.close()


def _connected(settings: DatabaseSettings) -> Any:
    return mysql.connector.connect(
        host=settings.host,
        port=settings.port,
        user=settings.user,
        password=settings.password.get_secret_value(),
        use_pure=False,
    )


def _run(connection: Any, *statements: str) -> list[Any]:
    """Run statements; return the rows of the last one."""
    cursor = connection.cursor()
    try:
        for statement in statements:
            cursor.execute(statement)
            rows = cursor.fetchall() if cursor.with_rows else []
        return rows
    finally:
        cursor.close()
