"""What every PersonStore does where several write at the same time."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial
from random import Random

import pytest

from facesearch.errors import NameTaken, PersonNotFound
from facesearch.interfaces import CollectionStore, ImageDatabase, PersonStore
from facesearch.records import EVERY_FACE, FaceQuery
from tests.contracts.new_faces import MODEL, all_changes, new_face

LIMIT_S = 120


def together(*works: Callable[[], object]) -> None:
    """Run all at the same time; raise what one of them raised."""
    with ThreadPoolExecutor(len(works)) as threads:
        for done in [threads.submit(work) for work in works]:
            done.result(LIMIT_S)


def check(database: ImageDatabase, people: PersonStore) -> None:
    """See that rows, history, persons and their counts tell the same."""
    ids = database.face_ids(EVERY_FACE).tolist()
    stored = database.get_faces(ids)
    history = {c.face_id: c.person for c in all_changes(database) if c.embedding is not None}
    assert {face_id: face.person_id or 0 for face_id, face in stored.items()} == history
    everybody = people.people(10_000).items
    names = {person.id: person.name for person in everybody} | {0: ""}
    assert len(set(names.values())) == len(names)
    assert {face.person_name for face in stored.values()} <= set(names.values())
    for face in stored.values():
        assert face.person_name == names[face.person_id or 0]
    for person in everybody:
        assert person.faces == list(history.values()).count(person.id)
        assert database.face_ids(FaceQuery(frozenset([person.id]))).size == person.faces
        assert person.cover_face is None or history[person.cover_face] == person.id


class PersonRacesContract:
    @pytest.fixture
    def collections(self) -> Iterator[CollectionStore]:
        raise NotImplementedError

    def test_of_those_who_give_one_name_one_does(self, people: PersonStore, database: ImageDatabase) -> None:
        persons = [people.add(f"Person {n}").id for n in range(4)]
        given: list[int] = []

        def rename(person_id: int) -> None:
            try:
                people.rename(person_id, "Ada")
            except NameTaken:
                return
            given.append(person_id)

        def add() -> None:
            try:
                given.append(people.add("Ada").id)
            except NameTaken:
                return

        works = [partial(rename, one) for one in persons]
        together(*works, add, lambda: database.add_faces([new_face(person_name="Zoë")], MODEL))
        ada = people.named("Ada")
        assert ada is not None
        assert given == [ada.id]
        check(database, people)

    def test_who_changes_people_waits_for_faces_that_are_being_added(
        self, people: PersonStore, database: ImageDatabase
    ) -> None:
        persons = [people.add(name).id for name in ("Ada", "Bob", "Carl")]
        works: list[Callable[[], object]] = [
            partial(people.remove, persons[0]),
            partial(people.merge, persons[1], [persons[2]]),
            partial(people.rename, persons[1], "Dora"),
            partial(people.add, "Dora"),
        ]
        for work, error in zip(works, (None, None, NameTaken, NameTaken), strict=True):
            names = [person.name for person in people.people(9).items if person.name != "Dora"]
            with ThreadPoolExecutor(1) as other:
                with database.transaction():
                    database.add_faces([new_face(person_name=name) for name in [*names, "Dora"]], MODEL)
                    changing = other.submit(work)
                    wait([changing], 0.2)
                    assert not changing.done()
                assert isinstance(changing.exception(LIMIT_S), error or type(None))
            check(database, people)
        assert [person.name for person in people.people(9).items] == ["Bob", "Dora"]

    def test_faces_are_added_beside_a_person_who_is_removed_or_renamed(
        self, people: PersonStore, database: ImageDatabase
    ) -> None:
        """Those who add by name find or make one of this name; those who add by id may find nobody."""

        def add_by_name() -> None:
            for _ in range(12):
                database.add_faces([new_face(person_name="Ada"), new_face(person_name="Bob")], MODEL)

        def add_by_id() -> None:
            for _ in range(24):
                if ada := people.named("Ada"):
                    try:
                        database.add_faces([new_face(person_name="", person_id=ada.id)], MODEL)
                    except PersonNotFound:
                        continue

        def change() -> None:
            for n in range(12):
                if ada := people.named("Ada"):
                    people.remove(ada.id) if n % 3 else people.rename(ada.id, f"Ada {n}")

        together(add_by_name, add_by_name, add_by_id, change)
        assert database.face_ids(EVERY_FACE).size >= 48
        check(database, people)

    def test_faces_are_assigned_beside_those_who_merge_and_erase(
        self, people: PersonStore, database: ImageDatabase
    ) -> None:
        faces = [new_face(person_name=f"Person {n % 8}") for n in range(80)]
        ids = database.add_faces(faces, MODEL)

        def somebody(random: Random) -> int:
            everybody = people.people(100).items
            return random.choice(everybody).id if everybody else 1

        def often(work: Callable[[Random], object], seed: int) -> Callable[[], None]:
            def run() -> None:
                random = Random(seed)
                for _ in range(15):
                    try:
                        work(random)
                    except (PersonNotFound, NameTaken):
                        continue

            return run

        def assign(random: Random) -> None:
            people.assign(random.sample(ids, 20), random.choice([None, somebody(random)]))

        def merge(random: Random) -> None:
            one, other = somebody(random), somebody(random)
            if one != other:
                people.merge(one, [other])

        def erase(random: Random) -> None:
            database.delete_faces(random.sample(ids, 3))

        def add(random: Random) -> None:
            database.add_faces([new_face(person_name=f"Person {random.randrange(12)}")], MODEL)

        def remove(random: Random) -> None:
            people.set_cover(somebody(random), None)
            people.rename(somebody(random), f"Person {random.randrange(12)}")
            if random.random() < 0.3:
                people.remove(somebody(random))

        works = (assign, assign, merge, erase, add, remove)
        together(*(often(work, seed) for seed, work in enumerate(works)))
        check(database, people)

    def test_collections_change_people_side_by_side(self, collections: CollectionStore) -> None:
        numbers = [1, collections.add("other").number]

        def work(number: int) -> Callable[[], None]:
            faces, people = collections.faces(number), collections.people(number)

            def run() -> None:
                for n in range(10):
                    names = [f"Person {n}", f"Person {n + 1}"]
                    ids = faces.add_faces([new_face(person_name=name) for name in names], MODEL)
                    first, second = (people.named(name) for name in names)
                    assert first is not None
                    assert second is not None
                    people.assign(ids, second.id)
                    people.rename(second.id, f"{number} {n}")
                    faces.delete_faces(ids[:1])

            return run

        together(*map(work, numbers))
        for number in numbers:
            check(collections.faces(number), collections.people(number))
