"""Tables of an older version with rows in them, brought to this one."""

import json
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, inspect

from facesearch.config import DatabaseSettings, Settings
from facesearch.databases import (
    SQLImageDatabase,
    migrate,
    open_collection_store,
    open_job_store,
    open_key_store,
)
from facesearch.databases.rows import row_of
from facesearch.databases.tables import SCHEMA_VERSION
from facesearch.errors import InvalidParameter
from facesearch.records import Condition, FaceQuery
from tests.contracts.image_database import MODEL, all_changes, new_face
from tests.contracts.job_parts import LEASE_S, OWNER, PLACE, new_job
from tests.mariadb import MariaDB
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


def newest(names: list[str]) -> int:
    """The newest change of the migrated faces: that of the last one without a name is told anew."""
    return max(number for number, _ in told(names))


def told(names: list[str]) -> list[tuple[int, int]]:
    """The migrated faces' change numbers and ids."""
    return sorted((n if name else n + len(names), n) for n, name in enumerate(names, 1))


def assert_whole(database: SQLImageDatabase, names: list[str]) -> None:
    """All faces are there under their ids and in their order, each name with the number of its first place.

    Those without a name are nobody's, and told of last.
    """
    changes = all_changes(database)
    assert [(c.number, c.face_id) for c in changes] == told(names)
    assert [c.embedding.tolist() for c in changes if c.embedding is not None] == [
        [n, 0.5] for _, n in told(names)
    ]
    known = list(dict.fromkeys(names))
    persons = [known.index(name) + 1 if name else 0 for name in names]
    assert [c.person for c in changes] == [persons[n - 1] for _, n in told(names)]
    stored = database.get_faces(range(1, len(names) + 1))
    assert [stored[n].person_name for n in range(1, len(names) + 1)] == names
    assert [stored[n].person_id or 0 for n in range(1, len(names) + 1)] == persons
    collections = open_collection_store(database)
    counted = collections.counted("default")
    assert (counted.model_id, counted.faces, counted.people) == (MODEL, len(names), len({*names} - {""}))


def test_faces_of_the_first_version_keep_ids_numbers_and_vectors(database_settings: Settings) -> None:
    database = at_version(database_settings, "0001")
    fill(database, NAMES)
    identity = database.select("FACESEARCH_STATE")[0]["database_id"]
    database.close()
    database = opened(database_settings)
    assert (database.database_id(), database.gallery_model()) == (identity, MODEL)
    assert database.newest_change() == newest(NAMES)
    assert_whole(database, NAMES)
    [more] = database.add_faces([new_face([0.0, 0.0], person_name="Ana")], MODEL)
    assert database.delete_faces([1, more]) == [1, more]
    [new] = database.add_faces([new_face([0.0, 0.0], person_name="somebody new")], MODEL)
    assert new > more
    last = newest(NAMES)
    assert [(c.number, c.face_id) for c in all_changes(database, last)] == [
        (last + 2, 1),
        (last + 3, more),
        (last + 4, new),
    ]
    assert all_changes(database, last + 3)[0].person == len(set(NAMES)) + 1
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


METADATA: list[str | None] = [
    json.dumps({"site": "Paris", "age": "30"}),
    None,
    json.dumps({"site": "Zoë 😀", "x" * 256: "too long a name to be filtered by"}, ensure_ascii=False),
    "damaged",
]


