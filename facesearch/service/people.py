"""The people of one collection, by its name."""

from collections.abc import Callable, Sequence

from facesearch.errors import InvalidParameter
from facesearch.interfaces import People, PersonStore
from facesearch.records import Once, Page, Person, PersonEdit
from facesearch.service.erasure import Erasure
from facesearch.service.first_answers import FirstAnswers
from facesearch.service.galleries import Galleries
from facesearch.service.intake.names import given_name, shown_name

_NAME, _COVER = "name", "cover_face"


class StoredPeople(People):
    """Lives as long as its user likes; holds no more than the collection's name. Any thread may call it."""

    def __init__(self, name: str, galleries: Galleries, answers: FirstAnswers, erasure: Erasure) -> None:
        self._name = name
        self._galleries = galleries
        self._answers = answers
        self._erasure = erasure

    def add(self, name: str, once: Once | None = None) -> Person:
        """See People."""
        given = given_name(name)
        return self._written(once, lambda people: people.add(given))

    def page(self, limit: int, after: int | None = None) -> Page[Person]:
        """See People."""
        return self._store().people(limit, after)

    def named(self, name: str) -> Person | None:
        """See People."""
        return self._store().named(shown_name(name))

    def get(self, person_id: int) -> Person:
        """See People."""
        return self._store().get(person_id)

    def edit(self, person_id: int, edit: PersonEdit) -> Person:
        """See People."""
        if not edit.fields <= {_NAME, _COVER}:
            raise InvalidParameter(f"Of a person, {_NAME} and {_COVER} can be changed.")
        name = given_name(edit.name) if _NAME in edit.fields else None
        number = self._number()
        people = self._galleries.people(number)
        with self._galleries.database(number).transaction():
            if name is not None:
                people.rename(person_id, name)
            if _COVER in edit.fields:
                people.set_cover(person_id, edit.cover_face)
            return people.get(person_id)

    def merge(self, person_id: int, others: Sequence[int], once: Once | None = None) -> Person:
        """See People."""

        def work(people: PersonStore) -> Person:
            merged = people.merge(person_id, others)
            self._answers.forget_people(others)
            return merged

        return self._written(once, work)

    def assign(self, face_ids: Sequence[int], person_id: int | None, once: Once | None = None) -> list[int]:
        """See People."""
        if (first := self._answers.find(once)) is not None:
            return list(first["assigned"])
        number = self._number()
        people = self._galleries.people(number)
        person = [] if person_id is None else [f"person:{person_id}"]
        return self._answers.write(
            once,
            lambda: people.assign(face_ids, person_id),
            lambda assigned: {"assigned": assigned},
            lambda first: list(first["assigned"]),
            about=lambda assigned: [f"collection:{number}", *person, *(f"face:{i}" for i in assigned)],
        )

    def delete(self, person_id: int, *, with_faces: bool) -> list[int]:
        """See People."""
        return self._erasure.delete_person(self._name, person_id, with_faces=with_faces)

    def _written(self, once: Once | None, work: Callable[[PersonStore], Person]) -> Person:
        number = self._number()
        people = self._galleries.people(number)
        if (first := self._answers.find(once)) is not None:
            return people.get(first["person"])
        return self._answers.write(
            once,
            lambda: work(people),
            lambda person: {"person": person.id},
            lambda first: people.get(first["person"]),
            about=lambda person: [f"collection:{number}", f"person:{person.id}"],
        )

    def _store(self) -> PersonStore:
        return self._galleries.people(self._number())

    def _number(self) -> int:
        return self._galleries.find(self._name).number
