"""What every PersonStore does. A subclass brings the fixture `collections`, in a fresh database."""

from collections.abc import Callable, Iterator
from functools import partial

import pytest

from facesearch.errors import (
    CollectionNotFound,
    FaceNotFound,
    InvalidParameter,
    NameTaken,
    PersonNotFound,
)
from facesearch.interfaces import CollectionStore, ImageDatabase, PersonStore
from facesearch.records import FaceQuery, Person
from tests.contracts.new_faces import MODEL, all_changes, new_face
from tests.contracts.person_races import PersonRacesContract

ODD_IDS = [0, -1, 999, 2**63 - 1, 2**63, 2**80, -(2**80)]
NAMES = ["Zoë", "Zoe\u0308", "zoë", "王小明", "\N{GRINNING FACE}" * 255, " a", "a ", "a\x00", "'; --", "%"]


def add(database: ImageDatabase, *names: str) -> list[int]:
    """Store a face for each name; return their ids."""
    return database.add_faces([new_face(person_name=name) for name in names], MODEL)


def known(people: PersonStore, name: str) -> Person:
    person = people.named(name)
    assert person is not None
    return person


def persons_of_faces(database: ImageDatabase) -> dict[int, int]:
    """Whose each face is, as the history tells it, which also has to agree with the rows."""
    changes = all_changes(database)
    assert [change.number for change in changes] == sorted({change.number for change in changes})
    told = {change.face_id: change.person for change in changes if change.embedding is not None}
    stored = database.get_faces(list(told))
    assert {face_id: face.person_id or 0 for face_id, face in stored.items()} == told
    assert len(told) == sum(change.embedding is not None for change in changes), "one entry a face"
    return told


