"""What photos are known again by, and what every ImageDatabase does in transactions."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager

import pytest

from facesearch.errors import InvalidParameter, ModelMismatch
from facesearch.interfaces import ImageDatabase
from tests.contracts.new_faces import MODEL, all_changes, new_face

PHOTO, OTHER, UNKNOWN = bytes(range(32)), bytes(31) + b" ", b"\xff" * 32


class FaceTransactionsContract:
    @pytest.fixture
    def database(self) -> Iterator[ImageDatabase]:
        raise NotImplementedError

    def test_an_external_id_and_metadata_come_back(self, database: ImageDatabase) -> None:
        metadata = {"Zoë 😀": "王小明", "": "", "quote'\"\\": "%s\x00\n", "n": "1"}
        faces = [new_face(external_id="", metadata={}), new_face(external_id="x" * 255, metadata=metadata)]
        ids = database.add_faces([*faces, new_face()], MODEL)
        stored = database.get_faces(ids)
        assert [stored[i].external_id for i in ids] == ["", "x" * 255, None]
        assert [stored[i].metadata for i in ids] == [{}, metadata, {}]

    def test_metadata_of_16_kib_is_stored_and_no_more(self, database: ImageDatabase) -> None:
        room = 16 * 1024 - len('{"k": ""}')
        for value in ("x" * room, "é" * (room // 2)):
            [face_id] = database.add_faces([new_face(metadata={"k": value})], MODEL)
            assert database.get_faces([face_id])[face_id].metadata == {"k": value}
        for value in ("x" * (room + 1), "é" * (room // 2 + 1), "\ud800"):
            with pytest.raises(InvalidParameter):
                database.add_faces([new_face(), new_face(metadata={"k": value})], MODEL)
        assert database.newest_change() == 2

    def test_an_external_id_or_a_digest_that_does_not_fit_is_refused(self, database: ImageDatabase) -> None:
        for fields in (
            {"external_id": "x" * 256},
            {"external_id": "\ud800"},
            {"photo_sha256": b""},
            {"photo_sha256": PHOTO[:31]},
            {"photo_sha256": PHOTO + b"x"},
        ):
            with pytest.raises(InvalidParameter):
                database.add_faces([new_face(), new_face(**fields)], MODEL)
        assert database.newest_change() == 0

    def test_a_photo_is_known_by_the_first_of_its_faces(self, database: ImageDatabase) -> None:
        assert database.faces_of_photos([PHOTO]) == {}
        digests = [None, PHOTO, OTHER, PHOTO, None, PHOTO]
        ids = database.add_faces([new_face(photo_sha256=digest) for digest in digests], MODEL)
        assert database.faces_of_photos([UNKNOWN, PHOTO, OTHER, PHOTO]) == {PHOTO: ids[1], OTHER: ids[2]}
        assert database.faces_of_photos([OTHER]) == {OTHER: ids[2]}
        assert database.faces_of_photos([]) == {}
        wrong = [b"", PHOTO[:31], PHOTO + b" ", b"\x00" * 32]
        assert database.faces_of_photos(wrong) == {}
        assert database.faces_of_photo(PHOTO) == [ids[1], ids[3], ids[5]]
        assert [database.faces_of_photo(digest) for digest in wrong] == [[]] * 4

    def test_a_photo_whose_faces_were_removed_is_unknown(self, database: ImageDatabase) -> None:
        ids = database.add_faces([new_face(photo_sha256=PHOTO)] * 2, MODEL)
        database.delete_faces(ids[:1])
        assert database.faces_of_photos([PHOTO]) == {PHOTO: ids[1]}
        database.delete_faces(ids[1:])
        assert database.faces_of_photos([PHOTO]) == {}

    def test_many_photos_are_looked_up_at_once(self, database: ImageDatabase) -> None:
        digests = [n.to_bytes(32, "little") for n in range(2_500)]
        ids = database.add_faces([new_face([0.0], photo_sha256=digest) for digest in digests], MODEL)
        assert database.faces_of_photos([*digests, UNKNOWN]) == dict(zip(digests, ids, strict=True))

    def test_a_transaction_that_fails_leaves_nothing(self, database: ImageDatabase) -> None:
        [kept] = database.add_faces([new_face(person_name="kept")], MODEL)

        def fail(begin: AbstractContextManager[None]) -> None:
            with begin:
                added = database.add_faces([new_face(photo_sha256=PHOTO, person_name="new")], MODEL)
                assert database.faces_of_photos([PHOTO]) == {PHOTO: added[0]}
                assert database.delete_faces([kept]) == [kept]
                assert database.newest_change() == 3
                raise ZeroDivisionError

        for begin in (database.transaction(), database.alone()):
            with pytest.raises(ZeroDivisionError):
                fail(begin)
            assert database.newest_change() == 1
            assert list(database.get_faces([kept, kept + 1])) == [kept]
            assert database.faces_of_photos([PHOTO]) == {}
        database.add_faces([new_face(person_name="new")], MODEL)
        assert [(c.number, c.person) for c in all_changes(database)] == [(1, 1), (2, 2)]

    def test_the_first_face_of_a_failed_transaction_leaves_no_model(self, database: ImageDatabase) -> None:
        def fail() -> None:
            with database.alone():
                database.add_faces([new_face()], "never")
                assert database.gallery_model() == "never"
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            fail()
        assert database.gallery_model() is None
        with database.alone():
            assert database.add_faces([new_face()], MODEL)
        assert database.gallery_model() == MODEL

    def test_a_failed_part_fails_the_transaction(self, database: ImageDatabase) -> None:
        database.add_faces([new_face()], MODEL)

        def go_on_after_an_error() -> None:
            with database.alone():
                database.add_faces([new_face()], MODEL)
                with pytest.raises(ModelMismatch):
                    database.add_faces([new_face()], "another")

        with pytest.raises(ModelMismatch):
            go_on_after_an_error()
        assert database.newest_change() == 1

    def test_a_block_may_be_left_early(self, database: ImageDatabase) -> None:
        def leave(begin: AbstractContextManager[None]) -> int:
            with begin:
                return database.add_faces([new_face()], MODEL)[0]

        ids = [leave(begin) for begin in (database.alone(), database.transaction(), database.alone())]
        assert list(database.get_faces(ids)) == ids

    def test_being_alone_begins_a_transaction(self, database: ImageDatabase) -> None:
        def begin_again(outer: AbstractContextManager[None]) -> None:
            with outer:
                database.add_faces([new_face()], MODEL)
                with database.alone():
                    pass

        for outer in (database.transaction(), database.alone()):
            with pytest.raises(InvalidParameter):
                begin_again(outer)
        with database.alone(), database.transaction():
            database.add_faces([new_face()], MODEL)
        assert database.newest_change() == 1

    def test_what_was_removed_is_wiped_once_its_transaction_has_ended(self, database: ImageDatabase) -> None:
        database.wipe()
        kept, gone = database.add_faces([new_face()] * 2, MODEL)
        database.delete_faces([gone])
        database.wipe()
        assert list(database.get_faces([kept, gone])) == [kept]
        for begin in (database.transaction(), database.alone()):
            with pytest.raises(InvalidParameter), begin:
                database.wipe()

    def test_who_is_alone_sees_all_that_came_before_and_nothing_comes_beside(
        self, database: ImageDatabase
    ) -> None:
        """Each thread adds each photo unless it is there: at the end each is there once."""
        digests = [n.to_bytes(32, "big") for n in range(40)]

        def add_missing(order: int) -> int:
            added = 0
            for digest in digests[::order]:
                with database.alone():
                    before = database.newest_change()
                    if not database.faces_of_photos([digest]):
                        database.add_faces([new_face(photo_sha256=digest)], MODEL)
                        added += 1
                        before += 1
                    assert database.newest_change() == before
            return added

        def add_and_remove(_: int) -> int:
            for _ in range(20):
                database.delete_faces(database.add_faces([new_face()] * 2, MODEL))
            return 0

        with ThreadPoolExecutor(4) as threads:
            works = (add_missing, add_missing, add_missing, add_and_remove)
            counts = list(threads.map(lambda work, order: work(order), works, (1, -1, 1, 1)))
        assert sum(counts) == len(digests)
        assert database.newest_change() == 40 + 20 * 4
        assert len(database.faces_of_photos(digests)) == 40
