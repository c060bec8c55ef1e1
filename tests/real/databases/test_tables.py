"""Tables that are not as expected: another program's, a newer version's, half made, damaged."""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from facesearch.config import Settings
from facesearch.databases import SQLImageDatabase, open_image_database
from facesearch.databases.tables import SCHEMA_VERSION
from facesearch.errors import Conflict, ForeignTable
from tests.contracts.image_database import MODEL, all_changes, new_face
from tests.real.databases.processes import opened

PICKLE = b"cos\nsystem\n(S'touch pickle_was_read'\ntR."


def statements(database: SQLImageDatabase, *lines: str, **values: Any) -> None:
    with database._begun() as connection:
        for line in lines:
            connection.execute(text(line), values)


def test_a_table_of_an_older_program_is_refused_and_left_alone(
    database_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    database = opened(database_settings)
    statements(
        database,
        "CREATE TABLE IMAGE_DATASET (id INTEGER PRIMARY KEY, image BLOB, face_encoding BLOB)",
        "INSERT INTO IMAGE_DATASET VALUES (1, :pickle, :pickle)",
        pickle=PICKLE,
    )
    calls: list[Callable[[], object]] = [
        database.prepare,
        database.ping,
        database.newest_change,
        database.gallery_model,
        lambda: database.add_faces([new_face()], MODEL),
        lambda: database.delete_faces([1]),
        lambda: database.get_faces([1]),
        lambda: next(database.changes_after(0, MODEL)),
    ]
    for call in calls:
        with pytest.raises(ForeignTable, match="another database"):
            call()
    rows = database.select("IMAGE_DATASET")
    assert rows == [{"id": 1, "image": PICKLE, "face_encoding": PICKLE}]
    assert not (tmp_path / "pickle_was_read").exists()
    with pytest.raises(Conflict):
        database.prepare()
    statements(database, "ALTER TABLE IMAGE_DATASET RENAME TO OLD_DATASET")
    assert database.newest_change() == 0
    database.close()


def test_tables_of_a_newer_version_are_refused(database_settings: Settings) -> None:
    database = opened(database_settings)
    database.prepare()
    database.update("FACESEARCH_VERSION", {"version_num": "9999"}, {"version_num": SCHEMA_VERSION})
    database.close()
    database = opened(database_settings)
    with pytest.raises(Conflict, match="newer"):
        database.prepare()
    assert database.select("FACESEARCH_VERSION") == [{"version_num": "9999"}]
    database.close()


def test_a_migration_that_was_cut_short_is_finished(database_settings: Settings) -> None:
    database = opened(database_settings)
    [face_id] = database.add_faces([new_face()], MODEL)
    identity = database.database_id()
    statements(database, "DELETE FROM FACESEARCH_VERSION", "DROP TABLE FACESEARCH_MODEL")
    database.close()
    database = opened(database_settings)
    assert database.database_id() == identity
    assert database.add_faces([new_face()], MODEL) != [face_id]
    assert [change.number for change in all_changes(database)] == [1, 2]
    database.close()


@pytest.mark.parametrize("vector", [b"", b"\x00" * 11, b"\x00" * 16])
def test_a_damaged_vector_is_an_error_and_no_wrong_answer(database_settings: Settings, vector: bytes) -> None:
    database = opened(database_settings)
    ids = database.add_faces([new_face()] * 3, MODEL)
    database.update("IMAGE_DATASET", {"vector": vector}, {"id": ids[1]})
    with pytest.raises(Conflict, match=f"face {ids[1]} "):
        all_changes(database)
    database.close()


@pytest.mark.parametrize("quality", ["", "notes", "[1]", '{"size_px": 1}', '{"sharpness": {}, "x": 1}'])
def test_a_damaged_quality_is_an_error(database_settings: Settings, quality: str) -> None:
    database = opened(database_settings)
    ids = database.add_faces([new_face()] * 2, MODEL)
    database.update("IMAGE_DATASET", {"quality": quality}, {"id": ids[1]})
    with pytest.raises(Conflict, match=f"face {ids[1]} "):
        database.get_faces(ids)
    assert list(database.get_faces(ids[:1])) == ids[:1]
    database.close()


def test_a_lost_state_row_is_an_error(database_settings: Settings) -> None:
    database = opened(database_settings)
    database.prepare()
    database.delete("FACESEARCH_STATE", {"id": 1})
    with pytest.raises(Conflict):
        database.database_id()
    with pytest.raises(Conflict):
        database.add_faces([new_face()], MODEL)
    database.close()


def test_ids_of_deleted_faces_are_not_given_again(database_settings: Settings) -> None:
    database = opened(database_settings)
    ids = database.add_faces([new_face()] * 2, MODEL)
    assert database.delete("IMAGE_DATASET", {"id": ids}) == 2
    assert database.add_faces([new_face()], MODEL)[0] > max(ids)
    database.close()


def test_a_face_added_inside_a_transaction_goes_with_it(database_settings: Settings) -> None:
    database = opened(database_settings)

    def add_and_fail() -> None:
        with database.transaction():
            database.add_faces([new_face()], MODEL)
            assert database.newest_change() == 1
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        add_and_fail()
    assert database.newest_change() == 0
    assert database.add_faces([new_face()], MODEL)
    assert [change.number for change in all_changes(database)] == [1]
    database.close()


def test_changes_are_read_inside_the_transaction_that_made_them(database_settings: Settings) -> None:
    database = opened(database_settings)
    with database.transaction():
        ids = [i for _ in range(2) for i in database.add_faces([new_face([0.0])] * 3_000, MODEL)]
        assert [change.face_id for change in all_changes(database)] == ids
    database.close()


def test_a_foreign_sqlite_table_stays_in_its_own_format(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    old = sqlite3.connect(tmp_path / "facesearch.db")
    old.execute("CREATE TABLE IMAGE_DATASET (id INTEGER PRIMARY KEY, image BLOB)")
    old.close()
    database = open_image_database(settings)
    with pytest.raises(ForeignTable):
        database.prepare()
    database.close()
    old = sqlite3.connect(tmp_path / "facesearch.db")
    assert old.execute("SELECT name FROM sqlite_master").fetchall() == [("IMAGE_DATASET",)]
    old.close()
