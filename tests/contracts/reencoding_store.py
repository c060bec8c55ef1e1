"""What every ReencodingStore does. A subclass brings `database`, `collections` and `store`."""

from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from facesearch.errors import CollectionNotFound, Conflict, InvalidParameter, ModelMismatch
from facesearch.interfaces import CollectionStore, ImageDatabase, ReencodingStore
from facesearch.records import Box, Embedding, ReencodingProgress, UnreencodedFace
from tests.contracts.new_faces import MODEL, all_changes, new_face

NEXT = "model-b"


def vectors(ids: Sequence[int], first: float = 0.0) -> dict[int, Embedding]:
    """Vectors of the next model, which have two numbers."""
    return {face_id: np.array([first, face_id], np.float32) for face_id in ids}


def add(database: ImageDatabase, count: int = 3) -> list[int]:
    faces = [
        new_face((n, 1, 2), person_name=f"P{n % 2}", photo_sha256=bytes([n % 256] * 32)) for n in range(count)
    ]
    return database.add_faces(faces, MODEL)


class ReencodingStoreContract:
    @pytest.fixture
    def database(self) -> Iterator[ImageDatabase]:
        raise NotImplementedError

    @pytest.fixture
    def collections(self, database: ImageDatabase) -> CollectionStore:
        raise NotImplementedError

    @pytest.fixture
    def store(self, database: ImageDatabase) -> ReencodingStore:
        raise NotImplementedError

    def test_a_next_model_is_named_once(
        self, database: ImageDatabase, collections: CollectionStore, store: ReencodingStore
    ) -> None:
        with pytest.raises(Conflict):
            store.begin(1, NEXT, 2)
        add(database)
        assert store.progress(1) == ReencodingProgress(MODEL, None, 3, 0)
        store.begin(1, NEXT, 2)
        store.begin(1, NEXT, 2)
        assert store.progress(1) == ReencodingProgress(MODEL, NEXT, 3, 0)
        assert collections.get("default").next_model_id == NEXT
        with pytest.raises(Conflict):
            store.begin(1, "model-c", 2)
        with pytest.raises(ModelMismatch):
            store.begin(1, NEXT, 3)
        with pytest.raises(CollectionNotFound):
            store.begin(99, NEXT, 2)

    def test_it_is_another_model(self, database: ImageDatabase, store: ReencodingStore) -> None:
        add(database)
        with pytest.raises(Conflict):
            store.begin(1, MODEL, 3)
        for model_id, dimension in (("", 2), ("x" * 65, 2), (NEXT, 0), (NEXT, 1025)):
            with pytest.raises(InvalidParameter):
                store.begin(1, model_id, dimension)
        assert store.progress(1).next_model_id is None

    def test_faces_wait_until_they_have_a_vector(
        self, database: ImageDatabase, store: ReencodingStore
    ) -> None:
        ids = add(database, 4)
        store.begin(1, NEXT, 2)
        waiting = store.missing(1, 2)
        assert waiting == [
            UnreencodedFace(i, "Ada_Lovelace_0001.jpg", Box(10, 60, 70, -5), bytes([n] * 32))
            for n, i in enumerate(ids[:2])
        ]
        assert [face.id for face in store.missing(1, 10, ids[1])] == ids[2:]
        assert store.put(1, NEXT, vectors([ids[0], ids[2], 2**40, -1])) == {ids[0], ids[2]}
        assert [face.id for face in store.missing(1, 10)] == [ids[1], ids[3]]
        assert store.progress(1) == ReencodingProgress(MODEL, NEXT, 4, 2)
        by_photo = store.missing_of_photos(1, [bytes([n] * 32) for n in (0, 1, 9)] + [b"short"])
        assert by_photo == {bytes([1] * 32): store.missing(1, 1)}

    def test_a_vector_may_be_stored_again(self, database: ImageDatabase, store: ReencodingStore) -> None:
        ids = add(database)
        store.begin(1, NEXT, 2)
        store.put(1, NEXT, vectors(ids))
        store.put(1, NEXT, vectors(ids[:1], 5.0))
        [pairs] = store.pairs(1)
        assert pairs.face_ids.tolist() == ids
        assert pairs.next.tolist() == [[5, ids[0]], [0, ids[1]], [0, ids[2]]]
        assert pairs.now.tolist() == [[n, 1, 2] for n in range(3)]
        assert len(set(pairs.persons.tolist())) == 2
        assert [one.face_ids.tolist() for one in store.pairs(1, [ids[2], 2**40])] == [[ids[2]]]

    def test_pairs_come_some_at_a_time(self, database: ImageDatabase, store: ReencodingStore) -> None:
        ids = add(database, 2_100)
        store.begin(1, NEXT, 2)
        store.put(1, NEXT, vectors(ids[:-1]))
        parts = list(store.pairs(1))
        assert len(parts) > 1
        assert np.concatenate([part.face_ids for part in parts]).tolist() == ids[:-1]

    def test_only_vectors_of_the_next_model_are_stored(
        self, database: ImageDatabase, store: ReencodingStore
    ) -> None:
        ids = add(database)
        with pytest.raises(Conflict):
            store.put(1, NEXT, vectors(ids))
        store.begin(1, NEXT, 2)
        with pytest.raises(Conflict):
            store.put(1, "model-c", vectors(ids))
        with pytest.raises(ModelMismatch):
            store.put(1, NEXT, {ids[0]: np.zeros(3, np.float32)})
        with pytest.raises(InvalidParameter):
            store.put(1, NEXT, {ids[0]: np.array([np.nan, 1], np.float32)})
        assert store.progress(1).reencoded == 0

    def test_another_collection_is_left_alone(
        self, database: ImageDatabase, collections: CollectionStore, store: ReencodingStore
    ) -> None:
        mine, other = add(database), collections.add("other").number
        theirs = add(collections.faces(other))
        store.begin(1, NEXT, 2)
        assert store.put(1, NEXT, vectors(mine + theirs)) == set(mine)
        assert store.progress(other) == ReencodingProgress(MODEL, None, 3, 0)
        before = all_changes(collections.faces(other))
        store.switch(1)
        assert database.gallery_model() == NEXT
        assert collections.faces(other).gallery_model() == MODEL
        assert [one.number for one in all_changes(collections.faces(other))] == [one.number for one in before]
        assert collections.faces(other).embeddings(theirs)[theirs[0]].tolist() == [0, 1, 2]

    def test_a_removed_face_takes_its_next_vector_along(
        self, database: ImageDatabase, store: ReencodingStore
    ) -> None:
        ids = add(database)
        store.begin(1, NEXT, 2)
        store.put(1, NEXT, vectors(ids))
        database.delete_faces(ids[:1])
        assert store.progress(1) == ReencodingProgress(MODEL, NEXT, 2, 2)
        assert store.put(1, NEXT, vectors(ids[:1])) == frozenset()

    def test_a_switch_changes_every_face(self, database: ImageDatabase, store: ReencodingStore) -> None:
        ids = add(database)
        store.begin(1, NEXT, 2)
        store.put(1, NEXT, vectors(ids))
        before, persons = database.newest_change(), {one.face_id: one.person for one in all_changes(database)}
        assert store.switch(1) == []
        assert database.gallery_model() == NEXT
        assert store.progress(1) == ReencodingProgress(NEXT, None, 3, 0)
        changes = all_changes(database, 0, NEXT)
        assert [one.face_id for one in changes] == ids
        assert [one.number for one in changes] == [before + 1, before + 2, before + 3]
        assert [one.embedding.tolist() for one in changes if one.embedding is not None] == [
            [0, i] for i in ids
        ]
        assert {one.face_id: one.person for one in changes} == persons
        assert database.newest_change() == before + 3
        assert all_changes(database) == []
        stored = database.get_faces(ids)[ids[0]]
        assert (stored.model_id, stored.dimension) == (NEXT, 2)
        with pytest.raises(ModelMismatch):
            add(database)
        database.add_faces([new_face((1, 2))], NEXT)

    def test_a_switch_is_refused_while_faces_lack_a_vector(
        self, database: ImageDatabase, store: ReencodingStore
    ) -> None:
        ids = add(database)
        with pytest.raises(Conflict):
            store.switch(1)
        store.begin(1, NEXT, 2)
        store.put(1, NEXT, vectors(ids[:2]))
        before = database.newest_change()
        with pytest.raises(Conflict, match="1 of 3"):
            store.switch(1)
        assert (database.gallery_model(), database.newest_change()) == (MODEL, before)
        assert store.switch(1, drop_missing=True) == ids[2:]
        assert sorted(database.get_faces(ids)) == ids[:2]
        assert database.gallery_model() == NEXT

    def test_a_switch_does_not_drop_everybody(self, database: ImageDatabase, store: ReencodingStore) -> None:
        ids = add(database)
        store.begin(1, NEXT, 2)
        with pytest.raises(Conflict):
            store.switch(1, drop_missing=True)
        assert sorted(database.get_faces(ids)) == ids

    def test_a_switch_that_fails_changes_nothing(
        self, database: ImageDatabase, store: ReencodingStore
    ) -> None:
        ids = add(database)
        store.begin(1, NEXT, 2)
        store.put(1, NEXT, vectors(ids))
        before = all_changes(database)

        def fail() -> None:
            with database.transaction():
                store.switch(1)
                raise Conflict

        with pytest.raises(Conflict):
            fail()
        assert database.gallery_model() == MODEL
        assert [one.number for one in all_changes(database)] == [one.number for one in before]
        assert store.progress(1) == ReencodingProgress(MODEL, NEXT, 3, 3)

    def test_many_faces_are_switched(self, database: ImageDatabase, store: ReencodingStore) -> None:
        ids = add(database, 1_201)
        store.begin(1, NEXT, 2)
        store.put(1, NEXT, vectors(ids))
        store.switch(1)
        assert [one.face_id for one in all_changes(database, 0, NEXT)] == ids
        assert database.embeddings(ids)[ids[-1]].tolist() == [0, ids[-1]]

    def test_what_is_abandoned_is_gone(self, database: ImageDatabase, store: ReencodingStore) -> None:
        ids = add(database)
        with pytest.raises(Conflict):
            store.abandon(1)
        store.begin(1, NEXT, 2)
        store.put(1, NEXT, vectors(ids))
        store.abandon(1)
        assert store.progress(1) == ReencodingProgress(MODEL, None, 3, 0)
        with pytest.raises(Conflict):
            store.put(1, NEXT, vectors(ids))
        store.begin(1, "model-c", 4)
        assert len(store.missing(1, 10)) == 3
