"""What commits between an addition's look at persons, model and collection and its turn at the counter."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from facesearch.databases import MySQLImageDatabase, open_collection_store
from facesearch.errors import CollectionNotFound, FacesearchError, ModelMismatch, PersonNotFound
from facesearch.interfaces import CollectionStore
from facesearch.records import EVERY_FACE
from tests.contracts.image_database import MODEL, all_changes, new_face
from tests.mariadb import MariaDB

pytestmark = pytest.mark.mysql

Databases = tuple[MySQLImageDatabase, MySQLImageDatabase]


@pytest.fixture
def databases(mariadb: MariaDB) -> Iterator[Databases]:
    settings = mariadb.new_database(wait_s=5)
    database, other = MySQLImageDatabase(settings), MySQLImageDatabase(settings)
    yield database, other
    other.close()
    database.close()


def before_the_counter(
    database: MySQLImageDatabase, monkeypatch: pytest.MonkeyPatch, act: Callable[[], Any]
) -> None:
    """Let something happen once a call has inserted faces, and has no number yet."""
    insert = database._insert_faces

    def insert_and_act(rows: Sequence[dict[str, Any]]) -> list[int]:
        ids = insert(rows)
        act()
        return ids

    monkeypatch.setattr(database, "_insert_faces", insert_and_act)


def test_a_person_whose_last_face_goes_is_made_anew(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    database, other = databases
    [first] = database.add_faces([new_face()], MODEL)
    number = database.get_faces([first])[first].person_id
    before_the_counter(database, monkeypatch, lambda: other.delete_faces([first]))
    [second] = database.add_faces([new_face()], MODEL)
    stored = database.get_faces([second])[second]
    assert stored.person_id not in (None, number)
    assert stored.person_name == "Ada Lovelace"
    [person] = other.select("FACESEARCH_PERSON", ["number"])
    assert person["number"] == stored.person_id == all_changes(database)[-1].person


def test_a_person_who_is_renamed_gets_the_faces_under_the_new_name(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    database, other = databases
    [first] = database.add_faces([new_face()], MODEL)
    number = database.get_faces([first])[first].person_id
    assert number is not None
    people = open_collection_store(other).people(1)
    before_the_counter(database, monkeypatch, lambda: people.rename(number, "Countess"))
    named, meant = database.add_faces([new_face(), new_face(person_id=number)], MODEL)
    stored = database.get_faces([named, meant])
    assert (stored[meant].person_id, stored[meant].person_name) == (number, "Countess")
    assert (stored[named].person_id, stored[named].person_name) == (number + 1, "Ada Lovelace")
    assert [change.person for change in all_changes(database, 2)] == [number + 1, number]


def test_a_person_who_goes_takes_the_addition_back(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    database, other = databases
    [first] = database.add_faces([new_face()], MODEL)
    number = database.get_faces([first])[first].person_id
    before_the_counter(database, monkeypatch, lambda: other.delete_faces([first]))
    assert_refused(database, PersonNotFound, 0, person_id=number)


def test_a_model_that_is_switched_takes_the_addition_back(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    database, other = databases
    database.add_faces([new_face()], MODEL)

    def switch() -> None:
        with other.alone():
            other.update("FACESEARCH_COLLECTION", {"model_id": "another"}, {"number": 1})

    before_the_counter(database, monkeypatch, switch)
    assert_refused(database, ModelMismatch, 1)


def test_a_collection_that_is_deleted_and_purged_takes_the_addition_back(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    database, other = databases
    collections: CollectionStore = open_collection_store(other)
    number = collections.add("staff").number
    view = database.of_collection(number)
    view.add_faces([new_face(metadata={"a": "b"})], MODEL)

    def delete() -> None:
        assert collections.delete("staff") == number

    before_the_counter(view, monkeypatch, delete)
    with pytest.raises(CollectionNotFound):
        view.add_faces([new_face(metadata={"a": "b"})], MODEL)
    collections.purge(number)
    for table in ("IMAGE_DATASET", "FACESEARCH_METADATA", "FACESEARCH_CHANGE", "FACESEARCH_PERSON"):
        assert other.select(table) == []


def assert_refused(
    database: MySQLImageDatabase, error: type[FacesearchError], left: int, **fields: Any
) -> None:
    """An addition fails, and of all faces so many are left."""
    with pytest.raises(error):
        database.add_faces([new_face(metadata={"a": "b"}, **fields)], MODEL)
    assert len(database.face_ids(EVERY_FACE)) == left
    assert len(all_changes(database)) == 1
    assert database.select("FACESEARCH_METADATA") == []
