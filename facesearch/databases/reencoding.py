"""The vectors of a second model beside those of a collection, on any SQL database."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Select, func, select, update

from facesearch.databases.faces import SQLImageDatabase
from facesearch.databases.history import Entry
from facesearch.databases.rows import vector_of
from facesearch.databases.statements import known_ids, parts
from facesearch.databases.tables import (
    COLLECTIONS,
    DIGEST_BYTES,
    FACES,
    MAX_DIMENSION,
    MODEL_ID_WIDTH,
    MODELS,
    NEXT_VECTORS,
)
from facesearch.errors import CollectionNotFound, Conflict, InvalidParameter, ModelMismatch
from facesearch.interfaces import ReencodingStore
from facesearch.records import Box, Embedding, ReencodingProgress, UnreencodedFace, VectorPairs

PAIRS_A_BATCH = 2_000
FACES_A_STATEMENT = 500
MAX_VECTORS_A_CALL = 10_000

_FACE_COLUMNS = [
    "id",
    "collection_number",
    "file_name",
    "box_top",
    "box_right",
    "box_bottom",
    "box_left",
    "photo_sha256",
]


class SQLReencodingStore(ReencodingStore):
    """Next vectors, in the database of the faces.

    Lives as long as that database, whose connections and transactions it shares; any thread may call it.
    What changes something takes the locks of removals and of the counter, in this order, so that no face is
    removed or added meanwhile.
    """

    def __init__(self, database: SQLImageDatabase) -> None:
        self._database = database

    def begin(self, collection: int, model_id: str, dimension: int) -> None:
        if not 1 <= len(model_id) <= MODEL_ID_WIDTH or not 1 <= dimension <= MAX_DIMENSION:
            raise InvalidParameter("The model's id or its dimension cannot be stored.")
        database = self._database
        with self._locked():
            row = self._row(collection)
            if row["next_model_id"] not in (None, model_id):
                raise Conflict(f"Vectors of {row['next_model_id']} are being made; abandon them first.")
            if row["model_id"] == model_id:
                raise Conflict(f"The collection's vectors are of {model_id} already.")
            if row["model_id"] is None:
                raise Conflict("The collection has no faces.")
            known = database.select(MODELS, ["dimension"], {"model_id": model_id})
            if not known:
                database.insert(MODELS, [{"model_id": model_id, "dimension": dimension}])
            elif known[0]["dimension"] != dimension:
                raise ModelMismatch(f"Vectors of {model_id} have {known[0]['dimension']} dimensions.")
            if row["next_model_id"] is None:
                if self._some_next(collection):
                    raise Conflict("What was abandoned is not removed yet; abandon it again.")
                database.update(COLLECTIONS, {"next_model_id": model_id}, {"number": collection})

    def progress(self, collection: int) -> ReencodingProgress:
        row = self._row(collection)
        face, following = self._tables()
        count = select(func.count(face.c.id)).where(face.c.collection_number == collection)
        with self._database._connection(writes=False) as connection:
            faces = connection.execute(count).scalar_one()
            reencoded = connection.execute(
                count.join_from(face, following, following.c.face_id == face.c.id)
            ).scalar_one()
        return ReencodingProgress(row["model_id"], row["next_model_id"], faces, reencoded)

    def missing(self, collection: int, limit: int, after: int = 0) -> list[UnreencodedFace]:
        self._row(collection)
        face, _ = self._tables()
        query = self._missing(collection).where(face.c.id > after).order_by(face.c.id).limit(limit)
        with self._database._connection(writes=False) as connection:
            return [_face_of(row) for row in connection.execute(query)]

    def missing_of_photos(
        self, collection: int, sha256s: Sequence[bytes]
    ) -> dict[bytes, list[UnreencodedFace]]:
        self._row(collection)
        face, _ = self._tables()
        wanted = sorted({bytes(digest) for digest in sha256s if len(digest) == DIGEST_BYTES})
        found: dict[bytes, list[UnreencodedFace]] = {}
        for part in parts(wanted):
            query = self._missing(collection).where(face.c.photo_sha256.in_(part)).order_by(face.c.id)
            with self._database._connection(writes=False) as connection:
                faces = [_face_of(row) for row in connection.execute(query)]
            for one in faces:
                if one.photo_sha256 is not None:
                    found.setdefault(one.photo_sha256, []).append(one)
        return found

    def put(self, collection: int, model_id: str, vectors: Mapping[int, Embedding]) -> frozenset[int]:
        """Store vectors of the next model; return the ids of those of these faces that there are.

        Args:
            vectors: at most 10,000, by the ids of their faces.
        """
        if len(vectors) > MAX_VECTORS_A_CALL:
            raise InvalidParameter(f"At most {MAX_VECTORS_A_CALL} vectors are stored in one transaction.")
        database = self._database
        data = {face_id: vector_of(vectors[face_id]) for face_id in known_ids(list(vectors))}
        with self._locked():
            if self._row(collection)["next_model_id"] != model_id:
                raise Conflict(f"{model_id} is not the collection's next model any more.")
            [model] = database.select(MODELS, ["dimension"], {"model_id": model_id})
            if any(len(vector) != 4 * model["dimension"] for vector in data.values()):
                raise ModelMismatch(f"Vectors of {model_id} have {model['dimension']} numbers.")
            mine = {"collection_number": collection}
            there = [
                row["id"]
                for part in parts(list(data))
                for row in database.select(FACES, ["id"], {"id": part, **mine})
            ]
            for part in parts(there):
                database.delete(NEXT_VECTORS, {"face_id": part})
            database.insert(NEXT_VECTORS, [{"face_id": i, "vector": data[i], **mine} for i in there])
        return frozenset(there)

    def pairs(self, collection: int, ids: Sequence[int] | None = None) -> Iterator[VectorPairs]:
        self._row(collection)
        face, following = self._tables()
        query = (
            select(face.c.id, face.c.person_number, face.c.vector, following.c.vector)
            .join_from(face, following, following.c.face_id == face.c.id)
            .where(face.c.collection_number == collection)
            .order_by(face.c.id)
        )
        some = self._ids(collection) if ids is None else parts(known_ids(ids))
        for part in some:
            if rows := self._all(query.where(face.c.id.in_(part))):
                yield _pairs_of(rows)

    def switch(self, collection: int, *, drop_missing: bool = False) -> list[int]:
        """Put the next model's vectors in the place of the collection's, all of them in one transaction.

        In it each face is written anew, which takes a minute or so a million; searches go on meanwhile, and
        who adds or removes faces waits, or is told that the database is busy.
        """
        with self._locked():
            row = self._row(collection)
            if (model_id := row["next_model_id"]) is None:
                raise Conflict("No vectors of a next model are being made for the collection.")
            progress = self.progress(collection)
            if not progress.reencoded:
                raise Conflict(f"No face has a vector of {model_id} yet.")
            missing = progress.faces - progress.reencoded
            if missing and not drop_missing:
                raise Conflict(
                    f"{missing} of {progress.faces} faces have no vector of {model_id}. They can be removed "
                    "with the switch, if that is wanted."
                )
            dropped = self._drop_missing(collection)
            self._take_over(collection, model_id)
            named = {"model_id": model_id, "next_model_id": None}
            self._database.update(COLLECTIONS, named, {"number": collection})
        return dropped

    def abandon(self, collection: int) -> None:
        mine = {"collection_number": collection}
        with self._locked():
            if self._row(collection)["next_model_id"] is None and not self._some_next(collection):
                raise Conflict("No vectors of a next model are being made for the collection.")
            # First, so that nobody adds to what is being removed.
            self._database.update(COLLECTIONS, {"next_model_id": None}, {"number": collection})
        while rows := self._database.select(NEXT_VECTORS, ["face_id"], mine, limit=PAIRS_A_BATCH):
            for part in parts([row["face_id"] for row in rows]):
                self._database.delete(NEXT_VECTORS, {"face_id": part})

    def _ids(self, collection: int) -> Iterator[list[int]]:
        """Yield the ids of a collection's faces, rising, some at a time."""
        last, mine = 0, {"collection_number": collection}
        while rows := self._database.select(FACES, ["id"], {"id >": last, **mine}, "id", PAIRS_A_BATCH):
            yield [row["id"] for row in rows]
            last = rows[-1]["id"]

    def _drop_missing(self, collection: int) -> list[int]:
        faces, dropped = self._database.of_collection(collection), []
        while missing := self.missing(collection, PAIRS_A_BATCH):
            dropped += faces.delete_faces([face.id for face in missing])
        return dropped

    def _take_over(self, collection: int, model_id: str) -> None:
        """Write each face's next vector into its row, and a change of it; in statements of bounded time."""
        database, view = self._database, self._database.of_collection(collection)
        [model] = database.select(MODELS, ["dimension"], {"model_id": model_id})
        face, following = self._tables()
        vector = select(following.c.vector).where(following.c.face_id == face.c.id).scalar_subquery()
        columns = {"vector": vector, "model_id": model_id, "dimension": model["dimension"]}
        last, mine = 0, {"collection_number": collection}
        while rows := database.select(
            FACES, ["id", "person_number"], {"id >": last, **mine}, "id", FACES_A_STATEMENT
        ):
            ids = [row["id"] for row in rows]
            with database._connection(writes=True) as connection:
                connection.execute(update(face).where(face.c.id.in_(ids)).values(columns))
            before = view.take_numbers(len(ids))
            view.forget_entries(ids)
            view.write_history(before, [Entry(row["id"], model_id, row["person_number"], 0) for row in rows])
            database.delete(NEXT_VECTORS, {"face_id": ids})
            last = ids[-1]

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """A transaction, or the one that is open, beside which nobody changes faces."""
        with self._database.transaction():
            self._database.lock_removals()
            self._database.lock_counter()
            yield

    def _row(self, collection: int) -> dict[str, Any]:
        self._database.ready()
        there = {"number": collection, "deleted_at": None}
        rows = self._database.select(COLLECTIONS, ["model_id", "next_model_id"], there)
        if not rows:
            raise CollectionNotFound
        return rows[0]

    def _tables(self) -> tuple[Any, Any]:
        return (
            self._database._table(FACES, _FACE_COLUMNS),
            self._database._table(NEXT_VECTORS, ["face_id", "vector"]),
        )

    def _missing(self, collection: int) -> Select[Any]:
        face, following = self._tables()
        return (
            select(*(face.c[name] for name in _FACE_COLUMNS))
            .join_from(face, following, following.c.face_id == face.c.id, isouter=True)
            .where(face.c.collection_number == collection, following.c.face_id.is_(None))
        )

    def _some_next(self, collection: int) -> bool:
        mine = {"collection_number": collection}
        return bool(self._database.select(NEXT_VECTORS, ["face_id"], mine, limit=1))

    def _all(self, query: Select[Any]) -> Sequence[Any]:
        with self._database._connection(writes=False) as connection:
            return connection.execute(query).all()


def _face_of(row: Any) -> UnreencodedFace:
    box = Box(row.box_top, row.box_right, row.box_bottom, row.box_left)
    return UnreencodedFace(row.id, row.file_name, box, row.photo_sha256 and bytes(row.photo_sha256))


def _pairs_of(rows: Sequence[Any]) -> VectorPairs:
    ids, persons, now, following = zip(*rows, strict=True)
    return VectorPairs(
        np.array(ids, np.int64), np.array(persons, np.int64), _stacked(ids, now), _stacked(ids, following)
    )


def _stacked(ids: Sequence[int], vectors: Sequence[bytes]) -> NDArray[np.float32]:
    for face_id, vector in zip(ids, vectors, strict=True):
        if len(vector) != len(vectors[0]) or len(vector) % 4:
            raise Conflict(f"The stored vector of face {face_id} is damaged.")
    joined = np.frombuffer(b"".join(vectors), "<f4").astype(np.float32, copy=False)
    return joined.reshape(len(vectors), -1)
