"""What every ImageDatabase does. A subclass brings the fixture `database`."""

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from facesearch.errors import Invalid, InvalidParameter, ModelMismatch
from facesearch.interfaces import ImageDatabase
from facesearch.records import NO_BOX, Face, Location, NewFace, PhotoInfo, Quality
from tests.contracts.face_selection import FaceSelectionContract
from tests.contracts.face_transactions import FaceTransactionsContract
from tests.contracts.new_faces import MODEL, all_changes, new_face

__all__ = ["MODEL", "ImageDatabaseContract", "all_changes", "new_face"]

QUALITY = Quality(
    size_px=71,
    score=0.1 + 0.2,
    sharpness=1234.5678901234567,
    brightness=1 / 3,
    roll_deg=-179.99999999999997,
    yaw_deg=-1e-17,
    pitch_deg=89.0,
)


class ImageDatabaseContract(FaceSelectionContract, FaceTransactionsContract):
    @pytest.fixture
    def database(self) -> Iterator[ImageDatabase]:
        raise NotImplementedError

    def test_a_new_database_is_empty(self, database: ImageDatabase) -> None:
        assert database.newest_change() == 0
        assert database.gallery_model() is None
        assert all_changes(database) == []
        assert database.get_faces([1, 2]) == {}

    def test_preparing_again_changes_nothing(self, database: ImageDatabase) -> None:
        before = database.database_id()
        [face_id] = database.add_faces([new_face()], MODEL)
        database.prepare()
        assert database.database_id() == before
        assert list(database.get_faces([face_id])) == [face_id]

    def test_the_database_id_is_a_uuid(self, database: ImageDatabase) -> None:
        assert str(uuid.UUID(database.database_id())) == database.database_id()

    def test_a_stored_face_comes_back_whole(self, database: ImageDatabase) -> None:
        face = new_face()
        [face_id] = database.add_faces([face], MODEL)
        stored = database.get_faces([face_id])[face_id]
        assert stored.id == face_id
        assert (stored.person_name, stored.version) == (face.person_name, face.version)
        assert (stored.photo, stored.box) == (face.photo, face.face.box)
        assert (stored.model_id, stored.dimension) == (MODEL, 3)
        assert abs(datetime.now(UTC) - stored.added_at) < timedelta(minutes=5)

    @pytest.mark.parametrize("quality", [QUALITY, None])
    def test_a_faces_quality_comes_back_with_all_its_digits(
        self, database: ImageDatabase, quality: Quality | None
    ) -> None:
        face = replace(new_face().face, quality=quality)
        [face_id] = database.add_faces([new_face(face=face)], MODEL)
        assert database.get_faces([face_id])[face_id].quality == quality

    def test_a_face_that_was_imported_without_its_photo_comes_back_so(self, database: ImageDatabase) -> None:
        photo = PhotoInfo("", 0, 0)
        face = Face(NO_BOX, np.zeros(3, np.float32))
        [face_id] = database.add_faces([new_face(photo=photo, face=face)], MODEL)
        stored = database.get_faces([face_id])[face_id]
        assert (stored.photo, stored.box, stored.quality) == (photo, NO_BOX, None)

    def test_a_photo_without_date_and_place_comes_back_without(self, database: ImageDatabase) -> None:
        photo = PhotoInfo("x.png", 1, 2)
        [face_id] = database.add_faces([new_face(photo=photo)], MODEL)
        assert database.get_faces([face_id])[face_id].photo == photo

    def test_degrees_keep_all_their_digits(self, database: ImageDatabase) -> None:
        place = Location(-33.856784123456785, 151.21529673456788)
        [face_id] = database.add_faces([new_face(photo=PhotoInfo("x", 1, 1, None, place))], MODEL)
        found = database.get_faces([face_id])[face_id].photo.location
        assert found == place
        assert found is not None
        assert type(found.latitude) is float

    def test_ids_come_in_the_order_of_the_faces(self, database: ImageDatabase) -> None:
        database.add_faces([new_face()], MODEL)
        names = [f"Person {n}" for n in range(1_200)]
        ids = database.add_faces([new_face(person_name=name) for name in names], MODEL)
        stored = database.get_faces(ids)
        assert [stored[i].person_name for i in ids] == names
        assert ids == sorted(ids)

    @pytest.mark.parametrize(
        "name",
        [
            "Zoë Ångström",
            "王小明 😀🧑🏽‍🚀",
            'O\'Brien "\\" %s %(x)s ; -- :name ?',
            " spaces around ",
            "line\nbreak\ttab\x00nul",
            "x" * 255,
            "😀" * 255,
            "",
        ],
    )
    def test_any_text_comes_back_as_it_was(self, database: ImageDatabase, name: str) -> None:
        face = new_face(person_name=name, version=name, photo=PhotoInfo(name, 1, 1))
        [face_id] = database.add_faces([face], MODEL)
        stored = database.get_faces([face_id])[face_id]
        assert (stored.person_name, stored.version, stored.photo.file_name) == (name, name, name)

    @pytest.mark.parametrize(
        "wrong",
        [
            new_face(person_name="x" * 256),
            new_face(version="x" * 256),
            new_face(photo=PhotoInfo("x" * 1025, 1, 1)),
            new_face(person_name="half a pair \ud83d"),
            new_face([1.0, np.nan, 0.0]),
            new_face([1.0, np.inf, 0.0]),
            new_face([]),
            new_face(np.zeros(1025)),
            new_face(np.zeros((1, 3))),
            new_face([1.0, 2.0]),
        ],
        ids=lambda face: f"{face.person_name[:12]!a}-{face.face.embedding.shape}",
    )
    def test_a_face_that_cannot_be_stored_stores_none_of_its_call(
        self, database: ImageDatabase, wrong: NewFace
    ) -> None:
        with pytest.raises(InvalidParameter):
            database.add_faces([new_face(), wrong, new_face()], MODEL)
        assert database.newest_change() == 0
        assert all_changes(database) == []

    def test_a_model_id_that_is_too_long_is_refused(self, database: ImageDatabase) -> None:
        with pytest.raises(Invalid):
            database.add_faces([new_face()], "m" * 65)

    def test_a_gallery_gets_its_model_with_its_first_face_and_keeps_it(self, database: ImageDatabase) -> None:
        assert database.gallery_model() is None
        database.add_faces([new_face()], MODEL)
        for other in ("another model", MODEL.upper(), f"{MODEL} "):
            with pytest.raises(ModelMismatch):
                database.add_faces([new_face()], other)
            assert database.gallery_model() == MODEL
            assert database.newest_change() == 1

    def test_faces_that_were_refused_give_a_gallery_no_model(self, database: ImageDatabase) -> None:
        with pytest.raises(InvalidParameter):
            database.add_faces([new_face(person_name="x" * 256)], MODEL)
        assert database.add_faces([], MODEL) == []
        assert database.gallery_model() is None
        database.add_faces([new_face()], "another model")
        assert database.gallery_model() == "another model"

    def test_a_gallery_keeps_the_dimension_of_its_model(self, database: ImageDatabase) -> None:
        database.add_faces([new_face([1.0, 2.0])], MODEL)
        for _ in range(2):
            with pytest.raises(ModelMismatch):
                database.add_faces([new_face([1.0, 2.0, 3.0])], MODEL)
            database.add_faces([new_face([3.0, 2.0])], MODEL)
        assert [change.number for change in all_changes(database)] == [1, 2, 3]

    def test_threads_that_race_for_the_first_face_agree_on_one_model(self, database: ImageDatabase) -> None:
        def add(model_id: str) -> str | None:
            try:
                database.add_faces([new_face()] * 3, model_id)
            except ModelMismatch:
                return None
            return model_id

        with ThreadPoolExecutor(4) as threads:
            added = list(threads.map(add, ["a", "b", "c", "d"]))
        [model] = [model_id for model_id in added if model_id]
        assert database.gallery_model() == model
        assert [c.number for c in all_changes(database, 0, model)] == [1, 2, 3]
        assert database.newest_change() == 3

    def test_adding_no_faces_is_no_change(self, database: ImageDatabase) -> None:
        assert database.add_faces([], MODEL) == []
        assert database.newest_change() == 0
        database.add_faces([new_face()], MODEL)
        assert database.add_faces([], MODEL) == []
        assert database.newest_change() == 1

    def test_changes_follow_the_calls(self, database: ImageDatabase) -> None:
        ids = database.add_faces([new_face(), new_face()], MODEL)
        ids += database.add_faces([new_face()], MODEL)
        assert database.newest_change() == 3
        assert [(c.number, c.face_id) for c in all_changes(database)] == list(enumerate(ids, 1))
        assert [c.number for c in all_changes(database, 2)] == [3]
        assert all_changes(database, 3) == []
        assert all_changes(database, 99) == []

    def test_there_are_no_changes_of_another_model(self, database: ImageDatabase) -> None:
        database.add_faces([new_face()] * 2, "a")
        assert [c.number for c in all_changes(database, 0, "a")] == [1, 2]
        assert all_changes(database, 0, "A") == []
        assert all_changes(database, 0, "none") == []

    def test_embeddings_come_back_bit_by_bit(self, database: ImageDatabase) -> None:
        tiny = np.finfo(np.float32).smallest_subnormal
        texts = [b"%s%s", b"';--", b'\\"\\"', b"\x00\x1a\n\r", b"`?:a", b"%(a)"]
        spelled = np.frombuffer(b"".join(texts).ljust(128 * 4, b"\x7e"), "<f4")
        numbers = np.array([0.0, -0.0, tiny, -tiny, 3.4e38, 1 / 3] + [0] * 122, np.float32)
        noise = np.random.default_rng(7).normal(size=(50, 128)).astype(np.float32)
        embeddings = [spelled, numbers, *noise]
        database.add_faces([new_face(e) for e in embeddings], MODEL)
        found = [change.embedding for change in all_changes(database)]
        assert all(e is not None and e.dtype == np.float32 for e in found)
        assert [e.tobytes() for e in found if e is not None] == [e.tobytes() for e in embeddings]

    def test_many_changes_come_in_batches(self, database: ImageDatabase) -> None:
        embeddings = np.arange(4_500, dtype=np.float32)
        for start in range(0, 4_500, 1_500):
            database.add_faces([new_face([e]) for e in embeddings[start : start + 1_500]], MODEL)
        batches = list(database.changes_after(100, MODEL))
        assert len(batches) > 1
        changes = [change for batch in batches for change in batch]
        assert [c.number for c in changes] == list(range(101, 4_501))
        vectors = [c.embedding for c in changes if c.embedding is not None]
        assert [float(vector[0]) for vector in vectors] == list(range(100, 4_500))

    def test_an_iterator_of_changes_may_be_left(self, database: ImageDatabase) -> None:
        for _ in range(3):
            database.add_faces([new_face([0.0])] * 3_000, MODEL)
        for _ in range(12):
            next(database.changes_after(0, MODEL))
        assert database.newest_change() == 9_000

    def test_unknown_ids_are_left_out(self, database: ImageDatabase) -> None:
        [face_id] = database.add_faces([new_face()], MODEL)
        ids = [0, -1, face_id + 1, 2**31, 2**63 - 1, 2**63, 2**200, face_id, face_id]
        assert list(database.get_faces(ids)) == [face_id]
        assert database.get_faces([]) == {}

    def test_many_ids_are_fetched_at_once(self, database: ImageDatabase) -> None:
        ids = database.add_faces([new_face([0.0])] * 3_000, MODEL)
        assert sorted(database.get_faces(ids)) == ids

    def test_threads_add_without_gaps(self, database: ImageDatabase) -> None:
        def add(person: int) -> list[int]:
            return [
                i
                for n in range(10)
                for i in database.add_faces([new_face(person_name=f"{person}-{n}")] * 3, MODEL)
            ]

        with ThreadPoolExecutor(4) as threads:
            ids = [i for part in threads.map(add, range(4)) for i in part]
        assert database.newest_change() == 120
        changes = all_changes(database)
        assert [c.number for c in changes] == list(range(1, 121))
        assert sorted(c.face_id for c in changes) == sorted(ids)

    def test_two_faces_of_one_record_are_two(self, database: ImageDatabase) -> None:
        face = new_face()
        first, second = database.add_faces([face, replace(face)], MODEL)
        assert first != second

    def test_a_removed_face_is_gone_and_its_removal_is_a_change(self, database: ImageDatabase) -> None:
        first, second, third = database.add_faces([new_face()] * 3, MODEL)
        assert database.delete_faces([second]) == [second]
        assert database.newest_change() == 4
        assert sorted(database.get_faces([first, second, third])) == [first, third]
        assert [(c.number, c.face_id) for c in all_changes(database)] == [(1, first), (3, third), (4, second)]
        [removal] = all_changes(database, 3)
        assert (removal.number, removal.face_id, removal.embedding, removal.person) == (4, second, None, 0)
        assert all_changes(database, 4) == []

    def test_removals_stand_among_additions_in_the_order_of_the_calls(self, database: ImageDatabase) -> None:
        ids = database.add_faces([new_face()] * 4, MODEL)
        database.delete_faces([ids[3], ids[0]])
        [later] = database.add_faces([new_face()], MODEL)
        database.delete_faces([later])
        [last] = database.add_faces([new_face()], MODEL)
        story = [(c.number, c.face_id, c.embedding is None) for c in all_changes(database, 3)]
        removals = [(5, ids[0], True), (6, ids[3], True), (8, later, True)]
        assert story == [*removals, (9, last, False)]
        assert later > max(ids)
        assert database.newest_change() == 9

    def test_removals_of_another_model_are_not_told(self, database: ImageDatabase) -> None:
        ids = database.add_faces([new_face()] * 2, MODEL)
        database.delete_faces(ids)
        assert all_changes(database, 0, MODEL.upper()) == []
        assert [c.face_id for c in all_changes(database)] == ids

    def test_removing_what_is_not_there_is_no_change(self, database: ImageDatabase) -> None:
        assert database.delete_faces([1]) == []
        [face_id] = database.add_faces([new_face()], MODEL)
        assert database.delete_faces([]) == []
        assert database.delete_faces([0, -1, face_id + 1, 2**63, 2**200]) == []
        assert database.newest_change() == 1
        assert database.delete_faces([face_id, face_id + 1, face_id]) == [face_id]
        assert database.delete_faces([face_id]) == []
        assert database.newest_change() == 2

    def test_many_faces_are_removed_at_once(self, database: ImageDatabase) -> None:
        ids = database.add_faces([new_face([0.0], person_name=f"P{n}") for n in range(2_500)], MODEL)
        assert database.delete_faces(ids[::-1]) == ids
        assert [c.face_id for c in all_changes(database)] == ids
        assert all(c.embedding is None for c in all_changes(database))
        assert database.get_faces(ids) == {}

    def test_a_gallery_whose_last_face_went_keeps_its_model(self, database: ImageDatabase) -> None:
        database.delete_faces(database.add_faces([new_face()], MODEL))
        assert database.gallery_model() == MODEL
        with pytest.raises(ModelMismatch):
            database.add_faces([new_face()], "another model")

    def test_each_person_has_one_number(self, database: ImageDatabase) -> None:
        names = ["Ana", "Bo", "Ana", "ana", "Ana ", "Aná", "", "Bo"]
        database.add_faces([new_face(person_name=name) for name in names[:3]], MODEL)
        database.add_faces([new_face(person_name=name) for name in names[3:]], MODEL)
        numbers = [change.person for change in all_changes(database)]
        assert sorted(set(numbers)) == [0, 1, 2, 3, 4, 5]
        assert numbers[names.index("")] == 0
        assert len(set(zip(names, numbers, strict=True))) == 6

    def test_a_person_keeps_the_number_as_long_as_one_face_is_left(self, database: ImageDatabase) -> None:
        ids = database.add_faces([new_face(person_name=name) for name in ("Ana", "Ana", "Bo")], MODEL)
        before = [change.person for change in all_changes(database)]
        database.delete_faces(ids[:1])
        database.add_faces([new_face(person_name="Ana")], MODEL)
        assert all_changes(database, 4)[0].person == before[0]

    def test_the_number_of_a_person_who_is_gone_is_not_given_again(self, database: ImageDatabase) -> None:
        ids = database.add_faces([new_face(person_name=name) for name in ("Ana", "Bo")], MODEL)
        before = {change.person for change in all_changes(database)}
        database.delete_faces(ids)
        database.add_faces([new_face(person_name="Bo")], MODEL)
        assert all_changes(database, 4)[0].person not in before

    def test_threads_that_add_the_same_new_persons_agree_on_their_numbers(
        self, database: ImageDatabase
    ) -> None:
        def add(order: int) -> None:
            names = [f"Person {n}" for n in range(20)][::order]
            for name in names:
                database.add_faces([new_face(person_name=name), new_face(person_name=f"{name} too")], MODEL)

        with ThreadPoolExecutor(4) as threads:
            list(threads.map(add, [1, -1, 1, -1]))
        changes = all_changes(database)
        stored = database.get_faces([change.face_id for change in changes])
        pairs = {(stored[change.face_id].person_name, change.person) for change in changes}
        assert len(pairs) == 40
        assert sorted(person for _, person in pairs) == list(range(1, 41))

    def test_threads_add_and_remove_without_losing_a_number(self, database: ImageDatabase) -> None:
        def work(worker: int) -> set[int]:
            left: list[int] = []
            for n in range(8):
                left += database.add_faces([new_face(person_name=f"Person {n % 3}")] * 3, MODEL)
                assert database.delete_faces([left[0], left[1]]) == left[:2]
                del left[:2]
            return set(left)

        with ThreadPoolExecutor(4) as threads:
            left = set.union(*threads.map(work, range(4)))
        changes = all_changes(database)
        numbers = [change.number for change in changes]
        assert numbers == sorted(set(numbers))
        assert numbers[-1] == database.newest_change() == 4 * 8 * 5
        assert {c.face_id for c in changes if c.embedding is not None} == left
        assert sum(c.embedding is None for c in changes) == 4 * 8 * 2

    def test_of_threads_that_remove_the_same_faces_one_does(self, database: ImageDatabase) -> None:
        ids = database.add_faces([new_face()] * 30, MODEL)
        with ThreadPoolExecutor(4) as threads:
            removed = list(threads.map(database.delete_faces, [ids, ids[::-1], ids[10:], ids[:20]]))
        assert sorted(i for part in removed for i in part) == ids
        assert database.newest_change() == 60
        assert [c.number for c in all_changes(database)] == list(range(31, 61))

    def test_it_can_be_pinged(self, database: ImageDatabase) -> None:
        database.ping()
