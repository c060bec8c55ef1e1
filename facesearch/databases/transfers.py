"""Copies of collections on any SQL database: how they are read as of one moment, and taken in."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facesearch.databases.faces import SQLImageDatabase
from facesearch.databases.names import person_name
from facesearch.databases.rows import FACE_COLUMNS, embedding_of, face_of
from facesearch.databases.statements import parts
from facesearch.databases.tables import CROPS, FACES, PERSONS, STATE
from facesearch.errors import Conflict, InvalidParameter, NameTaken
from facesearch.interfaces import TransferStore
from facesearch.records import CopiedFace, CopiedPerson, Crop

ROWS_A_BATCH = 1_000
CROPS_A_BATCH = 100
MAX_PEOPLE_A_CALL = 10_000

_COPIED_COLUMNS = [*FACE_COLUMNS, "photo_sha256", "photo_bytes"]
_PERSON_COLUMNS = ["number", "name", "kept", "cover_face", "created_at"]


class SQLTransferStore(TransferStore):
    """Copies of collections, in the database of the faces.

    Lives as long as that database, whose connections and transactions it shares; any thread may call it.
    """

    def __init__(self, database: SQLImageDatabase) -> None:
        self._database = database

    def one_moment(self) -> AbstractContextManager[None]:
        self._database.ready()
        return self._database.one_moment()

    def people(self, collection: int) -> Iterator[CopiedPerson]:
        for row in self._rows(PERSONS, _PERSON_COLUMNS, "number", collection):
            created_at = row["created_at"] and row["created_at"].replace(tzinfo=UTC)
            yield CopiedPerson(
                row["number"], row["name"].decode(), bool(row["kept"]), row["cover_face"], created_at
            )

    def faces(self, collection: int) -> Iterator[CopiedFace]:
        for row in self._rows(FACES, _COPIED_COLUMNS, "id", collection):
            digest = row["photo_sha256"]
            yield CopiedFace(face_of(row), digest and bytes(digest), row["photo_bytes"])

    def vectors(self, collection: int) -> Iterator[NDArray[np.float32]]:
        some = []
        for row in self._rows(FACES, ["id", "dimension", "vector"], "id", collection):
            some.append(embedding_of(row))
            if len(some) == ROWS_A_BATCH or some[-1].shape != some[0].shape:
                yield _stacked(some)
                some = []
        if some:
            yield _stacked(some)

    def crops(self, collection: int) -> Iterator[tuple[int, Crop]]:
        ids = (row["id"] for row in self._rows(FACES, ["id"], "id", collection))
        while some := list(islice(ids, CROPS_A_BATCH)):
            columns = ["face_id", "media_type", "data"]
            for row in self._database.select(CROPS, columns, {"face_id": some}, "face_id"):
                yield row["face_id"], Crop(row["media_type"], bytes(row["data"]))

    def add_people(self, collection: int, people: Sequence[CopiedPerson]) -> list[int]:
        """Make people like those elsewhere, without faces, in one transaction; return their new ids in order.

        Args:
            people: at most 10,000.
        """
        if len(people) > MAX_PEOPLE_A_CALL:
            raise InvalidParameter(f"At most {MAX_PEOPLE_A_CALL} people are added in one transaction.")
        names = [person_name(person.name) for person in people]
        if len(set(names)) < len(names):
            raise NameTaken("Two people of one name cannot be added.")
        database, mine = self._database, {"collection_number": collection}
        if not names:
            return []
        with database.transaction():
            database.lock_counter()
            database.of_collection(collection).be_there()
            for part in parts([name.encode() for name in names]):
                if database.select(PERSONS, ["number"], {"name": part, **mine}, limit=1):
                    raise NameTaken
            [state] = database.select(STATE, ["newest_person"], {"id": 1})
            first = int(state["newest_person"]) + 1
            database.insert(
                PERSONS,
                [
                    {
                        "number": number,
                        "name": person.name.encode(),
                        "kept": int(person.kept),
                        "created_at": person.created_at
                        and person.created_at.astimezone(UTC).replace(tzinfo=None),
                        **mine,
                    }
                    for number, person in enumerate(people, first)
                ],
            )
            database.update(STATE, {"newest_person": first + len(people) - 1}, {"id": 1})
        return list(range(first, first + len(people)))

    def set_covers(self, collection: int, covers: Mapping[int, int]) -> None:
        database, mine = self._database, {"collection_number": collection}
        for people in parts(sorted(covers)):
            with database.transaction():
                # A face that stands for somebody may be removed, and its person is told then.
                database.lock_removals()
                wanted = {covers[person]: person for person in people}
                rows = database.select(FACES, ["id", "person_number"], {"id": list(wanted), **mine})
                for row in rows:
                    if wanted[row["id"]] == row["person_number"]:
                        database.update(
                            PERSONS, {"cover_face": row["id"]}, {"number": row["person_number"], **mine}
                        )

    def _rows(
        self, table: str, columns: Sequence[str], key: str, collection: int
    ) -> Iterator[dict[str, Any]]:
        """Yield a collection's rows by their rising key."""
        self._database.of_collection(collection).be_there()
        last, mine = 0, {"collection_number": collection}
        while True:
            rows = self._database.select(table, columns, {f"{key} >": last, **mine}, key, ROWS_A_BATCH)
            yield from rows
            if len(rows) < ROWS_A_BATCH:
                return
            last = rows[-1][key]


def _stacked(vectors: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    if any(vector.shape != vectors[0].shape for vector in vectors):
        raise Conflict("The collection holds vectors of different lengths.")
    return np.stack(vectors)
