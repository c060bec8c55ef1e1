"""What every CollectionStore does, and how the faces of two collections keep apart.

A subclass brings the fixture `database`, that of the default collection, and `collections`.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from facesearch.errors import (
    CollectionNotFound,
    Conflict,
    FacesearchError,
    InvalidParameter,
    ModelMismatch,
    NameTaken,
)
from facesearch.interfaces import CollectionStore, ImageDatabase
from facesearch.records import DEFAULT_COLLECTION, DEFAULT_NUMBER, EVERY_FACE, NO_BOX, Crop, Face, FaceEdit
from tests.contracts.new_faces import MODEL, all_changes, new_face

NAMES = ["x" * 255, "王小明 😀", "Ana", "ana", "Zoë", "a b", "...", "%s'\"\\;--", "😀" * 255]
WRONG_NAMES = [
    "",
    "x" * 256,
    " ",
    " a",
    "a ",
    "a/b",
    "*",
    ".",
    "..",
    "line\nbreak",
    "nul\x00",
    "a\u202eb",
    "\u2067a",
    "Zoe\u0308",
    "\ud800",
]
UNKNOWN = 2**40


class CollectionStoreContract:
    @pytest.fixture
    def database(self) -> Iterator[ImageDatabase]:
        raise NotImplementedError

    @pytest.fixture
    def collections(self, database: ImageDatabase) -> CollectionStore:
        raise NotImplementedError

    def test_there_is_always_the_default_one(
        self, database: ImageDatabase, collections: CollectionStore
    ) -> None:
        [only] = collections.collections(10).items
        assert (only.number, only.name, only.model_id) == (DEFAULT_NUMBER, DEFAULT_COLLECTION, None)
        assert (only.faces, only.people) == (0, 0)
        assert database.collection == DEFAULT_NUMBER
        database.add_faces([new_face(), new_face(person_name="Bo"), new_face(person_name="")], MODEL)
        counted = collections.counted(DEFAULT_COLLECTION)
        assert (counted.model_id, counted.faces, counted.people) == (MODEL, 3, 2)
        assert collections.numbers() == {DEFAULT_NUMBER: MODEL}

    @pytest.mark.parametrize("name", NAMES)
    def test_a_collection_is_known_by_its_name(self, collections: CollectionStore, name: str) -> None:
        made = collections.add(name)
        assert (made.name, made.model_id, made.next_model_id) == (name, None, None)
        assert made.number > DEFAULT_NUMBER
        assert abs(datetime.now(UTC) - made.created_at) < timedelta(minutes=5)
        assert collections.get(name) == collections.counted(name) == made
        assert collections.numbers() == {DEFAULT_NUMBER: None, made.number: None}

    @pytest.mark.parametrize("name", WRONG_NAMES)
    def test_a_name_that_cannot_be_one_is_refused(self, collections: CollectionStore, name: str) -> None:
        with pytest.raises(InvalidParameter):
            collections.add(name)
        with pytest.raises(CollectionNotFound):
            collections.get(name)
        assert len(collections.collections(10).items) == 1

    def test_a_name_is_given_once(self, collections: CollectionStore) -> None:
        collections.add("staff")
        for name in ("staff", DEFAULT_COLLECTION):
            with pytest.raises(NameTaken):
                collections.add(name)
        assert len(collections.collections(10).items) == 2

    def test_of_threads_that_make_the_same_collection_one_does(self, collections: CollectionStore) -> None:
        def make(_: int) -> int | None:
            try:
                return collections.add("staff").number
            except NameTaken:
                return None

        with ThreadPoolExecutor(4) as threads:
            [number] = [one for one in threads.map(make, range(4)) if one is not None]
        assert collections.get("staff").number == number

    def test_collections_come_in_pages(self, collections: CollectionStore) -> None:
        made = [collections.add(f"collection {n}") for n in range(5)]
        first = collections.collections(4)
        assert [one.name for one in first.items] == [DEFAULT_COLLECTION, *(one.name for one in made[:3])]
        assert first.next == made[2].number
        assert collections.collections(4, first.next).items == tuple(made[3:])
        assert collections.collections(2, first.next).next is None
        assert collections.collections(1, UNKNOWN).items == ()
        with pytest.raises(InvalidParameter):
            collections.collections(0)

    def test_a_collection_may_be_made_for_a_model(self, collections: CollectionStore) -> None:
        made = collections.add("staff", "another", 4)
        assert made.model_id == "another"
        faces = collections.faces(made.number)
        assert faces.gallery_model() == "another"
        with pytest.raises(ModelMismatch):
            faces.add_faces([new_face()], MODEL)
        with pytest.raises(ModelMismatch):
            faces.add_faces([new_face([1.0] * 3)], "another")
        assert faces.add_faces([new_face([1.0] * 4)], "another")
        with pytest.raises(ModelMismatch):
            collections.add("third", "another", 5)
        for wrong in ("", "m" * 65):
            with pytest.raises(InvalidParameter):
                collections.add("third", wrong)
        unknown = collections.faces(collections.add("third", "no dimension yet").number)
        assert unknown.add_faces([new_face()], "no dimension yet")

    def test_each_collection_has_its_own_model_and_faces(
        self, database: ImageDatabase, collections: CollectionStore
    ) -> None:
        other = collections.faces(collections.add("staff").number)
        mine = database.add_faces([new_face()] * 2, MODEL)
        crop = Crop("image/jpeg", b"x")
        face = Face(NO_BOX, np.array([0.0, 1.0], np.float32), crop=crop)
        theirs = other.add_faces([new_face(face=face, photo_sha256=bytes(32))], "another")
        assert (database.gallery_model(), other.gallery_model()) == (MODEL, "another")
        assert not set(mine) & set(theirs)
        assert other.get_faces([*mine, *theirs]).keys() == set(theirs)
        assert database.get_faces([*mine, *theirs]).keys() == set(mine)
        assert [face.id for face in other.faces(EVERY_FACE, 10).items] == theirs
        assert other.face_ids(EVERY_FACE).tolist() == theirs
        assert other.embeddings([*mine, *theirs]).keys() == set(theirs)
        assert other.faces_of_photos([bytes(32)]) == {bytes(32): theirs[0]}
        assert database.faces_of_photos([bytes(32)]) == {}
        assert (other.faces_of_photo(bytes(32)), database.faces_of_photo(bytes(32))) == ([theirs[0]], [])
        assert (other.crop(theirs[0]), database.crop(theirs[0])) == (crop, None)
        assert (other.photos_of_faces(theirs), database.photos_of_faces(theirs)) == ({bytes(32): None}, {})
        assert database.delete_faces(theirs) == []
        with pytest.raises(FacesearchError):
            database.edit_face(theirs[0], FaceEdit(frozenset(["external_id"]), "7"))
        assert other.delete_faces(mine) == []

    def test_changes_of_others_are_no_news(
        self, database: ImageDatabase, collections: CollectionStore
    ) -> None:
        other = collections.faces(collections.add("staff").number)
        assert (database.newest_change(), other.newest_change()) == (0, 0)
        mine = database.add_faces([new_face()] * 2, MODEL)
        theirs = other.add_faces([new_face()], MODEL)
        assert (database.newest_change(), other.newest_change()) == (2, 3)
        more = database.add_faces([new_face()], MODEL)
        other.delete_faces(theirs)
        assert (database.newest_change(), other.newest_change()) == (4, 5)
        assert [(c.number, c.face_id) for c in all_changes(database)] == [
            (1, mine[0]),
            (2, mine[1]),
            (4, more[0]),
        ]
        assert [(c.number, c.face_id) for c in all_changes(other)] == [(5, theirs[0])]
        assert database.changed_faces(0).tolist() == [*mine, *more]
        assert other.changed_faces(0).tolist() == theirs
        assert other.changed_faces(5).tolist() == []

    def test_a_history_among_others_comes_whole(
        self, database: ImageDatabase, collections: CollectionStore
    ) -> None:
        other = collections.faces(collections.add("staff").number)
        ids: list[int] = []
        for _ in range(3):
            database.add_faces([new_face([0.0])] * 3_000, MODEL)
            ids += other.add_faces([new_face([1.0])] * 1_500, MODEL)
        assert [c.face_id for c in all_changes(other)] == ids
        assert [c.face_id for c in all_changes(other, 4_000)] == ids[1_000:]
        assert len(all_changes(database)) == 9_000

    def test_persons_of_one_name_are_two_in_two_collections(
        self, database: ImageDatabase, collections: CollectionStore
    ) -> None:
        other = collections.faces(collections.add("staff").number)
        [mine] = database.add_faces([new_face()], MODEL)
        [theirs] = other.add_faces([new_face()], MODEL)
        numbers = [database.get_faces([mine])[mine].person_id, other.get_faces([theirs])[theirs].person_id]
        assert None not in numbers
        assert len(set(numbers)) == 2
        database.delete_faces([mine])
        assert collections.counted("staff").people == 1
        assert collections.counted(DEFAULT_COLLECTION).people == 0

    def test_a_transaction_spans_collections(
        self, database: ImageDatabase, collections: CollectionStore
    ) -> None:
        other = collections.faces(collections.add("staff").number)

        def fail() -> None:
            with database.transaction():
                database.add_faces([new_face()], MODEL)
                other.add_faces([new_face()], MODEL)
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            fail()
        assert (database.newest_change(), other.newest_change()) == (0, 0)
        assert other.gallery_model() is None

    def test_a_deleted_collection_is_gone_at_once(
        self, database: ImageDatabase, collections: CollectionStore
    ) -> None:
        made = collections.add("staff")
        faces = collections.faces(made.number)
        [face_id] = faces.add_faces([new_face()], MODEL)
        assert collections.deleted() == []
        assert collections.delete("staff") == made.number
        assert collections.deleted() == [made.number]
        assert collections.numbers() == {DEFAULT_NUMBER: None}
        assert [one.name for one in collections.collections(10).items] == [DEFAULT_COLLECTION]
        for ask in (collections.get, collections.counted, collections.delete):
            with pytest.raises(CollectionNotFound):
                ask("staff")
        assert_gone(faces, face_id)
        assert database.newest_change() == 0

    def test_a_name_is_free_after_a_deletion_and_a_number_is_not(
        self, database: ImageDatabase, collections: CollectionStore
    ) -> None:
        first = collections.add("staff")
        [face_id] = collections.faces(first.number).add_faces([new_face()], MODEL)
        collections.delete("staff")
        second = collections.add("staff")
        collections.purge(first.number)
        collections.delete("staff")
        collections.purge(second.number)
        third = collections.add("staff")
        assert first.number < second.number < third.number
        assert collections.faces(third.number).newest_change() == 0
        assert database.add_faces([new_face()], MODEL)[0] > face_id

    def test_what_a_deleted_collection_held_is_purged_and_no_more(
        self, database: ImageDatabase, collections: CollectionStore
    ) -> None:
        kept = database.add_faces([new_face(metadata={"a": "b"})] * 3, MODEL)
        made = collections.add("staff")
        faces = collections.faces(made.number)
        faces.add_faces([new_face([0.0] * 3, metadata={"a": "b"})] * 2_500, MODEL)
        later = database.add_faces([new_face()], MODEL)
        collections.delete("staff")
        collections.purge(made.number)
        assert collections.deleted() == []
        assert database.face_ids(EVERY_FACE).tolist() == [*kept, *later]
        assert len(all_changes(database)) == 4
        left = collections.counted(DEFAULT_COLLECTION)
        assert (left.faces, left.people) == (4, 1)
        assert_gone(faces, 4)
        collections.purge(made.number)

    def test_what_is_there_is_not_purged(self, database: ImageDatabase, collections: CollectionStore) -> None:
        ids = database.add_faces([new_face()], MODEL)
        collections.purge(DEFAULT_NUMBER)
        collections.purge(UNKNOWN)
        assert database.face_ids(EVERY_FACE).tolist() == ids

    def test_the_default_collection_cannot_be_deleted(self, collections: CollectionStore) -> None:
        with pytest.raises(Conflict):
            collections.delete(DEFAULT_COLLECTION)
        assert collections.get(DEFAULT_COLLECTION).number == DEFAULT_NUMBER

    def test_a_number_that_never_was_is_not_found(self, collections: CollectionStore) -> None:
        assert_gone(collections.faces(UNKNOWN), 1)

    def test_faces_that_are_added_beside_a_deletion_are_not_left_over(
        self, database: ImageDatabase, collections: CollectionStore
    ) -> None:
        for _ in range(5):
            made = collections.add("staff")
            faces = collections.faces(made.number)
            faces.add_faces([new_face()], MODEL)

            def add(_: int, faces: ImageDatabase = faces) -> None:
                try:
                    for _ in range(50):
                        faces.delete_faces(faces.add_faces([new_face()] * 2, MODEL)[:1])
                except CollectionNotFound:
                    return

            with ThreadPoolExecutor(3) as threads:
                adding = [threads.submit(add, n) for n in range(2)]
                collections.delete("staff")
                for one in adding:
                    one.result(60)
            collections.purge(made.number)
            assert collections.deleted() == []
        assert database.face_ids(EVERY_FACE).tolist() == []
        assert [one.name for one in collections.collections(10).items] == [DEFAULT_COLLECTION]


def assert_gone(faces: ImageDatabase, face_id: int) -> None:
    """Every method of a collection's view says that there is none."""
    asked = [
        faces.newest_change,
        faces.gallery_model,
        lambda: faces.add_faces([new_face()], MODEL),
        lambda: faces.delete_faces([face_id]),
        lambda: faces.get_faces([face_id]),
        lambda: faces.faces(EVERY_FACE, 1),
        lambda: faces.face_ids(EVERY_FACE),
        lambda: faces.changed_faces(0),
        lambda: faces.embeddings([face_id]),
        lambda: faces.crop(face_id),
        lambda: faces.photos_of_faces([face_id]),
        lambda: faces.edit_face(face_id, FaceEdit(frozenset(["external_id"]), "7")),
        lambda: faces.faces_of_photos([bytes(32)]),
        lambda: faces.faces_of_photo(bytes(32)),
        lambda: list(faces.changes_after(0, MODEL)),
        faces.alone().__enter__,
    ]
    for ask in asked:
        with pytest.raises(CollectionNotFound):
            ask()
