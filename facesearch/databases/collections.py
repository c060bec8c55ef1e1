"""The collections, in the database of the faces: written once, over the five verbs."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import func, select

from facesearch.databases.faces import SQLImageDatabase
from facesearch.databases.names import collection_name
from facesearch.databases.pages import page_of, rows_to_ask
from facesearch.databases.people import SQLPersonStore
from facesearch.databases.tables import (
    CHANGES,
    COLLECTIONS,
    CROPS,
    FACES,
    METADATA,
    MODEL_ID_WIDTH,
    MODELS,
    NEXT_VECTORS,
    PERSONS,
)
from facesearch.errors import CollectionNotFound, Conflict, InvalidParameter, ModelMismatch, NameTaken
from facesearch.interfaces import CollectionStore, ImageDatabase, PersonStore
from facesearch.records import DEFAULT_NUMBER, Collection, Page

ROWS_A_BATCH = 1_000

_COLUMNS = ["number", "name", "model_id", "next_model_id", "created_at"]


class SQLCollectionStore(CollectionStore):
    """Collections in the database of the faces.

    Lives as long as that database, whose connections and transactions it shares; any thread may call it.
    """

    def __init__(self, database: SQLImageDatabase) -> None:
        self._database = database

    def add(self, name: str, model_id: str | None = None, dimension: int | None = None) -> Collection:
        """Make a collection.

        Raises:
            InvalidParameter: the name or the model's id cannot be one.
            NameTaken: there is one of this name.
            ModelMismatch: the model's vectors have another dimension.
        """
        row = {
            "name": collection_name(name).encode(),
            "model_id": model_id,
            "newest_change": 0,
            "created_at": datetime.now(UTC).replace(tzinfo=None),
        }
        if model_id is not None and not 1 <= len(model_id) <= MODEL_ID_WIDTH:
            raise InvalidParameter(f"A model's id has 1 to {MODEL_ID_WIDTH} characters.")
        with self._database.transaction():
            # Of two who make one of the same name the second sees the first's.
            self._database.lock_counter()
            if self._database.select(COLLECTIONS, ["number"], {"name": row["name"]}):
                raise NameTaken("There is a collection of this name.")
            if model_id is not None and dimension is not None:
                self._know(model_id, dimension)
            self._database.insert(COLLECTIONS, [row])
            return self.get(name)

    def get(self, name: str) -> Collection:
        return _collection_of(self._row(name))

    def counted(self, name: str) -> Collection:
        return self._counted([self._row(name)])[0]

    def collections(self, limit: int, after: int | None = None) -> Page[Collection]:
        """Return collections with their counts, by rising number, of those above `after`.

        Raises:
            InvalidParameter: the limit is not from 1 to 10,000.
        """
        asked = rows_to_ask(limit)
        self._database.ready()
        there = {"deleted_at": None, "number >": after or 0}
        rows = self._database.select(COLLECTIONS, _COLUMNS, there, "number", asked)
        return page_of(self._counted(rows[:limit]), [row["number"] for row in rows], limit)

    def numbers(self) -> dict[int, str | None]:
        self._database.ready()
        rows = self._database.select(COLLECTIONS, ["number", "model_id"], {"deleted_at": None}, "number")
        return {row["number"]: row["model_id"] for row in rows}

    def faces(self, number: int) -> ImageDatabase:
        return self._database.of_collection(number)

    def people(self, number: int) -> PersonStore:
        return SQLPersonStore(self._database.of_collection(number))

    def delete(self, name: str) -> int:
        """Let a collection be gone for everybody at once, and its name be free; return its number.

        Whoever is adding, removing or editing faces at that time has done so before, or fails.

        Raises:
            CollectionNotFound: there is none.
            Conflict: it is the default one.
        """
        with self._database.transaction():
            self._database.lock_removals()
            self._database.lock_counter()
            number: int = self._row(name)["number"]
            if number == DEFAULT_NUMBER:
                raise Conflict("The default collection cannot be deleted.")
            now = datetime.now(UTC).replace(tzinfo=None)
            # No collection may be called so.
            gone = {"name": f"/{number}".encode(), "deleted_at": now, "next_model_id": None}
            self._database.update(COLLECTIONS, gone, {"number": number})
        return number

    def deleted(self) -> list[int]:
        self._database.ready()
        rows = self._database.select(COLLECTIONS, ["number", "deleted_at"], order_by="number")
        return [row["number"] for row in rows if row["deleted_at"] is not None]

    def purge(self, number: int) -> None:
        """Remove all that a collection that is gone held, 1,000 rows at a time, and at last its own row.

        May be broken off and repeated, also by several at a time. Of one that is there, or was purged,
        nothing is removed.
        """
        if number not in self.deleted():
            return
        while self._purge_faces(number):
            pass
        for table, key in ((CHANGES, "change_number"), (PERSONS, "number")):
            while self._purge_rows(table, key, number):
                pass
        self._database.delete(COLLECTIONS, {"number": number})

    def _purge_faces(self, number: int) -> bool:
        """Remove some faces with what belongs to them; whether there were any."""
        mine = {"collection_number": number}
        with self._database.transaction():
            # Two at the same faces would wait for each other.
            self._database.lock_removals()
            rows = self._database.select(FACES, ["id"], mine, "id", ROWS_A_BATCH)
            ids = [row["id"] for row in rows]
            if not ids:
                return False
            # Between two ends, so that a server goes by the face's id and not by the collection.
            span = {"face_id >=": ids[0], "face_id <=": ids[-1]}
            self._database.delete(METADATA, span | mine)
            self._database.delete(NEXT_VECTORS, span | mine)
            self._database.delete(CROPS, {"face_id": ids})
            self._database.delete(FACES, {"id >=": ids[0], "id <=": ids[-1]} | mine)
        return True

    def _purge_rows(self, table: str, key: str, number: int) -> bool:
        mine = {"collection_number": number}
        with self._database.transaction():
            self._database.lock_removals()
            rows = self._database.select(table, [key], mine, limit=ROWS_A_BATCH)
            if rows:
                self._database.delete(table, {key: [row[key] for row in rows]})
        return bool(rows)

    def _know(self, model_id: str, dimension: int) -> None:
        known = self._database.select(MODELS, ["dimension"], {"model_id": model_id})
        if not known:
            self._database.insert(MODELS, [{"model_id": model_id, "dimension": dimension}])
        elif known[0]["dimension"] != dimension:
            raise ModelMismatch(f"The model's vectors have {known[0]['dimension']} dimensions.")

    def _row(self, name: str) -> dict[str, Any]:
        self._database.ready()
        there = {"name": name.encode(errors="surrogatepass"), "deleted_at": None}
        rows = self._database.select(COLLECTIONS, _COLUMNS, there)
        if not rows:
            raise CollectionNotFound
        return rows[0]

    def _counted(self, rows: Sequence[Mapping[str, Any]]) -> list[Collection]:
        numbers = [row["number"] for row in rows]
        faces, people = self._count(FACES, numbers), self._count(PERSONS, numbers)
        return [
            _collection_of(row, faces.get(row["number"], 0), people.get(row["number"], 0)) for row in rows
        ]

    def _count(self, table: str, numbers: Sequence[int]) -> dict[int, int]:
        rows = self._database._table(table, ["collection_number"])
        number = rows.c.collection_number
        query = select(number, func.count()).where(number.in_(numbers)).group_by(number)
        with self._database._connection(writes=False) as connection:
            return {row[0]: row[1] for row in connection.execute(query)}


def _collection_of(row: Mapping[str, Any], faces: int = 0, people: int = 0) -> Collection:
    return Collection(
        number=row["number"],
        name=row["name"].decode(),
        model_id=row["model_id"],
        created_at=row["created_at"].replace(tzinfo=UTC),
        next_model_id=row["next_model_id"],
        faces=faces,
        people=people,
    )
