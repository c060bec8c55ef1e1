import gc
import os
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest

from facesearch.databases import SQLiteImageDatabase, open_collection_store, wiping
from facesearch.databases.wiping import FileWiper, overwrite_unused
from facesearch.errors import Conflict, DatabaseUnavailable, InvalidParameter
from facesearch.records import Crop, FaceEdit
from tests.contracts.new_faces import MODEL, new_face


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "test.db"


@pytest.fixture
def database(file: Path) -> Iterator[SQLiteImageDatabase]:
    database = SQLiteImageDatabase(file, wait_s=30)
    yield database
    database.close()


def held(folder: Path) -> bytes:
    return b"".join(one.read_bytes() for one in sorted(folder.iterdir()))


def connect(file: Path, secure: str = "ON", wait_s: float = 30) -> sqlite3.Connection:
    connection = sqlite3.connect(file, timeout=wait_s, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute(f"PRAGMA secure_delete = {secure}")
    return connection


def is_sound(file: Path) -> bool:
    connection = connect(file)
    try:
        return bool(connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)])
    finally:
        connection.close()


def fill(connection: sqlite3.Connection, rows: int, random: Random) -> dict[int, list[bytes]]:
    """Make tables and an index with rows that are moved and made longer; return what to look for by row."""
    connection.execute("CREATE TABLE IF NOT EXISTS FACESEARCH_LOCK (name TEXT)")
    connection.execute("CREATE TABLE IF NOT EXISTS face (id INTEGER PRIMARY KEY, name, vector, note, crop)")
    connection.execute("CREATE INDEX IF NOT EXISTS by_name ON face (name)")
    told: dict[int, list[bytes]] = {}
    connection.execute("BEGIN")
    for _ in range(rows):
        row = [random.randbytes(n) for n in (24, 512, random.randrange(300), random.randrange(9_000))]
        face_id = connection.execute("INSERT INTO face VALUES (NULL, ?, ?, ?, ?)", row).lastrowid
        told[face_id or 0] = [row[0], row[1][:64], row[1][-64:], row[3][-64:] or row[0]]
    for face_id in random.sample(sorted(told), rows // 4):
        note = random.randbytes(random.randrange(1_500))
        connection.execute("UPDATE face SET note = ? WHERE id = ?", (note, face_id))
    connection.execute("COMMIT")
    return told


def test_no_file_holds_anything_of_what_was_removed(
    database: SQLiteImageDatabase, file: Path, tmp_path: Path
) -> None:
    random = np.random.default_rng(7)
    telling: list[bytes] = []

    def some_faces(count: int) -> list[int]:
        faces = []
        for _ in range(count):
            texts = [bytes(random.integers(97, 123, size, np.uint8)) for size in (20, 30, 40, 50, 60)]
            vector, crop = random.random(128, np.float32), random.bytes(int(random.integers(1, 12_000)))
            name, version, external, value, path = (text.decode() for text in texts)
            face = new_face(vector, person_name=name, version=version, external_id=external)
            face = replace(face, metadata={"site": value}, photo=replace(face.photo, file_name=path))
            faces.append(replace(face, face=replace(face.face, crop=Crop("image/webp", crop))))
            telling.extend([*texts, vector.tobytes()[:64], vector.tobytes()[-64:], crop[-64:]])
        return database.add_faces(faces, MODEL)

    people = open_collection_store(database).people(1)
    for _ in range(4):
        ids = some_faces(100)
        for face_id in ids[::7]:
            stored = database.get_faces([face_id])[face_id]
            people.rename(stored.person_id or 0, f"Renamed {face_id} {'x' * (face_id % 200)}")
            database.edit_face(
                face_id, FaceEdit(frozenset(["metadata"]), metadata={"site": "x" * (face_id % 250)})
            )
        database.delete_faces(ids[::2])
        database.delete_faces(ids)
    for person in people.people(1_000).items:
        people.remove(person.id)
    kept = some_faces(3)
    telling = telling[: 400 * 8]
    database.wipe()
    everything = held(tmp_path)
    assert [one for one in telling if one in everything] == []
    assert list(database.get_faces(kept)) == kept
    assert database.get_faces(kept)[kept[0]].person_name.encode() in everything
    assert is_sound(file)


@pytest.mark.parametrize("secure", ["ON", "OFF"])
def test_what_was_deleted_at_any_time_is_overwritten_wherever_it_lies(
    file: Path, tmp_path: Path, secure: str
) -> None:
    """Without secure_delete, as in files of old, every deleted row is still there before."""
    random = Random(11)
    connection = connect(file, secure)
    told: dict[int, list[bytes]] = {}
    gone: list[bytes] = []
    for _ in range(6):
        told |= fill(connection, 150, random)
        for face_id in random.sample(sorted(told), 60):
            connection.execute("DELETE FROM face WHERE id = ?", (face_id,))
            gone += told.pop(face_id)[: 4 if secure == "ON" else 2]
    before = connection.execute("SELECT * FROM face").fetchall()
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert secure == "ON" or any(one in held(tmp_path) for one in gone)
    FileWiper(file, lambda: connect(file), 30).wipe()
    everything = held(tmp_path)
    assert [one for one in gone if one in everything] == []
    assert all(one in everything for face_id in told for one in told[face_id][:2])
    assert connection.execute("SELECT * FROM face").fetchall() == before
    connection.close()
    assert is_sound(file)


@pytest.mark.parametrize("page_size", [512, 4_096, 65_536])
def test_the_unused_middle_of_a_page_is_overwritten_in_pages_of_any_size(
    file: Path, tmp_path: Path, page_size: int
) -> None:
    connection = sqlite3.connect(file, isolation_level=None)
    connection.execute(f"PRAGMA page_size = {page_size}")
    connection.execute("CREATE TABLE face (name)")
    connection.execute("INSERT INTO face VALUES ('kept')")
    connection.close()
    content = bytearray(file.read_bytes())
    assert len(content) == 2 * page_size
    for at in (page_size // 2, page_size + page_size // 2):
        content[at : at + 6] = b"secret"
    file.write_bytes(content)
    descriptor = os.open(file, os.O_RDWR)
    overwrite_unused(descriptor)
    os.close(descriptor)
    assert b"secret" not in file.read_bytes()
    assert b"kept" in file.read_bytes()
    assert is_sound(file)


def test_who_reads_a_page_just_before_does_not_write_back_what_was_in_it(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = connect(file)
    connection.execute("CREATE TABLE FACESEARCH_LOCK (name TEXT)")
    connection.execute("INSERT INTO FACESEARCH_LOCK VALUES ('removals')")
    connection.execute("CREATE TABLE face (name TEXT)")
    connection.execute("INSERT INTO face VALUES ('kept')")
    connection.close()
    content = bytearray(file.read_bytes())
    for at in range(0, len(content), 4_096):
        content[at + 2_048 : at + 2_054] = b"secret"
    file.write_bytes(content)
    writer = connect(file)

    def read_and_then_overwrite(descriptor: int) -> None:
        assert writer.execute("SELECT * FROM face").fetchall() == [("kept",)]
        overwrite_unused(descriptor)

    monkeypatch.setattr(wiping, "overwrite_unused", read_and_then_overwrite)
    FileWiper(file, lambda: connect(file), 30).wipe()
    writer.execute("INSERT INTO face VALUES ('new')")
    everything = held(tmp_path)
    assert b"new" in everything
    assert b"secret" not in everything
    writer.close()
    assert is_sound(file)


def test_a_file_that_sqlite_shrinks_by_itself_is_written_anew(file: Path, tmp_path: Path) -> None:
    connection = sqlite3.connect(file, isolation_level=None)
    connection.execute("PRAGMA auto_vacuum = FULL")
    connection.execute("CREATE TABLE FACESEARCH_LOCK (name TEXT)")
    connection.close()
    connection = connect(file, "OFF")
    told = fill(connection, 200, Random(3))
    connection.execute("DELETE FROM face WHERE id % 2")
    FileWiper(file, lambda: connect(file), 30).wipe()
    everything = held(tmp_path)
    for face_id, pieces in told.items():
        assert all((piece in everything) == (face_id % 2 == 0) for piece in pieces[:2])
    connection.close()
    assert is_sound(file)


def test_who_still_reads_what_was_there_or_writes_is_waited_for_and_then_told_of(
    file: Path, tmp_path: Path, database: SQLiteImageDatabase
) -> None:
    impatient = SQLiteImageDatabase(file, wait_s=0.1)
    [face_id] = impatient.add_faces([new_face(external_id="that secret")], MODEL)
    reader = connect(file)
    reader.execute("BEGIN")
    assert reader.execute("SELECT COUNT(*) FROM IMAGE_DATASET").fetchall() == [(1,)]
    impatient.delete_faces([face_id])
    with pytest.raises(DatabaseUnavailable):
        impatient.wipe()
    reader.execute("COMMIT")
    impatient.wipe()
    assert b"that secret" not in held(tmp_path)
    with ThreadPoolExecutor(1) as other, database.transaction():
        assert isinstance(other.submit(impatient.wipe).exception(30), DatabaseUnavailable)
    reader.close()
    impatient.close()


def test_a_transaction_is_ended_before_the_file_is_wiped(database: SQLiteImageDatabase) -> None:
    with database.transaction(), pytest.raises(InvalidParameter):
        database.wipe()
    database.wipe()


def test_no_descriptor_is_closed_and_few_are_opened(database: SQLiteImageDatabase) -> None:
    database.wipe()
    gc.collect()  # closes what earlier tests have left, which is not to happen in between
    before = os.listdir("/proc/self/fd")
    for _ in range(3):
        database.wipe()
    assert len(os.listdir("/proc/self/fd")) == len(before)


def test_others_write_before_and_after_and_lose_nothing(file: Path, tmp_path: Path) -> None:
    databases = [SQLiteImageDatabase(file, wait_s=60) for _ in range(3)]
    databases[0].prepare()
    secrets: list[str] = []
    kept: list[int] = []

    def write(number: int) -> Callable[[], None]:
        def run() -> None:
            for n in range(25):
                own = [f"secret-{number}-{n}-{k}-{'x' * (37 * k)}-end" for k in range(4)]
                faces = [new_face(np.full(128, n, np.float32), external_id=text) for text in own]
                ids = databases[number].add_faces(faces, MODEL)
                assert databases[number].delete_faces(ids[:3]) == ids[:3]
                secrets.extend(own[:3])
                kept.extend(ids[3:])

        return run

    def wipe() -> None:
        for _ in range(15):
            databases[2].wipe()

    with ThreadPoolExecutor(4) as threads:
        for work in [threads.submit(work) for work in (write(0), write(1), wipe, wipe)]:
            work.result(120)
    databases[0].wipe()
    everything = held(tmp_path)
    assert [one for one in secrets if one.encode() in everything] == []
    assert sorted(databases[1].get_faces(kept)) == sorted(kept)
    for one in databases:
        one.close()
    assert is_sound(file)


def test_a_damaged_file_is_told_of_and_not_written_to(file: Path) -> None:
    connection = connect(file)
    fill(connection, 200, Random(5))
    connection.close()
    content = bytearray(file.read_bytes())
    for at in range(4_096, len(content), 4_096):
        content[at : at + 100] = b"\x0d" * 100
    file.write_bytes(content)
    descriptor = os.open(file, os.O_RDWR)
    with pytest.raises(Conflict):
        overwrite_unused(descriptor)
    os.close(descriptor)
    assert file.read_bytes() == content
