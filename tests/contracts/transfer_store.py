"""What every TransferStore does. A subclass brings `database`, `collections` and `transfers`."""

from collections.abc import Iterator
from datetime import UTC, datetime
from threading import Thread
from typing import Any

import numpy as np
import pytest

from facesearch.errors import CollectionNotFound, InvalidParameter, NameTaken
from facesearch.interfaces import CollectionStore, ImageDatabase, TransferStore
from facesearch.records import Box, CopiedFace, CopiedPerson, Crop, Face, Quality
from tests.contracts.new_faces import MODEL, new_face

LONG_AGO = datetime(1999, 12, 31, 23, 59, 59, 123_456, tzinfo=UTC)
QUALITY = Quality(60, 1.5, 10.0, 99.5, -1.0, 2.0, 3.25)
SOME = 2_300  # more than are read at a time


def person(name: str = "Ada", **fields: Any) -> CopiedPerson:
    values: dict[str, Any] = {"id": 7, "kept": True, "cover_face": None, "created_at": LONG_AGO}
    return CopiedPerson(name=name, **(values | fields))


class TransferStoreContract:
    @pytest.fixture
    def database(self) -> Iterator[ImageDatabase]:
        raise NotImplementedError

    @pytest.fixture
    def collections(self, database: ImageDatabase) -> CollectionStore:
        raise NotImplementedError

    @pytest.fixture
    def transfers(self, database: ImageDatabase) -> TransferStore:
        raise NotImplementedError

    def test_a_face_is_told_of_whole(self, database: ImageDatabase, transfers: TransferStore) -> None:
        crop = Crop("image/webp", b"RIFF....WEBP")
        new = new_face(
            face=Face(Box(1, 20, 30, -4), np.array([1, 2, 3], np.float32), QUALITY, crop),
            photo_sha256=bytes(range(32)),
            photo_bytes=5 * 1024**3,
            external_id="é 王",
            metadata={"site": "Paris", "age": 41, "height": 1.7, "badge": True},
            added_at=LONG_AGO,
        )
        (face_id,) = database.add_faces([new], MODEL)
        [person] = transfers.people(1)
        stored = database.get_faces([face_id])[face_id]
        assert stored.added_at == LONG_AGO
        assert stored.person_id == person.id
        assert list(transfers.faces(1)) == [CopiedFace(stored, bytes(range(32)), 5 * 1024**3)]
        assert np.concatenate(list(transfers.vectors(1))).tolist() == [[1, 2, 3]]
        assert list(transfers.crops(1)) == [(face_id, crop)]
        assert (person.name, person.kept, person.cover_face) == ("Ada Lovelace", False, None)

    def test_all_of_a_collection_is_told_of_in_order_and_nothing_of_another(
        self, database: ImageDatabase, collections: CollectionStore, transfers: TransferStore
    ) -> None:
        other = collections.add("other").number
        collections.faces(other).add_faces([new_face((9, 9, 9), person_name="Eve")], MODEL)
        crop = Crop("image/jpeg", b"\xff\xd8\xff")
        faces = [
            new_face(
                person_name=f"P{n % 1_100}",
                face=Face(Box(0, 9, 9, 0), np.array([n, 0, 0], np.float32), None, crop if n % 10 else None),
            )
            for n in range(SOME)
        ]
        ids = database.add_faces(faces, MODEL)
        assert [one.stored.id for one in transfers.faces(1)] == ids
        assert np.concatenate(list(transfers.vectors(1)))[:, 0].tolist() == list(range(SOME))
        assert [face for face, _ in transfers.crops(1)] == [i for n, i in enumerate(ids) if n % 10]
        people = list(transfers.people(1))
        assert [one.name for one in people] == [f"P{n}" for n in range(1_100)]
        assert [one.id for one in people] == sorted(one.id for one in people)
        assert [one.name for one in transfers.people(other)] == ["Eve"]
        assert len(list(transfers.faces(other))) == 1
        assert list(transfers.crops(other)) == []

    def test_a_collection_that_is_not_there_is_not_found(self, transfers: TransferStore) -> None:
        for told in (transfers.people, transfers.faces, transfers.vectors, transfers.crops):
            with pytest.raises(CollectionNotFound):
                list(told(99))
        with pytest.raises(CollectionNotFound):
            transfers.add_people(99, [person()])

    def test_what_others_write_meanwhile_is_not_seen_in_one_moment(
        self, database: ImageDatabase, collections: CollectionStore, transfers: TransferStore
    ) -> None:
        first, second = database.add_faces([new_face(), new_face(person_name="Bo")], MODEL)

        def change() -> None:
            database.delete_faces([first])
            database.add_faces([new_face(person_name="Cy")], MODEL)

        with transfers.one_moment():
            before = collections.counted("default")
            writer = Thread(target=change)
            writer.start()
            writer.join()
            assert [one.stored.id for one in transfers.faces(1)] == [first, second]
            assert [one.name for one in transfers.people(1)] == ["Ada Lovelace", "Bo"]
            assert sum(map(len, transfers.vectors(1))) == 2
            assert collections.counted("default") == before
        assert first not in [one.stored.id for one in transfers.faces(1)]
        assert [one.name for one in transfers.people(1)] == ["Bo", "Cy"]

    def test_nothing_is_written_in_one_moment(
        self, database: ImageDatabase, transfers: TransferStore
    ) -> None:
        with pytest.raises(InvalidParameter), transfers.one_moment():
            database.add_faces([new_face()], MODEL)
        with pytest.raises(InvalidParameter), database.transaction(), transfers.one_moment():
            pass
        assert database.newest_change() == 0
        database.add_faces([new_face()], MODEL)
        assert database.newest_change() == 1

    def test_people_are_made_as_they_were(
        self, collections: CollectionStore, transfers: TransferStore
    ) -> None:
        number = collections.add("copy").number
        wanted = [person("Zoë 王 😀"), person("ana"), person("Ana", created_at=None)]
        ids = transfers.add_people(number, wanted)
        assert ids == sorted(set(ids))
        copies = [
            person(one.name, id=i, created_at=one.created_at) for i, one in zip(ids, wanted, strict=True)
        ]
        assert list(transfers.people(number)) == copies
        assert transfers.add_people(number, []) == []
        (later,) = transfers.add_people(1, [person("Ana", kept=False)])
        assert later > ids[-1]
        assert next(transfers.people(1)) == person("Ana", id=later, kept=False)

    def test_a_name_is_given_once(self, collections: CollectionStore, transfers: TransferStore) -> None:
        transfers.add_people(1, [person("Ana")])
        for wrong in ([person("Bo"), person("Ana")], [person("Bo"), person("Bo")]):
            with pytest.raises(NameTaken):
                transfers.add_people(1, wrong)
        for name in ("", "x" * 256, "\ud800"):
            with pytest.raises(InvalidParameter):
                transfers.add_people(1, [person(name)])
        assert [one.name for one in transfers.people(1)] == ["Ana"]

    def test_a_person_who_is_not_kept_goes_with_the_last_face(
        self, database: ImageDatabase, transfers: TransferStore
    ) -> None:
        stays, goes = transfers.add_people(1, [person("Ana"), person("Bo", kept=False)])
        ids = database.add_faces([new_face(person_name="", person_id=i) for i in (stays, goes)], MODEL)
        database.delete_faces(ids)
        assert [one.id for one in transfers.people(1)] == [stays]

    def test_covers_are_faces_of_their_people(
        self, database: ImageDatabase, transfers: TransferStore
    ) -> None:
        names = ["Ana", "Ana", "Bo", "Cy"]
        ids = database.add_faces([new_face(person_name=name) for name in names], MODEL)
        ana, bo, cy = (one.id for one in transfers.people(1))
        transfers.set_covers(1, {ana: ids[1], bo: ids[0], cy: 2**40})
        assert [one.cover_face for one in transfers.people(1)] == [ids[1], None, None]