def test_what_version_four_holds_is_the_default_collections(database_settings: Settings) -> None:
    database = at_version(database_settings, "0001")
    fill(database, NAMES[:4])
    database.close()
    database = at_version(database_settings, "0004")
    for face_id, text in enumerate(METADATA, 1):
        database.update("IMAGE_DATASET", {"metadata": text, "external_id": f"{face_id}"}, {"id": face_id})
    moment = datetime(2026, 1, 2)
    database.insert("FACESEARCH_JOB", [{**OLD_JOB, "created_at": moment}])
    database.insert("FACESEARCH_JOB_FILE", OLD_FILES)
    database.insert("FACESEARCH_KEY", [{**OLD_KEY, "created_at": moment}])
    database.close()
    database = opened(database_settings)
    database.prepare()
    assert_indexes(database)
    for condition, wanted in (
        (Condition("site", "in", ("Paris",)), [1]),
        (Condition("site", "exists"), [1, 3]),
        (Condition("age", "gte", (29.5,)), [1]),
        (Condition("site", "missing"), [2, 4]),
    ):
        assert database.face_ids(FaceQuery(conditions=(condition,))).tolist() == wanted
    assert database.face_ids(FaceQuery(external_id="2")).tolist() == [2]
    [job] = open_job_store(database).jobs(10).items
    assert (job.id, job.collection, job.options.collection, job.kind) == (
        OLD_JOB["id"],
        1,
        "default",
        "import",
    )
    about = database.select("FACESEARCH_JOB_FACE", ["face_id", "position"])
    assert sorted((row["face_id"], row["position"]) for row in about) == [(1, 0), (1, 2), (2, 0), (3, 1)]
    [key] = open_key_store(database).keys()
    assert (key.prefix, key.collection) == ("old", "default")
    collections = open_collection_store(database)
    other = collections.faces(collections.add("staff", "another", 2).number)
    [face_id] = other.add_faces([new_face([0.0, 0.0], person_name="Bo")], "another")
    assert face_id == 5
    assert other.get_faces([5])[5].person_id not in {
        face.person_id for face in database.get_faces([1]).values()
    }
    assert (other.newest_change(), database.newest_change()) == (5, 4)
    database.close()


def test_a_process_of_version_four_that_still_runs_adds_and_removes_nothing_more(
    database_settings: Settings,
) -> None:
    database = at_version(database_settings, "0001")
    fill(database, NAMES[:2])
    database.close()
    old = at_version(database_settings, "0004")
    face = old.select("IMAGE_DATASET", where={"id": 1})[0] | {"id": 3, "insert_key": 77}
    added = {"change_number": 77, "face_id": 3, "model_id": MODEL, "person_number": 1, "removed": 0}
    removed = added | {"face_id": 1, "person_number": 0, "removed": 1}
    old.select("FACESEARCH_CHANGE")  # whose columns it knows from now on

    def write(change: dict[str, Any]) -> None:
        with old.transaction():
            if change["removed"]:
                old.delete("IMAGE_DATASET", {"id": [1]})
            else:
                old.insert("IMAGE_DATASET", [face])
            old.insert("FACESEARCH_CHANGE", [change])

    new = opened(database_settings)
    new.prepare()
    for change in (added, removed):
        with pytest.raises(InvalidParameter):
            write(change)
    assert_whole(new, NAMES[:2])
    old.close()
    new.close()


OLD_JOB: dict[str, Any] = {
    "id": "00000000-0000-4000-8000-000000000001",
    "place": "p",
    "file_name": "photos.zip",
    "faces": "all",
    "skip_duplicates": 1,
    "waited_for": 0,
    "state": "done",
    "total": 3,
    **dict.fromkeys(("inserted", "no_face", "duplicate", "failed", "skipped"), 0),
    "worked_s": 1.0,
    "attempts": 0,
}
OLD_REPORTS: list[dict[str, Any]] = [
    {"face_id": 1, "duplicate_of": None, "faces": "[[1, 2, 3, 4, 1], [5, 6, 7, 8, 2]]"},
    {"face_id": 3, "duplicate_of": None, "faces": None},
    {"face_id": 1, "duplicate_of": 1, "faces": None},
    {"face_id": None, "duplicate_of": None, "faces": None},
]
OLD_FILES = [
    {"job_number": 1, "position": at, "path": f"{at}.jpg", "status": "inserted", **report}
    for at, report in enumerate(OLD_REPORTS)
]
OLD_KEY = {"prefix": "old", "digest": bytes(32), "scope": "read", "collection": "default", "name": ""}

