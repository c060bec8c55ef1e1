from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from facesearch.databases import SQLiteImageDatabase, open_collection_store
from facesearch.records import Crop, FaceChanges, NewFace
from tests.contracts.collection_store import CollectionStoreContract
from tests.contracts.new_faces import MODEL, all_changes, new_face
from tests.engines import OnSQLite


class TestSQLCollectionStoreOnSQLite(OnSQLite, CollectionStoreContract):
    pass


BELONGINGS = ("FACESEARCH_METADATA", "FACESEARCH_CROP", "FACESEARCH_NEXT_VECTOR")
ALL = ("IMAGE_DATASET", "FACESEARCH_PERSON", "FACESEARCH_CHANGE", *BELONGINGS)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[SQLiteImageDatabase]:
    database = SQLiteImageDatabase(tmp_path / "test.db")
    yield database
    database.close()


def with_all(database: SQLiteImageDatabase, count: int) -> list[int]:
    """Faces of a collection with everything that a face can have."""
    face: NewFace = new_face(metadata={"a": "b"})
    ids = database.add_faces(
        [replace(face, face=replace(face.face, crop=Crop("image/jpeg", b"x")))] * count, MODEL
    )
    vectors = [{"face_id": i, "collection_number": database.collection, "vector": bytes(4)} for i in ids]
    database.insert("FACESEARCH_NEXT_VECTOR", vectors)
    return ids


def test_of_removed_faces_no_table_holds_more_than_their_removal(database: SQLiteImageDatabase) -> None:
    kept, *gone = with_all(database, 3)
    database.delete_faces(gone)
    for table in BELONGINGS:
        assert [row["face_id"] for row in database.select(table, ["face_id"])] == [kept]
    assert [row["removed"] for row in database.select("FACESEARCH_CHANGE", order_by="change_number")] == [
        0,
        1,
        1,
    ]
    assert len(database.select("FACESEARCH_PERSON")) == 1
    database.delete_faces([kept])
    assert database.select("FACESEARCH_PERSON") == []


def test_of_a_purged_collection_no_table_holds_anything(database: SQLiteImageDatabase) -> None:
    collections = open_collection_store(database)
    number = collections.add("staff").number
    [kept] = with_all(database, 1)
    with_all(database.of_collection(number), 3)
    collections.delete("staff")
    assert "staff" not in str(database.select("FACESEARCH_COLLECTION"))
    collections.purge(number)
    assert {table: len(database.select(table)) for table in ALL} == dict.fromkeys(ALL, 1)
    assert [row["number"] for row in database.select("FACESEARCH_COLLECTION")] == [1]
    assert list(database.get_faces([kept])) == [kept]


def test_a_purge_that_broke_off_is_finished(
    database: SQLiteImageDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("facesearch.databases.collections.ROWS_A_BATCH", 2)
    collections = open_collection_store(database)
    number = collections.add("staff").number
    with_all(database.of_collection(number), 5)
    collections.delete("staff")
    delete, calls = database.delete, iter(range(6))

    def delete_some(table: str, where: dict[str, object]) -> int:
        next(calls)
        return delete(table, where)

    with monkeypatch.context() as broken:
        broken.setattr(database, "delete", delete_some)
        with pytest.raises(StopIteration):
            collections.purge(number)
    assert collections.deleted() == [number]
    assert 0 < len(database.select("IMAGE_DATASET")) < 5
    collections.purge(number)
    assert collections.deleted() == []
    assert [database.select(table) for table in ALL] == [[]] * len(ALL)


def test_a_small_collections_history_is_read_at_once_however_much_else_there_is(
    database: SQLiteImageDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("facesearch.databases.history.CHANGES_A_BATCH", 10)
    collections = open_collection_store(database)
    small = database.of_collection(collections.add("staff").number)
    ids = []
    for _ in range(3):
        database.add_faces([new_face()] * 100, MODEL)
        ids += small.add_faces([new_face()] * 2, MODEL)
    reads: list[tuple[int, int]] = []
    read = small._changes_between

    def counted(after: int, last: int, model_id: str) -> FaceChanges:
        reads.append((after, last))
        return read(after, last, model_id)

    monkeypatch.setattr(small, "_changes_between", counted)
    assert [change.face_id for change in all_changes(small)] == ids
    assert reads == [(0, small.newest_change())]
    small.add_faces([new_face()] * 10, MODEL)
    reads.clear()
    assert len(all_changes(small)) == 16
    assert reads == [(0, small.newest_change() - 6), (small.newest_change() - 6, small.newest_change())]
