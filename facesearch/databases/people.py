"""The people of a collection, in the database of the faces: written once, over the five verbs."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC
from typing import Any

from sqlalchemy import func, select

from facesearch.databases.faces import MAX_FACES_A_CALL, SQLImageDatabase
from facesearch.databases.names import person_name
from facesearch.databases.pages import page_of, rows_to_ask
from facesearch.databases.persons import NOBODY, Whose
from facesearch.databases.statements import MAX_ID, is_unicode, known_ids, parts
from facesearch.databases.tables import FACES, PERSONS
from facesearch.errors import FaceNotFound, InvalidParameter, NameTaken, PersonNotFound
from facesearch.interfaces import PersonStore
from facesearch.records import Page, Person

MAX_MERGED = 1_000

_COLUMNS = ["number", "name", "kept", "cover_face", "created_at"]


class SQLPersonStore(PersonStore):
    """The people of the collection that a view of the faces shows.

    Lives as long as that view's database, whose connections and transactions it shares; any thread may call
    it. Whoever changes people or whose faces they are holds the locks of removals and of the counter, and
    then goes by the faces' ids alone: a server would wait for faces that others are adding, who wait for
    the counter, if it were to look for a person's.
    """

    def __init__(self, database: SQLImageDatabase) -> None:
        self._database = database

    def add(self, name: str) -> Person:
        person_name(name)
        with self._changing():
            self._check_free(name)
            number = self._database.new_persons([name], kept=True)[name]
            return self.get(number)

    def get(self, person_id: int) -> Person:
        self._database.be_there()
        return self._told([self._row(person_id)])[0]

    def named(self, name: str) -> Person | None:
        self._database.be_there()
        return next(iter(self._told(self._of_name(name))), None)

    def people(self, limit: int, after: int | None = None) -> Page[Person]:
        """Return people by rising id, of those above `after`.

        Raises:
            InvalidParameter: the limit is not from 1 to 10,000.
        """
        asked = rows_to_ask(limit)
        self._database.be_there()
        above = {**self._mine, "number >": max(0, min(after or 0, MAX_ID))}
        rows = self._database.select(PERSONS, _COLUMNS, above, "number", asked)
        return page_of(self._told(rows[:limit]), [row["number"] for row in rows], limit)

    def rename(self, person_id: int, name: str) -> Person:
        person_name(name)
        with self._changing():
            row = self._row(person_id)
            if row["name"] != name.encode():
                self._check_free(name)
            self._database.update(PERSONS, {"name": name.encode(), "kept": 1}, {"number": person_id})
            if row["name"] != name.encode():
                self._database.hand_over(self._faces_of(person_id), Whose(person_id, name))
            return self.get(person_id)

    def set_cover(self, person_id: int, face_id: int | None) -> Person:
        with self._changing():
            self._row(person_id)
            if face_id is not None and person_id not in self._persons_by_face([face_id]).values():
                raise FaceNotFound(f"Face {face_id} is none of person {person_id}'s.")
            self._database.update(PERSONS, {"cover_face": face_id}, {"number": person_id})
            return self.get(person_id)

    def merge(self, person_id: int, others: Sequence[int]) -> Person:
        """Give a person all faces of others, who are gone then, in one transaction.

        The person stays without faces from then on if any of them would have.

        Args:
            others: at most 1,000.

        Raises:
            PersonNotFound: one is none; nothing was changed.
            InvalidParameter: a person cannot be merged with itself, or there are too many.
        """
        if person_id in others:
            raise InvalidParameter("A person cannot be merged with itself.")
        if len(set(others)) > MAX_MERGED:
            raise InvalidParameter(f"At most {MAX_MERGED} persons are merged with one at a time.")
        with self._changing():
            row = self._row(person_id)
            gone = [self._row(other) for other in sorted(set(others))]
            moving = [face_id for one in gone for face_id in self._faces_of(one["number"])]
            self._database.hand_over(sorted(moving), Whose(person_id, row["name"].decode()))
            self._database.delete(PERSONS, {"number": [one["number"] for one in gone]})
            kept = max(one["kept"] for one in (row, *gone))
            self._database.update(PERSONS, {"kept": kept}, {"number": person_id})
            return self.get(person_id)

    def assign(self, face_ids: Sequence[int], person_id: int | None) -> list[int]:
        """Say whose faces these are, nobody's with None; return the ids of those that there are, in order.

        Args:
            face_ids: at most 10,000.

        Raises:
            PersonNotFound
            InvalidParameter: there are too many.
        """
        if len(wanted := known_ids(face_ids)) > MAX_FACES_A_CALL:
            raise InvalidParameter(f"At most {MAX_FACES_A_CALL} faces are assigned in one transaction.")
        with self._changing():
            whose = NOBODY
            if person_id is not None:
                whose = Whose(person_id, self._row(person_id)["name"].decode())
            before = self._persons_by_face(wanted)
            moving = [face_id for face_id, number in before.items() if number != whose.number]
            self._database.hand_over(moving, whose)
            self._database.part_from([before[face_id] for face_id in moving], moving)
            return list(before)

    def remove(self, person_id: int) -> None:
        with self._changing():
            self._row(person_id)
            self._database.hand_over(self._faces_of(person_id), NOBODY)
            self._database.delete(PERSONS, {"number": person_id})

    @property
    def _mine(self) -> dict[str, int]:
        return {"collection_number": self._database.collection}

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """A transaction beside which nobody else changes faces or people; part of one that is open."""
        with self._database.transaction():
            self._database.lock_removals()
            self._database.lock_counter()
            self._database.be_there()
            yield

    def _row(self, person_id: int) -> dict[str, Any]:
        if 0 < person_id <= MAX_ID:
            for row in self._database.select(PERSONS, _COLUMNS, {"number": person_id, **self._mine}):
                return row
        raise PersonNotFound.of(person_id)

    def _of_name(self, name: str) -> list[dict[str, Any]]:
        if not is_unicode(name):
            return []
        return self._database.select(PERSONS, _COLUMNS, {"name": name.encode(), **self._mine})

    def _check_free(self, name: str) -> None:
        if self._of_name(name):
            raise NameTaken("There is another person of this name.")

    def _faces_of(self, person_id: int) -> list[int]:
        """The ids of a person's faces, ascending."""
        of_it = {"person_number": person_id, **self._mine}
        return sorted(row["id"] for row in self._database.select(FACES, ["id"], of_it))

    def _persons_by_face(self, face_ids: Sequence[int]) -> dict[int, int]:
        """The number of each face's person, of those faces that there are, by ascending id."""
        columns = ["id", "person_number"]
        return {
            row["id"]: row["person_number"]
            for part in parts(known_ids(face_ids))
            for row in self._database.select(FACES, columns, {"id": part, **self._mine}, "id")
        }

    def _told(self, rows: Sequence[Mapping[str, Any]]) -> list[Person]:
        """Return persons with how many faces they have, and the first of those."""
        face = self._database._table(FACES, ["id", "person_number", "collection_number"])
        person = face.c.person_number
        query = (
            select(person, func.count(), func.min(face.c.id))
            .where(face.c.collection_number == self._database.collection)
            .group_by(person)
        )
        counted: dict[int, tuple[int, int | None]] = {}
        for part in parts([row["number"] for row in rows]):
            with self._database._connection(writes=False) as connection:
                found = connection.execute(query.where(person.in_(part)))
                counted.update((number, (faces, first)) for number, faces, first in found)
        return [_person_of(row, *counted.get(row["number"], (0, None))) for row in rows]


def _person_of(row: Mapping[str, Any], faces: int, first: int | None) -> Person:
    made = row["created_at"]
    return Person(
        id=row["number"],
        name=row["name"].decode(),
        faces=faces,
        cover_face=first if row["cover_face"] is None else row["cover_face"],
        created_at=None if made is None else made.replace(tzinfo=UTC),
    )
