"""How faces are found by what is known of them, edited, and read back with their vectors and crops.

A subclass brings the fixture `database`.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from facesearch.errors import FaceNotFound, InvalidParameter, PersonNotFound
from facesearch.interfaces import ImageDatabase
from facesearch.records import EVERY_FACE, Condition, Crop, FaceEdit, FaceQuery, Metadata
from tests.contracts.new_faces import MODEL, all_changes, new_face

LONG = "x" * 255
PEOPLE: list[Metadata] = [
    {"site": "Paris", "age": 30, "badge": True},
    {"site": "Paris", "age": "31.5", "z": ""},
    {"site": "paris", "age": 40.0, "badge": False},
    {"site": "Zoë 😀", "age": -1e3},
    {"age": "old", "site": "Par"},
    {},
    {"site": LONG},
    {"site": LONG + "y"},
    {"n": 2**53 + 1, "age": True},
    {"n": 2**53, "age": "30"},
    {"'\"\\%s": "a", "": "nameless"},
]
# What is asked of a name, and which of PEOPLE satisfy it.
CASES: list[tuple[list[tuple[str, str, tuple[Any, ...]]], list[int]]] = [
    ([("site", "in", ("Paris",))], [0, 1]),
    ([("site", "in", ("Paris", "paris", "none"))], [0, 1, 2]),
    ([("site", "in", ("Zoë 😀",))], [3]),
    ([("site", "in", ("Paris ",))], []),
    ([("site", "in", ())], []),
    ([("site", "in", (LONG,))], [6]),
    ([("site", "in", (LONG + "y",))], []),
    ([("age", "in", (30,))], [0, 9]),
    ([("age", "in", ("30",))], [0, 9]),
    ([("age", "in", (30.0, "old"))], [0, 4, 9]),
    ([("age", "in", (True,))], [8]),
    ([("badge", "in", (True,))], [0]),
    ([("badge", "in", (1,))], []),
    ([("n", "in", (2**53,))], [9]),
    ([("n", "in", (2**53 + 1,))], [8]),
    ([("z", "in", ("",))], [1]),
    ([("", "in", ("nameless",))], [10]),
    ([("'\"\\%s", "in", ("a",))], [10]),
    ([("age", "gte", (30,))], [0, 1, 2, 9]),
    ([("age", "gt", (30,))], [1, 2]),
    ([("age", "lte", (31.5,))], [0, 1, 3, 9]),
    ([("age", "lt", (31.5,))], [0, 3, 9]),
    ([("age", "gte", (30,)), ("age", "lt", (40,))], [0, 1, 9]),
    ([("site", "gte", ("Paris",)), ("site", "lt", ("paris",))], [0, 1, 3]),
    ([("site", "gt", ("Zoë 😀",))], [2, 6, 7]),
    ([("site", "lte", ("Par",))], [4]),
    ([("badge", "exists", ())], [0, 2]),
    ([("badge", "missing", ())], [1, 3, 4, 5, 6, 7, 8, 9, 10]),
    ([("badge", "missing", ()), ("badge", "exists", ())], []),
    ([("badge", "missing", ()), ("age", "exists", ())], [1, 3, 4, 8, 9]),
    ([("badge", "missing", ()), ("site", "missing", ())], [5, 8, 9, 10]),
    ([("site", "in", ("Paris", "paris")), ("age", "gt", (30,)), ("badge", "exists", ())], [2]),
    ([("unknown", "exists", ())], []),
    ([("unknown", "missing", ())], list(range(11))),
]
WRONG = [
    Condition("a", "like", ("b",)),
    Condition("a", "gt", ()),
    Condition("a", "gt", (1, 2)),
    Condition("a", "lt", (True,)),
    Condition("a", "exists", (True,)),
    Condition("a", "in", (float("nan"),)),
    Condition("a", "in", (2**64,)),
    Condition("a", "in", ("\ud800",)),
    Condition("\ud800", "exists"),
    Condition("a", "in", ("b",) * 1_001),
]


def where(*conditions: tuple[str, str, tuple[Any, ...]]) -> FaceQuery:
    return FaceQuery(conditions=tuple(Condition(*one) for one in conditions))


class FaceSelectionContract:
    @pytest.fixture
    def database(self) -> Iterator[ImageDatabase]:
        raise NotImplementedError

    def test_it_is_the_view_of_the_default_collection(self, database: ImageDatabase) -> None:
        assert database.collection == 1

    def test_faces_are_found_by_their_metadata(self, database: ImageDatabase) -> None:
        ids = database.add_faces([new_face(metadata=metadata) for metadata in PEOPLE], MODEL)
        for conditions, wanted in CASES:
            query = where(*conditions)
            found = database.face_ids(query)
            assert found.dtype == np.int64
            assert [ids.index(i) for i in found.tolist()] == wanted, conditions
            page = database.faces(query, 100)
            assert ([ids.index(face.id) for face in page.items], page.next) == (wanted, None), conditions

    def test_metadata_comes_back_as_it_was(self, database: ImageDatabase) -> None:
        ids = database.add_faces([new_face(metadata=metadata) for metadata in PEOPLE], MODEL)
        stored = database.get_faces(ids)
        found = [dict(stored[i].metadata) for i in ids]
        assert found == PEOPLE
        types = [[type(value) for value in one.values()] for one in found]
        assert types == [[type(value) for value in one.values()] for one in PEOPLE]

    @pytest.mark.parametrize(
        "metadata",
        [
            {"x" * 256: "a"},
            {"\ud800": "a"},
            {"a": float("inf")},
            {"a": 2**63},
            {"a": None},
            {"a": ["b"]},
        ],
    )
    def test_metadata_that_cannot_be_stored_is_refused(self, database: ImageDatabase, metadata: Any) -> None:
        with pytest.raises(InvalidParameter):
            database.add_faces([new_face(), new_face(metadata=metadata)], MODEL)
        [face_id] = database.add_faces([new_face()], MODEL)
        with pytest.raises(InvalidParameter):
            database.edit_face(face_id, FaceEdit(frozenset(["metadata"]), metadata=metadata))
        assert database.newest_change() == 1

    @pytest.mark.parametrize("condition", WRONG, ids=lambda one: f"{one.name!a} {one.operator}")
    def test_a_condition_that_cannot_be_asked_for_is_refused(
        self, database: ImageDatabase, condition: Condition
    ) -> None:
        query = FaceQuery(conditions=(condition,))
        with pytest.raises(InvalidParameter):
            database.face_ids(query)
        with pytest.raises(InvalidParameter):
            database.faces(query, 1)

    def test_a_filter_has_few_conditions(self, database: ImageDatabase) -> None:
        conditions = tuple(Condition(f"name {n}", "exists") for n in range(21))
        database.face_ids(FaceQuery(conditions=conditions[:20]))
        with pytest.raises(InvalidParameter):
            database.face_ids(FaceQuery(conditions=conditions))

    def test_faces_are_found_by_person_and_external_id(self, database: ImageDatabase) -> None:
        names = ["Ana", "Bo", "", "Ana"]
        faces = [
            new_face(person_name=name, external_id=f"{n % 2}", metadata={"n": n})
            for n, name in enumerate(names)
        ]
        ids = database.add_faces(faces, MODEL)
        stored = database.get_faces(ids)
        ana, bo = stored[ids[0]].person_id, stored[ids[1]].person_id
        assert ana is not None
        assert bo is not None
        assert (stored[ids[2]].person_id, stored[ids[3]].person_id) == (None, ana)
        late = where(("n", "gte", (1,))).conditions
        for query, wanted in [
            (EVERY_FACE, [0, 1, 2, 3]),
            (FaceQuery(people=frozenset([ana])), [0, 3]),
            (FaceQuery(people=frozenset([0])), [2]),
            (FaceQuery(people=frozenset([ana, bo, 10**6])), [0, 1, 3]),
            (FaceQuery(people=frozenset()), []),
            (FaceQuery(people=frozenset([-1, 2**63, 2**200])), []),
            (FaceQuery(external_id="1"), [1, 3]),
            (FaceQuery(external_id=""), []),
            (FaceQuery(frozenset([ana]), "1"), [3]),
            (FaceQuery(frozenset([ana, bo]), None, late), [1, 3]),
            (FaceQuery(None, "0", late), [2]),
            (FaceQuery(frozenset([bo]), "1", late), [1]),
        ]:
            assert database.face_ids(query).tolist() == [ids[n] for n in wanted], query
            assert [face.id for face in database.faces(query, 10).items] == [ids[n] for n in wanted]

    def test_faces_come_in_pages(self, database: ImageDatabase) -> None:
        ids = database.add_faces([new_face(metadata={"n": n % 2}) for n in range(25)], MODEL)
        first = database.faces(EVERY_FACE, 10)
        assert [face.id for face in first.items] == ids[:10]
        assert first.items[0] == database.get_faces(ids)[ids[0]]
        second = database.faces(EVERY_FACE, 10, first.next)
        third = database.faces(EVERY_FACE, 5, second.next)
        assert [face.id for face in (*second.items, *third.items)] == ids[10:]
        assert third.next is None
        odd = where(("n", "in", (1,)))
        page = database.faces(odd, 7)
        assert [face.id for face in page.items] == ids[1:15:2]
        rest = database.faces(odd, 7, page.next)
        assert ([face.id for face in rest.items], rest.next) == (ids[15::2], None)
        for after in (2**63 - 1, 2**63, 2**200):
            assert database.faces(EVERY_FACE, 10, after).items == ()
        assert len(database.faces(EVERY_FACE, 100, -(2**70)).items) == 25
        with pytest.raises(InvalidParameter):
            database.faces(EVERY_FACE, 0)

    def test_what_changed_since_a_number_is_told(self, database: ImageDatabase) -> None:
        metadata = {"site": "Paris"}
        ids = database.add_faces([new_face(metadata=metadata) for _ in range(4)], MODEL)
        assert database.changed_faces(0).tolist() == ids
        assert database.changed_faces(2).tolist() == ids[2:]
        at = database.newest_change()
        database.delete_faces([ids[1]])
        database.edit_face(ids[0], FaceEdit(frozenset(["metadata"]), metadata={"site": "Rome"}))
        database.edit_face(ids[2], FaceEdit(frozenset(["external_id"]), "7"))
        more = database.add_faces([new_face(metadata=metadata), new_face()], MODEL)
        changed = database.changed_faces(at)
        assert changed.dtype == np.int64
        assert changed.tolist() == [*ids[:3], *more]
        assert database.changed_faces(database.newest_change()).tolist() == []
        paris, rome = where(("site", "in", ("Paris",))), where(("site", "in", ("Rome",)))
        assert database.face_ids(paris).tolist() == [*ids[2:], more[0]]
        assert database.face_ids(paris, at).tolist() == [ids[2], more[0]]
        assert database.face_ids(rome, at).tolist() == [ids[0]]
        assert database.face_ids(FaceQuery(external_id="7"), at).tolist() == [ids[2]]
        assert database.face_ids(paris, database.newest_change()).tolist() == []

    def test_a_face_is_edited_and_that_is_a_change(self, database: ImageDatabase) -> None:
        before = new_face(external_id="1", metadata={"a": "b", "n": 1})
        ids = database.add_faces([before, before], MODEL)
        first = database.get_faces(ids)[ids[0]]
        both = FaceEdit(frozenset(["external_id", "metadata"]), "2", {"n": 2})
        edited = database.edit_face(ids[0], both)
        assert edited == replace(first, external_id="2", metadata={"n": 2})
        assert database.get_faces(ids)[ids[0]] == edited
        assert [(c.number, c.face_id) for c in all_changes(database)] == [(2, ids[1]), (3, ids[0])]
        [change] = all_changes(database, 2)
        assert change.embedding is not None
        assert np.array_equal(change.embedding, before.face.embedding)
        assert change.person == first.person_id
        assert database.face_ids(where(("a", "exists", ()))).tolist() == ids[1:]
        emptied = database.edit_face(ids[0], FaceEdit(frozenset(["external_id", "metadata"])))
        assert (emptied.external_id, emptied.metadata) == (None, {})
        only = database.edit_face(ids[1], FaceEdit(frozenset(["external_id"]), "3", {"not": "meant"}))
        assert (only.external_id, only.metadata) == ("3", before.metadata)

    def test_an_edit_that_cannot_be_made_changes_nothing(self, database: ImageDatabase) -> None:
        [face_id] = database.add_faces([new_face(external_id="1")], MODEL)
        for unknown in (0, -1, face_id + 1, 2**63, 2**200):
            with pytest.raises(FaceNotFound):
                database.edit_face(unknown, FaceEdit(frozenset(["external_id"]), "2"))
        for edit in (
            FaceEdit(frozenset(["external_id"]), "x" * 256),
            FaceEdit(frozenset(["external_id"]), "\ud800"),
            FaceEdit(frozenset(["metadata"]), metadata={"a": "x" * 17_000}),
            FaceEdit(frozenset(["person_name"])),
        ):
            with pytest.raises(InvalidParameter):
                database.edit_face(face_id, edit)
        assert database.edit_face(face_id, FaceEdit(frozenset())).external_id == "1"
        assert database.newest_change() == 1

    def test_embeddings_are_read_by_id(self, database: ImageDatabase) -> None:
        ids = database.add_faces([new_face([n, 0.5]) for n in range(3)], MODEL)
        found = database.embeddings([ids[2], ids[0], ids[2] + 1, 0, -1, 2**200])
        assert sorted(found) == [ids[0], ids[2]]
        assert all(one.dtype == np.float32 for one in found.values())
        assert found[ids[2]].tolist() == [2, 0.5]
        assert database.embeddings([]) == {}

    def test_a_crop_is_kept_as_it_came_and_goes_with_its_face(self, database: ImageDatabase) -> None:
        crop = Crop("image/webp", bytes(range(256)) * 300)
        face = replace(new_face().face, crop=crop)
        ids = database.add_faces([new_face(), new_face(face=face)], MODEL)
        assert [database.crop(i) for i in ids] == [None, crop]
        assert [database.crop(i) for i in (0, -1, 2**63, 2**200, ids[1] + 1)] == [None] * 5
        database.delete_faces(ids)
        assert database.crop(ids[1]) is None

    def test_faces_of_a_person_that_there_is_are_added(self, database: ImageDatabase) -> None:
        [first] = database.add_faces([new_face(person_name="Ana")], MODEL)
        ana = database.get_faces([first])[first].person_id
        more = database.add_faces(
            [new_face(person_name="another name", person_id=ana), new_face(person_name="Bo")], MODEL
        )
        stored = database.get_faces(more)
        assert (stored[more[0]].person_id, stored[more[0]].person_name) == (ana, "Ana")
        assert stored[more[1]].person_id not in (None, ana)
        assert [c.person for c in all_changes(database)][:2] == [ana, ana]
        for unknown in (0, -1, 10**6, 2**62, 2**63, 2**200):
            with pytest.raises(PersonNotFound):
                database.add_faces([new_face(), new_face(person_id=unknown)], MODEL)
        assert database.newest_change() == 3
        database.delete_faces([first, more[0]])
        with pytest.raises(PersonNotFound):
            database.add_faces([new_face(person_id=ana)], MODEL)

    def test_photos_are_told_by_their_faces(self, database: ImageDatabase) -> None:
        first, second = bytes(range(32)), b"\xff" * 32
        faces = [
            new_face(photo_sha256=first, photo_bytes=12_345),
            new_face(photo_sha256=second),
            new_face(photo_sha256=first, photo_bytes=12_345),
            new_face(),
        ]
        ids = database.add_faces(faces, MODEL)
        assert database.photos_of_faces([*ids, 0, 2**200]) == {first: 12_345, second: None}
        assert database.photos_of_faces(ids[1:2]) == {second: None}
        assert database.photos_of_faces(ids[3:]) == {}
        database.delete_faces(ids)
        assert database.photos_of_faces(ids) == {}

    def test_threads_that_add_edit_and_remove_leave_nothing_half_done(self, database: ImageDatabase) -> None:
        def work(worker: int) -> set[int]:
            left: set[int] = set()
            for n in range(10):
                new = new_face(person_name=f"Person {n % 2}", metadata={"n": n})
                kept, edited, removed = database.add_faces([new] * 3, MODEL)
                database.edit_face(edited, FaceEdit(frozenset(["metadata"]), metadata={"worker": worker}))
                assert database.delete_faces([removed]) == [removed]
                left |= {kept, edited}
            return left

        with ThreadPoolExecutor(4) as threads:
            left = set.union(*threads.map(work, range(4)))
        changes = [change for change in all_changes(database) if change.embedding is not None]
        stored = database.get_faces([change.face_id for change in changes])
        assert stored.keys() == left == set(database.face_ids(EVERY_FACE).tolist())
        assert database.newest_change() == 4 * 10 * 5
        assert len({change.number for change in changes}) == len(changes)
        assert all(stored[change.face_id].person_id == change.person for change in changes)
        assert len({(face.person_name, face.person_id) for face in stored.values()}) == 2
        for name in ("n", "worker"):
            having = {face.id for face in stored.values() if name in face.metadata}
            assert set(database.face_ids(where((name, "exists", ()))).tolist()) == having
            assert len(having) == 40

    def test_an_edit_and_a_removal_of_the_same_face_come_one_after_the_other(
        self, database: ImageDatabase
    ) -> None:
        ids = database.add_faces([new_face(metadata={"a": "b"}) for _ in range(20)], MODEL)

        def edit(face_id: int) -> bool:
            try:
                database.edit_face(face_id, FaceEdit(frozenset(["metadata"]), metadata={"c": "d"}))
            except FaceNotFound:
                return False
            return True

        with ThreadPoolExecutor(4) as threads:
            edits = [threads.submit(edit, face_id) for face_id in ids]
            removals = [threads.submit(database.delete_faces, [face_id]) for face_id in reversed(ids)]
            edited = sum(one.result(60) for one in edits)
            assert sorted(i for one in removals for i in one.result(60)) == ids
        assert database.newest_change() == 20 + edited + 20
        for name in ("a", "c"):
            assert database.face_ids(where((name, "exists", ()))).tolist() == []
        assert [(c.face_id, c.embedding) for c in sorted(all_changes(database), key=lambda c: c.face_id)] == [
            (face_id, None) for face_id in ids
        ]