class PersonStoreContract(PersonRacesContract):
    @pytest.fixture
    def collections(self) -> Iterator[CollectionStore]:
        raise NotImplementedError

    @pytest.fixture
    def database(self, collections: CollectionStore) -> ImageDatabase:
        return collections.faces(1)

    @pytest.fixture
    def people(self, collections: CollectionStore) -> PersonStore:
        return collections.people(1)

    def test_a_person_may_be_without_faces(self, people: PersonStore) -> None:
        added = people.add("Ada Lovelace")
        assert (added.name, added.faces, added.cover_face) == ("Ada Lovelace", 0, None)
        assert added.created_at is not None
        assert people.get(added.id) == people.named("Ada Lovelace") == added

    def test_names_are_told_apart_character_by_character(self, people: PersonStore) -> None:
        added = [people.add(name) for name in NAMES]
        assert [person.name for person in added] == NAMES
        assert [people.named(name) for name in NAMES] == added
        assert people.people(100).items == tuple(added)
        for name in NAMES:
            with pytest.raises(NameTaken):
                people.add(name)

    @pytest.mark.parametrize("name", ["", " ", "\t\n", "x" * 256, "\ud83d", "\N{GRINNING FACE}" * 256])
    def test_what_cannot_be_a_name_is_refused(
        self, people: PersonStore, database: ImageDatabase, name: str
    ) -> None:
        [face_id] = add(database, "Ada")
        ada = known(people, "Ada")
        for call in (partial(people.add, name), partial(people.rename, ada.id, name)):
            with pytest.raises(InvalidParameter):
                call()
        assert people.named(name) is None
        assert people.people(9).items == (ada,)
        assert ada.cover_face == face_id

    def test_an_unknown_person_is_not_found(self, people: PersonStore, database: ImageDatabase) -> None:
        [face_id] = add(database, "Ada")
        ada = known(people, "Ada")
        for unknown in ODD_IDS:
            calls: list[Callable[[], object]] = [
                partial(people.get, unknown),
                partial(people.rename, unknown, "B"),
                partial(people.set_cover, unknown, face_id),
                partial(people.set_cover, unknown, None),
                partial(people.merge, unknown, [ada.id]),
                partial(people.merge, ada.id, [unknown]),
                partial(people.assign, [face_id], unknown),
                partial(people.assign, [], unknown),
                partial(people.remove, unknown),
            ]
            for call in calls:
                with pytest.raises(PersonNotFound):
                    call()
        assert people.named("B") is None
        assert people.people(9).items == (ada,)
        assert database.newest_change() == 1

    def test_people_come_with_faces_and_go_with_the_last_one(
        self, people: PersonStore, database: ImageDatabase
    ) -> None:
        first, second, third = add(database, "Ada", "Ada", "Bob")
        ada, bob = known(people, "Ada"), known(people, "Bob")
        assert (ada.faces, ada.cover_face, bob.faces, bob.cover_face) == (2, first, 1, third)
        assert database.get_faces([first])[first].person_id == ada.id
        database.delete_faces([first, third])
        assert (known(people, "Ada").faces, known(people, "Ada").cover_face) == (1, second)
        assert people.named("Bob") is None
        database.delete_faces([second])
        assert people.people(9).items == ()
        assert add(database, "Ada")
        assert known(people, "Ada").id > bob.id

    def test_who_was_added_or_renamed_stays_without_faces(
        self, people: PersonStore, database: ImageDatabase
    ) -> None:
        kept = people.add("Ada")
        ids = add(database, "Ada", "Bob", "Carl", "Dora")
        renamed = people.rename(known(people, "Bob").id, "Robert")
        same = people.rename(known(people, "Dora").id, "Dora")
        assert known(people, "Ada").id == kept.id
        database.delete_faces(ids)
        assert [person.id for person in people.people(9).items] == [kept.id, renamed.id, same.id]
        assert people.get(renamed.id).name == "Robert"

    def test_people_are_listed_in_pages(self, people: PersonStore, database: ImageDatabase) -> None:
        add(database, "", "Bob", "Ada", "Bob")
        added = people.add("Carl")
        pages, after = [], None
        while True:
            page = people.people(2, after)
            pages.append([(person.name, person.faces) for person in page.items])
            if (after := page.next) is None:
                break
        assert pages == [[("Bob", 2), ("Ada", 1)], [("Carl", 0)]]
        assert people.people(3).next is None
        assert people.people(9, added.id).items == people.people(9, 2**70).items == ()
        for limit in (0, -1, 10_001):
            with pytest.raises(InvalidParameter):
                people.people(limit)

    def test_a_person_gets_another_name(self, people: PersonStore, database: ImageDatabase) -> None:
        first, other, second = add(database, "Ada", "Bob", "Ada")
        ada = known(people, "Ada")
        before = database.newest_change()
        renamed = people.rename(ada.id, "Ada King 😀")
        assert renamed == Person(ada.id, "Ada King 😀", 2, first, ada.created_at)
        assert people.named("Ada") is None
        stored = database.get_faces([first, other, second])
        assert [face.person_name for face in stored.values()] == ["Ada King 😀", "Bob", "Ada King 😀"]
        assert database.changed_faces(before).tolist() == [first, second]
        assert set(persons_of_faces(database)) == {first, other, second}
        people.rename(ada.id, "Ada King 😀")
        assert database.newest_change() == before + 2
        assert add(database, "Ada")
        assert known(people, "Ada").id != ada.id

    def test_a_name_that_somebody_has_is_not_given(
        self, people: PersonStore, database: ImageDatabase
    ) -> None:
        add(database, "Ada")
        bob = people.add("Bob")
        with pytest.raises(NameTaken):
            people.rename(bob.id, "Ada")
        with pytest.raises(NameTaken):
            people.rename(known(people, "Ada").id, "Bob")
        assert people.get(bob.id) == bob
        assert database.newest_change() == 1

    def test_a_face_is_chosen_to_stand_for_its_person(
        self, people: PersonStore, database: ImageDatabase
    ) -> None:
        first, second, others = add(database, "Ada", "Ada", "Bob")
        ada = known(people, "Ada").id
        assert people.set_cover(ada, second).cover_face == second
        assert people.get(ada).cover_face == people.people(1).items[0].cover_face == second
        for wrong in (others, 999, *ODD_IDS):
            with pytest.raises(FaceNotFound):
                people.set_cover(ada, wrong)
        assert people.get(ada).cover_face == second
        assert people.set_cover(ada, None).cover_face == first
        people.set_cover(ada, second)
        people.assign([second], None)
        assert people.get(ada).cover_face == first
        people.assign([second], ada)
        people.set_cover(ada, second)
        database.delete_faces([second])
        assert people.get(ada).cover_face == first

    def test_faces_are_said_to_be_somebodys(self, people: PersonStore, database: ImageDatabase) -> None:
        ids = add(database, "Ada", "", "Bob", "Ada")
        ada, bob = known(people, "Ada").id, known(people, "Bob").id
        before = database.newest_change()
        assert people.assign([ids[2], ids[1], ids[1], 999, *ODD_IDS], ada) == [ids[1], ids[2]]
        assert persons_of_faces(database) == dict.fromkeys(ids, ada)
        assert {face.person_name for face in database.get_faces(ids).values()} == {"Ada"}
        assert database.changed_faces(before).tolist() == [ids[1], ids[2]]
        with pytest.raises(PersonNotFound):
            people.get(bob)
        assert people.get(ada).faces == 4
        assert database.face_ids(FaceQuery(frozenset([ada]))).tolist() == ids
        before = database.newest_change()
        assert people.assign(ids[:2], ada) == ids[:2]
        assert people.assign([], ada) == []
        assert database.newest_change() == before

    def test_faces_are_said_to_be_nobodys(self, people: PersonStore, database: ImageDatabase) -> None:
        first, second = add(database, "Ada", "Ada")
        ada = known(people, "Ada").id
        assert people.assign([first, 999], None) == [first]
        assert persons_of_faces(database) == {first: 0, second: ada}
        face = database.get_faces([first])[first]
        assert (face.person_id, face.person_name) == (None, "")
        assert database.face_ids(FaceQuery(frozenset([0]))).tolist() == [first]
        people.assign([second], None)
        assert people.people(9).items == ()
        kept = people.add("Bob").id
        people.assign([first, second], kept)
        people.assign([first, second], None)
        assert people.get(kept).faces == 0

    def test_too_many_faces_are_refused(self, people: PersonStore) -> None:
        with pytest.raises(InvalidParameter):
            people.assign(range(1, 10_002), None)

    def test_people_are_merged(self, people: PersonStore, database: ImageDatabase) -> None:
        ids = add(database, "Ada", "A. L.", "Bob", "Countess", "A. L.")
        into, bob = known(people, "A. L."), known(people, "Bob")
        others = [known(people, "Countess").id, known(people, "Ada").id]
        before = database.newest_change()
        merged = people.merge(into.id, [*others, others[0]])
        assert merged == Person(into.id, "A. L.", 4, ids[0], into.created_at)
        assert persons_of_faces(database) == {**dict.fromkeys(ids, into.id), ids[2]: bob.id}
        assert {face.person_name for face in database.get_faces(ids).values()} == {"A. L.", "Bob"}
        assert database.changed_faces(before).tolist() == [ids[0], ids[3]]
        assert people.people(9).items == tuple(sorted((merged, bob), key=lambda person: person.id))
        for other in others:
            with pytest.raises(PersonNotFound):
                people.get(other)
        assert people.merge(into.id, []) == merged
        database.delete_faces(ids)
        assert people.people(9).items == ()

    def test_who_is_merged_with_somebody_kept_is_kept(
        self, people: PersonStore, database: ImageDatabase
    ) -> None:
        [face_id] = add(database, "Ada")
        kept = people.add("A. L.")
        ada = people.merge(known(people, "Ada").id, [kept.id])
        database.delete_faces([face_id])
        assert people.people(9).items == (people.get(ada.id),)

    def test_of_a_merger_that_is_refused_nothing_is_done(
        self, people: PersonStore, database: ImageDatabase
    ) -> None:
        add(database, "Ada", "Bob")
        ada, bob = known(people, "Ada").id, known(people, "Bob").id
        for others, error in (
            ([bob, 999], PersonNotFound),
            ([bob, ada], InvalidParameter),
            ([bob, *range(1_000, 2_000)], InvalidParameter),
        ):
            with pytest.raises(error):
                people.merge(ada, others)
        assert [person.faces for person in people.people(9).items] == [1, 1]
        assert database.newest_change() == 2

    def test_a_person_is_removed_and_the_faces_stay(
        self, people: PersonStore, database: ImageDatabase
    ) -> None:
        ids = add(database, "Ada", "Bob", "Ada")
        bob = known(people, "Bob")
        people.remove(known(people, "Ada").id)
        assert persons_of_faces(database) == {ids[0]: 0, ids[1]: bob.id, ids[2]: 0}
        assert people.people(9).items == (bob,)
        kept = people.add("Carl").id
        people.remove(kept)
        with pytest.raises(PersonNotFound):
            people.remove(kept)

    def test_many_faces_change_hands_at_once(self, people: PersonStore, database: ImageDatabase) -> None:
        ids = database.add_faces([new_face(person_name=f"Person {n % 3}") for n in range(2_500)], MODEL)
        first, second, third = (known(people, f"Person {n}") for n in range(3))
        people.rename(second.id, "B")
        assert people.assign(ids[:1_200], third.id) == ids[:1_200]
        assert people.merge(first.id, [second.id, third.id]).faces == 2_500
        assert persons_of_faces(database) == dict.fromkeys(ids, first.id)

    def test_collections_have_people_of_their_own(self, collections: CollectionStore) -> None:
        other = collections.add("other")
        faces, people = collections.faces(other.number), collections.people(other.number)
        add(collections.faces(1), "Ada")
        own = known(collections.people(1), "Ada")
        assert people.people(9).items == ()
        [face_id] = add(faces, "Ada")
        ada = known(people, "Ada")
        assert ada.id != own.id
        calls: list[Callable[[], object]] = [
            partial(people.get, own.id),
            partial(people.rename, own.id, "B"),
            partial(people.merge, ada.id, [own.id]),
            partial(people.assign, [face_id], own.id),
            partial(people.remove, own.id),
        ]
        for call in calls:
            with pytest.raises(PersonNotFound):
                call()
        assert people.assign([1], None) == []
        with pytest.raises(FaceNotFound):
            collections.people(1).set_cover(own.id, face_id)
        before = faces.newest_change()
        collections.people(1).rename(own.id, "B")
        assert faces.newest_change() == before
        people.rename(ada.id, "B")
        assert collections.people(1).get(own.id).name == "B"
        assert persons_of_faces(faces) == {face_id: ada.id}

    def test_a_collection_that_is_gone_has_no_people(self, collections: CollectionStore) -> None:
        number = collections.add("other").number
        people = collections.people(number)
        ada = people.add("Ada")
        collections.delete("other")
        calls: list[Callable[[], object]] = [
            partial(people.add, "Bob"),
            partial(people.get, ada.id),
            partial(people.named, "Ada"),
            partial(people.people, 9),
            partial(people.rename, ada.id, "B"),
            partial(people.set_cover, ada.id, None),
            partial(people.merge, ada.id, []),
            partial(people.assign, [1], None),
            partial(people.remove, ada.id),
        ]
        for call in calls:
            with pytest.raises(CollectionNotFound):
                call()

    def test_a_change_of_people_takes_part_in_a_transaction(
        self, people: PersonStore, database: ImageDatabase
    ) -> None:
        [face_id] = add(database, "Ada")
        ada = known(people, "Ada")

        def fail_at_last() -> None:
            with database.transaction():
                bob = people.add("Bob")
                people.assign([face_id], bob.id)
                people.rename(bob.id, "Robert")
                assert people.get(bob.id).faces == 1
                people.get(ada.id)

        with pytest.raises(PersonNotFound):
            fail_at_last()
        assert people.people(9).items == (ada,)
        assert persons_of_faces(database) == {face_id: ada.id}
