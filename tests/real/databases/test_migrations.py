"""Tables of an older version with rows in them, brought to this one."""

from contextlib import ExitStack
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import event, inspect

from facesearch.config import Settings
from facesearch.databases import SQLImageDatabase, migrate, open_job_store, open_key_store
from facesearch.databases.rows import row_of
from facesearch.databases.tables import SCHEMA_VERSION
from tests.contracts.image_database import MODEL, all_changes, new_face
from tests.contracts.job_parts import LEASE_S, OWNER, PLACE, new_job
from tests.real.databases.processes import at_version, child, heard, opened, prepare

NEW_COLUMNS = ("photo_sha256", "external_id", "metadata", "photo_bytes")
NAMES = ["Bo", "Ana", "Bo", "Ana ", "ana", "王小明 😀", "", "x" * 255, "\x00'\";--"]


def old_rows(names: list[str]) -> list[dict[str, Any]]:
    """Rows as version 0001 wrote them: number n has id n and a vector that begins with n."""
    faces = [new_face([n, 0.5], person_name=name) for n, name in enumerate(names, 1)]
    rows = [row_of(face, MODEL, datetime(2026, 1, 2)) for face in faces]
    old = [{name: value for name, value in row.items() if name not in NEW_COLUMNS} for row in rows]
    return [row | {"id": n, "change_number": n} for n, row in enumerate(old, 1)]


def fill(database: SQLImageDatabase, names: list[str]) -> None:
    database.insert("FACESEARCH_MODEL", [{"model_id": MODEL, "dimension": 2}])
    database.insert("IMAGE_DATASET", old_rows(names))
    database.update("FACESEARCH_STATE", {"newest_change": len(names)}, {"id": 1})


def assert_whole(database: SQLImageDatabase, names: list[str]) -> None:
    """All faces are there under their ids and numbers, each name with the number of its first place."""
    changes = all_changes(database)
    assert [(c.number, c.face_id) for c in changes] == [(n, n) for n in range(1, len(names) + 1)]
    assert [c.embedding.tolist() for c in changes if c.embedding is not None] == [
        [n, 0.5] for n in range(1, len(names) + 1)
    ]
    known = list(dict.fromkeys(names))
    assert [c.person for c in changes] == [known.index(name) + 1 for name in names]
    stored = database.get_faces(range(1, len(names) + 1))
    assert [stored[n].person_name for n in range(1, len(names) + 1)] == names


def test_faces_of_the_first_version_keep_ids_numbers_and_vectors(database_settings: Settings) -> None:
    database = at_version(database_settings, "0001")
    fill(database, NAMES)
    identity = database.select("FACESEARCH_STATE")[0]["database_id"]
    database.close()
    database = opened(database_settings)
    assert (database.database_id(), database.gallery_model()) == (identity, MODEL)
    assert database.newest_change() == len(NAMES)
    assert_whole(database, NAMES)
    [more] = database.add_faces([new_face([0.0, 0.0], person_name="Ana")], MODEL)
    assert database.delete_faces([1, more]) == [1, more]
    [new] = database.add_faces([new_face([0.0, 0.0], person_name="somebody new")], MODEL)
    assert new > more
    assert [(c.number, c.face_id) for c in all_changes(database, len(NAMES))] == [
        (len(NAMES) + 2, 1),
        (len(NAMES) + 3, more),
        (len(NAMES) + 4, new),
    ]
    assert all_changes(database, len(NAMES) + 3)[0].person == len(set(NAMES)) + 1
    database.close()


def test_faces_of_the_second_version_are_known_by_no_photo_and_new_ones_are(
    database_settings: Settings,
) -> None:
    database = at_version(database_settings, "0001")
    fill(database, NAMES)
    database.close()
    database = at_version(database_settings, "0002")
    assert "photo_sha256" not in database.select("IMAGE_DATASET")[0]
    database.close()
    database = opened(database_settings)
    assert_whole(database, NAMES)
    stored = database.get_faces(range(1, len(NAMES) + 1)).values()
    assert {(face.external_id, *face.metadata) for face in stored} == {(None,)}
    digest = bytes(range(32))
    face = new_face([0.0, 0.0], photo_sha256=digest, external_id="7", metadata={"a": "b"})
    assert database.faces_of_photos([digest]) == {}
    with database.alone():
        [new] = database.add_faces([face], MODEL)
    assert database.faces_of_photos([digest]) == {digest: new}
    jobs = open_job_store(database)
    job = jobs.add(new_job())
    assert jobs.claim(PLACE, OWNER, LEASE_S, 1) == jobs.get(job.id)
    database.close()


def test_ids_of_faces_deleted_before_are_not_given_again(database_settings: Settings) -> None:
    database = at_version(database_settings, "0001")
    fill(database, NAMES)
    database.delete("IMAGE_DATASET", {"id": [len(NAMES)]})
    database.close()
    database = opened(database_settings)
    assert database.add_faces([new_face([0.0, 0.0])], MODEL) == [len(NAMES) + 1]
    database.close()


def test_four_processes_migrate_rows_together_once(database_settings: Settings) -> None:
    names = [f"Person {n % 1_300}" for n in range(3_000)]
    database = at_version(database_settings, "0001")
    fill(database, names)
    database.close()
    with ExitStack() as stack:
        children = [stack.enter_context(child(prepare, database_settings))[1] for _ in range(4)]
        assert [heard(connection) for connection in children] == ["ready"] * 4
        for connection in children:
            connection.send("go")
        assert len({heard(connection) for connection in children}) == 1
    database = opened(database_settings)
    assert_whole(database, names)
    assert database.select("FACESEARCH_VERSION") == [{"version_num": SCHEMA_VERSION}]
    database.close()


STEPS = 26
INDEXES = {
    "IMAGE_DATASET": {"IMAGE_DATASET_photo_sha256"},
    "FACESEARCH_CHANGE": {"FACESEARCH_CHANGE_face_id", "FACESEARCH_CHANGE_person_number"},
    "FACESEARCH_JOB": {"FACESEARCH_JOB_place_state"},
    "FACESEARCH_JOB_FILE": {"FACESEARCH_JOB_FILE_job_number_status_position"},
    "FACESEARCH_ANSWER": {"FACESEARCH_ANSWER_added_at"},
}
STATEMENTS = ("CREATE ", "ALTER ", "INSERT ", "UPDATE ")


@pytest.mark.parametrize("steps", range(STEPS + 1))
def test_a_migration_that_breaks_off_between_two_steps_is_finished(
    database_settings: Settings, steps: int
) -> None:
    database = at_version(database_settings, "0001")
    fill(database, NAMES)
    left = iter(range(steps))

    def break_off(_sql: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if statement.lstrip().startswith(STATEMENTS):
            next(left)

    def migrate_until_then() -> None:
        with database._migrating() as sql:
            event.listen(sql, "before_cursor_execute", break_off)
            migrate.upgrade(sql)

    if steps < STEPS:
        with pytest.raises(StopIteration):
            migrate_until_then()
    else:
        migrate_until_then()
    database.close()
    database = opened(database_settings)
    assert_whole(database, NAMES)
    with database._reading() as sql:
        for table, names in INDEXES.items():
            assert names <= {index["name"] for index in inspect(sql).get_indexes(table)}
    assert database.select("FACESEARCH_VERSION") == [{"version_num": SCHEMA_VERSION}]
    assert database.faces_of_photos([bytes(32)]) == {}
    assert (open_key_store(database).keys(), open_key_store(database).version()) == ((), "")
    database.close()
