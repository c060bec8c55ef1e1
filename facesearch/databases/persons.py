"""Whose faces they are: persons as faces bring them along and take them away with them."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from sqlalchemy import bindparam, select, update

from facesearch.databases.history import CollectionHistory
from facesearch.databases.statements import known_ids, parts
from facesearch.databases.tables import FACES, PERSONS, STATE
from facesearch.errors import PersonNotFound
from facesearch.records import NewFace


class Whose(NamedTuple):
    """A face's person; number 0 and no name where it has none."""

    number: int
    name: str


NOBODY = Whose(0, "")


class FacePersons(CollectionHistory):
    """The persons of a collection's faces; lifetime and threads as for CollectionHistory."""

    def persons_of(self, faces: Sequence[NewFace]) -> list[Whose | None]:
        """Return whose these faces are to be, None where a name is nobody's yet.

        Raises:
            PersonNotFound: a `person_id` is none of the collection's.
        """
        by_number = self._named(known_ids([face.person_id for face in faces if face.person_id is not None]))
        by_name = self._numbered([face.person_name for face in faces if face.person_id is None])
        found: list[Whose | None] = []
        for face in faces:
            if face.person_id is not None:
                if face.person_id not in by_number:
                    raise PersonNotFound.of(face.person_id)
                found.append(Whose(face.person_id, by_number[face.person_id]))
            elif not face.person_name:
                found.append(NOBODY)
            else:
                number = by_name.get(face.person_name)
                found.append(None if number is None else Whose(number, face.person_name))
        return found

    def make_persons(self, faces: Sequence[NewFace]) -> list[Whose]:
        """Return whose these faces are to be, and make those there are not; needs the counter's lock.

        Raises:
            PersonNotFound: as `persons_of`.
        """
        found = self.persons_of(faces)
        names = [face.person_name for face, whose in zip(faces, found, strict=True) if whose is None]
        new = self.new_persons(list(dict.fromkeys(names)), kept=False) if names else {}
        return [
            whose or Whose(new[face.person_name], face.person_name)
            for face, whose in zip(faces, found, strict=True)
        ]

    def new_persons(self, names: Sequence[str], *, kept: bool) -> dict[str, int]:
        """Make a person of each name, of which there is none, and return their numbers.

        Needs the counter's lock.
        """
        newest = int(self._state("newest_person"))
        numbers = {name: number for number, name in enumerate(names, newest + 1)}
        now = datetime.now(UTC).replace(tzinfo=None)
        rows = [
            {
                "number": number,
                "collection_number": self._collection,
                "name": name.encode(),
                "kept": int(kept),
                "created_at": now,
            }
            for name, number in numbers.items()
        ]
        self.insert(PERSONS, rows)
        self.update(STATE, {"newest_person": newest + len(names)}, {"id": 1})
        return numbers

    def hand_over(self, face_ids: Sequence[int], whose: Whose) -> None:
        """Let faces be somebody's, or nobody's, and tell that of them.

        Needs the locks of removals and of the counter.

        Args:
            face_ids: ascending, all of this collection.
        """
        if not face_ids:
            return
        face = self._table(FACES, ["id", "person_number", "person_name"])
        # One by one, as faces are deleted: given a list of most of them, MariaDB walks the whole table.
        one = update(face).where(face.c.id == bindparam("face"))
        one = one.values(person_number=whose.number, person_name=whose.name)
        with self._connection(writes=True) as connection:
            connection.execute(one, [{"face": face_id} for face_id in face_ids])
        self.tell_again(face_ids)

    def part_from(self, numbers: Sequence[int], gone_faces: Sequence[int]) -> None:
        """Let faces that are gone stand for nobody, and remove who has no face left and is not kept.

        Needs the locks of removals and of the counter.

        Args:
            numbers: of the persons who had the faces.
        """
        face = self._table(FACES, ["person_number", "collection_number"])
        gone = set(gone_faces)
        for part in parts(sorted(set(numbers) - {NOBODY.number})):
            known = self.select(PERSONS, ["number", "kept", "cover_face"], {"number": part})
            for row in known:
                if row["cover_face"] in gone:
                    self.update(PERSONS, {"cover_face": None}, {"number": row["number"]})
            left = (
                select(face.c.person_number)
                .where(face.c.collection_number == self._collection, face.c.person_number.in_(part))
                .distinct()
            )
            with self._connection(writes=True) as connection:
                busy = set(connection.execute(left).scalars())
            idle = [row["number"] for row in known if not row["kept"] and row["number"] not in busy]
            self.delete(PERSONS, {"number": idle})

    def _named(self, numbers: Sequence[int]) -> dict[int, str]:
        mine = {"collection_number": self._collection}
        return {
            row["number"]: row["name"].decode()
            for part in parts(numbers)
            for row in self.select(PERSONS, ["number", "name"], {"number": part, **mine})
        }

    def _numbered(self, names: Sequence[str]) -> dict[str, int]:
        wanted = sorted({name.encode() for name in names if name})
        mine = {"collection_number": self._collection}
        return {
            row["name"].decode(): row["number"]
            for part in parts(wanted)
            for row in self.select(PERSONS, ["number", "name"], {"name": part, **mine})
        }