STEPS = 64
INDEXES = {
    "IMAGE_DATASET": {
        "IMAGE_DATASET_photo_sha256",
        "IMAGE_DATASET_collection_number",
        "IMAGE_DATASET_collection_number_person_number",
        "IMAGE_DATASET_external_id",
    },
    "FACESEARCH_CHANGE": {
        "FACESEARCH_CHANGE_face_id",
        "FACESEARCH_CHANGE_person_number",
        "FACESEARCH_CHANGE_collection_number_change_number",
    },
    "FACESEARCH_JOB": {"FACESEARCH_JOB_place_state"},
    "FACESEARCH_JOB_FILE": {"FACESEARCH_JOB_FILE_job_number_status_position"},
    "FACESEARCH_ANSWER": {"FACESEARCH_ANSWER_added_at"},
    "FACESEARCH_METADATA": {
        "FACESEARCH_METADATA_collection_number_name_text_value_face_id",
        "FACESEARCH_METADATA_collection_number_name_number_value_face_id",
    },
}
STATEMENTS = ("CREATE ", "ALTER ", "INSERT ", "UPDATE ", "DELETE ", "DROP ")


def assert_indexes(database: SQLImageDatabase) -> None:
    with database._reading() as sql:
        for table, names in INDEXES.items():
            assert names <= {index["name"] for index in inspect(sql).get_indexes(table)}
        unique = inspect(sql).get_unique_constraints("FACESEARCH_PERSON")
    assert [one["column_names"] for one in unique] == [["collection_number", "name"]]


class BrokenOff(Exception):
    """The migration was to go no further."""


def break_off_after(database: SQLImageDatabase, steps: int) -> None:
    """Migrate, and fail before the next step."""
    left = iter(range(steps))

    def break_off(_sql: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if statement.lstrip().startswith(STATEMENTS) and next(left, None) is None:
            raise BrokenOff

    with database._migrating() as sql:
        event.listen(sql, "before_cursor_execute", break_off)
        migrate.upgrade(sql)


def assert_finished(settings: Settings) -> None:
    database = opened(settings)
    assert_whole(database, NAMES)
    assert_indexes(database)
    assert database.select("FACESEARCH_VERSION") == [{"version_num": SCHEMA_VERSION}]
    assert database.faces_of_photos([bytes(32)]) == {}
    assert (open_key_store(database).keys(), open_key_store(database).version()) == ((), "")
    [new] = database.add_faces([new_face([0.0, 0.0], metadata={"a": "b"})], MODEL)
    assert database.delete_faces([new]) == [new]
    database.close()


@pytest.mark.parametrize("steps", [0, 30, 59])
def test_a_migration_of_a_file_is_done_or_not_at_all(tmp_path: Path, steps: int) -> None:
    settings = Settings(data_dir=tmp_path / "data", database=DatabaseSettings(engine="sqlite"))
    database = at_version(settings, "0001")
    fill(database, NAMES)
    with pytest.raises(BrokenOff):
        break_off_after(database, steps)
    assert database.select("FACESEARCH_VERSION") == [{"version_num": "0001"}]
    database.close()
    assert_finished(settings)


@pytest.mark.mysql
@pytest.mark.parametrize("steps", range(STEPS + 1))
def test_a_migration_that_breaks_off_between_two_steps_is_finished(
    mariadb: MariaDB, tmp_path: Path, steps: int
) -> None:
    settings = Settings(data_dir=tmp_path / "data", database=mariadb.new_database())
    database = at_version(settings, "0001")
    fill(database, NAMES)
    if steps < STEPS:
        with pytest.raises(BrokenOff):
            break_off_after(database, steps)
    else:
        break_off_after(database, steps)
    database.close()
    assert_finished(settings)
