"""The truth about faces on any SQL database: written once, over the five verbs."""

import secrets
from collections.abc import Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import bindparam, delete, func, select

from facesearch.databases.history import Entry
from facesearch.databases.metadata_values import metadata_rows
from facesearch.databases.pages import page_of, rows_to_ask
from facesearch.databases.persons import FacePersons, Whose
from facesearch.databases.rows import (
    FACE_COLUMNS,
    edited_columns,
    embedding_of,
    face_of,
    row_of,
)
from facesearch.databases.selection import (
    FaceTables,
    Selection,
    check_query,
    packed,
    parts_of_query,
    selected_faces,
    unpacked,
)
from facesearch.databases.statements import MAX_ID, known_ids, parts
from facesearch.databases.tables import CHANGES, CROPS, DIGEST_BYTES, FACES, METADATA, NEXT_VECTORS
from facesearch.errors import FaceNotFound, InvalidParameter
from facesearch.interfaces import ImageDatabase
from facesearch.records import Crop, Embedding, FaceEdit, FaceQuery, NewFace, Page, StoredFace

MAX_FACES_A_CALL = 10_000

_BELONGINGS = (METADATA, CROPS, NEXT_VECTORS)


class SQLImageDatabase(FacePersons, ImageDatabase):
    """The faces of one collection, over the verbs that a subclass brings.

    Lives as long as its process. Any thread may call it. It is the default collection's view;
    `of_collection` gives another's, which is as good as this one and costs nothing.
    """

    _packs_ids = False

    def add_faces(self, faces: Sequence[NewFace], model_id: str) -> list[int]:
        """Store faces in one transaction; return their ids in order. All or none are stored.

        The rows are inserted beside those of other transactions, unless they bring new persons. Then the
        counter's row is locked, which lets one at a time through to its commit, and the history gets its
        entries. A caller that adds many faces does so in several calls, to let others in.

        Args:
            faces: at most 10,000, embeddings finite and all of one length.

        Raises:
            InvalidParameter: a field is too long, or an embedding cannot be stored.
            ModelMismatch: the collection is of another model or dimension.
            PersonNotFound: a `person_id` is none of the collection's.
        """
        if not faces:
            return []
        if len(faces) > MAX_FACES_A_CALL:
            raise InvalidParameter(f"At most {MAX_FACES_A_CALL} faces are added in one transaction.")
        now = datetime.now(UTC).replace(tzinfo=None)
        rows = [row_of(face, model_id, now) | {"collection_number": self._collection} for face in faces]
        if len({row["dimension"] for row in rows}) > 1:
            raise InvalidParameter("Embeddings that are added together have one dimension.")
        with self.transaction():
            self.check_model(model_id, rows[0]["dimension"])
            known = self.persons_of(faces)
            if None in known:
                # Numbers are given under the lock, and a row that has its number need not be written twice.
                self.lock_counter()
                known = list(self.make_persons(faces))
            for row, whose in zip(rows, known, strict=True):
                assert whose is not None
                row["person_number"], row["person_name"] = whose
            ids = self._insert_faces(rows)
            self._insert_belongings(ids, faces)
            before = self.take_numbers(len(rows))
            self.bind_model(model_id, rows[0]["dimension"])
            persons = self._as_they_are_now(ids, faces, known)
            entries = zip(ids, persons, strict=True)
            self.write_history(before, [Entry(i, model_id, whose.number, 0) for i, whose in entries])
        return ids

    def delete_faces(self, ids: Sequence[int]) -> list[int]:
        """Remove faces in one transaction; return the ids of those that were there, in order.

        Each removal takes the next change number. Of a face nothing is left but its id and its model's.

        Args:
            ids: at most 10,000; unknown ones are left out.
        """
        wanted = known_ids(ids)
        if len(wanted) > MAX_FACES_A_CALL:
            raise InvalidParameter(f"At most {MAX_FACES_A_CALL} faces are removed in one transaction.")
        with self.transaction():
            self.be_there()
            self.lock_removals()
            columns = ["id", "model_id", "person_number"]
            found = [
                row
                for part in parts(wanted)
                for row in self.select(FACES, columns, {"id": part, **self._mine}, "id")
            ]
            there = [row["id"] for row in found]
            if there:
                self._delete_faces(there)
                before = self.take_numbers(len(there))
                self.forget_entries(there)
                self.part_from([row["person_number"] for row in found], there)
                self.write_history(before, [Entry(row["id"], row["model_id"], 0, 1) for row in found])
        return there

    def get_faces(self, ids: Sequence[int]) -> dict[int, StoredFace]:
        self.be_there()
        rows = (
            row
            for part in parts(known_ids(ids))
            for row in self.select(FACES, FACE_COLUMNS, {"id": part, **self._mine})
        )
        return {row["id"]: face_of(row) for row in rows}

    def faces(self, query: FaceQuery, limit: int, after: int | None = None) -> Page[StoredFace]:
        asked = rows_to_ask(limit)
        self.be_there()
        selection = self._selected(query)
        statement = selection.statement.order_by(selection.face_id).limit(asked)
        if after is not None:
            statement = statement.where(selection.face_id > max(-1, min(after, MAX_ID)))
        with self._connection(writes=False) as connection:
            ids = list(connection.execute(statement).scalars())
        stored = self.get_faces(ids[:limit])
        # One that was removed in between is left out.
        return page_of([stored[face_id] for face_id in ids[:limit] if face_id in stored], ids, limit)

    def face_ids(self, query: FaceQuery, changed_after: int = 0) -> NDArray[np.int64]:
        check_query(query)
        self.be_there()
        if changed_after > 0:
            return self._ids(query, changed_after)
        wanted, unwanted = parts_of_query(query)
        is_one = len(wanted) + len(unwanted) == 1 or self._transaction is not None
        with nullcontext() if is_one else self.one_moment():
            ids = self._ids(wanted[0])
            for part in wanted[1:]:
                ids = np.intersect1d(ids, self._ids(part), assume_unique=True)
            for part in unwanted:
                ids = np.setdiff1d(ids, self._ids(part), assume_unique=True)
        return ids

    def embeddings(self, ids: Sequence[int]) -> dict[int, Embedding]:
        self.be_there()
        columns = ["id", "dimension", "vector"]
        return {
            row["id"]: embedding_of(row)
            for part in parts(known_ids(ids))
            for row in self.select(FACES, columns, {"id": part, **self._mine})
        }

    def crop(self, face_id: int) -> Crop | None:
        self.be_there()
        face, crop = self._table(FACES, ["id", "collection_number"]), self._table(CROPS, ["face_id", "data"])
        query = (
            select(crop.c.media_type, crop.c.data)
            .join_from(crop, face, face.c.id == crop.c.face_id)
            .where(crop.c.face_id.in_(known_ids([face_id])), face.c.collection_number == self._collection)
        )
        with self._connection(writes=False) as connection:
            row = connection.execute(query).first()
        return None if row is None else Crop(row.media_type, bytes(row.data))

    def edit_face(self, face_id: int, edit: FaceEdit) -> StoredFace:
        columns = edited_columns(edit)
        with self.transaction():
            self.be_there()
            self.lock_removals()
            if not self.get_faces([face_id]):
                raise FaceNotFound.of(face_id)
            if columns:
                self.update(FACES, columns, {"id": face_id})
                if "metadata" in columns:
                    self.delete(METADATA, {"face_id": face_id})
                    self.insert(METADATA, metadata_rows(face_id, self._collection, edit.metadata))
                self.tell_again([face_id])
            return self.get_faces([face_id])[face_id]

    def faces_of_photos(self, sha256s: Sequence[bytes]) -> dict[bytes, int]:
        self.be_there()
        wanted = sorted({bytes(digest) for digest in sha256s if len(digest) == DIGEST_BYTES})
        face = self._table(FACES, ["id", "photo_sha256", "collection_number"])
        query = (
            select(face.c.photo_sha256, func.min(face.c.id))
            .where(face.c.collection_number == self._collection)
            .group_by(face.c.photo_sha256)
        )
        found: dict[bytes, int] = {}
        for part in parts(wanted):
            with self._connection(writes=False) as connection:
                rows = connection.execute(query.where(face.c.photo_sha256.in_(part))).all()
            found.update((bytes(digest), face_id) for digest, face_id in rows)
        return found

    def faces_of_photo(self, sha256: bytes) -> list[int]:
        self.be_there()
        if len(sha256) != DIGEST_BYTES:
            return []
        of_it = {"photo_sha256": sha256, **self._mine}
        return [row["id"] for row in self.select(FACES, ["id"], of_it, order_by="id")]

    def photos_of_faces(self, ids: Sequence[int]) -> dict[bytes, int | None]:
        self.be_there()
        columns = ["photo_sha256", "photo_bytes"]
        return {
            bytes(row["photo_sha256"]): row["photo_bytes"]
            for part in parts(known_ids(ids))
            for row in self.select(FACES, columns, {"id": part, **self._mine})
            if row["photo_sha256"] is not None
        }

    @property
    def _mine(self) -> dict[str, int]:
        return {"collection_number": self._collection}

    def _ids(self, query: FaceQuery, changed_after: int | None = None) -> NDArray[np.int64]:
        """Return ids that one statement gives, ascending."""
        selection = self._selected(query, changed_after)
        with self._connection(writes=False) as connection:
            if self._packs_ids:
                return unpacked(connection.execute(packed(selection)).all())
            ids = np.fromiter(connection.execute(selection.statement).scalars(), np.int64)
        ids.sort()
        return ids

    def _selected(self, query: FaceQuery, changed_after: int | None = None) -> Selection:
        tables = FaceTables(
            self._table(FACES, ["id", "person_number"]),
            self._table(METADATA, ["face_id", "number_value"]),
            self._table(CHANGES, ["face_id", "collection_number"]),
        )
        return selected_faces(tables, self._collection, query, changed_after)

    def _insert_faces(self, rows: Sequence[dict[str, Any]]) -> list[int]:
        """Insert rows in one statement or a few, and return their ids in order."""
        # Ids are not foretold: how a server counts them depends on its replication.
        first = secrets.randbelow(2**63 - len(rows)) - 2**63
        for key, row in enumerate(rows, first):
            row["insert_key"] = key
        self.insert(FACES, rows)
        own = {"insert_key >=": first, "insert_key <": first + len(rows)}
        return [row["id"] for row in self.select(FACES, ["id"], own, order_by="insert_key")]

    def _insert_belongings(self, ids: Sequence[int], faces: Sequence[NewFace]) -> None:
        """Insert the faces' metadata and crops."""
        pairs = list(zip(ids, faces, strict=True))
        rows = [one for i, face in pairs for one in metadata_rows(i, self._collection, face.metadata)]
        self.insert(METADATA, rows)
        crops = [(i, face.face.crop) for i, face in pairs]
        self.insert(
            CROPS,
            [
                {"face_id": i, "media_type": crop.media_type, "data": crop.data}
                for i, crop in crops
                if crop is not None
            ],
        )

    def _as_they_are_now(
        self, ids: Sequence[int], faces: Sequence[NewFace], known: Sequence[Whose | None]
    ) -> list[Whose]:
        """Return whose the faces are, and correct rows whose person has changed; needs the counter's lock."""
        persons = self.make_persons(faces)
        for face_id, before, now in zip(ids, known, persons, strict=True):
            if now != before:
                columns = {"person_number": now.number, "person_name": now.name}
                self.update(FACES, columns, {"id": face_id})
        return persons

    def _delete_faces(self, ids: Sequence[int]) -> None:
        """Delete rows one by one: given a list of most of them, MariaDB walks the whole table.

        It would then wait for rows that others are adding, who may be waiting for the counter's lock.
        """
        for table in _BELONGINGS:
            owners = {
                row["face_id"]
                for part in parts(ids)
                for row in self.select(table, ["face_id"], {"face_id": part})
            }
            self._delete_one_by_one(table, "face_id", sorted(owners))
        self._delete_one_by_one(FACES, "id", ids)

    def _delete_one_by_one(self, table: str, key: str, ids: Sequence[int]) -> None:
        if not ids:
            return
        target = self._table(table, [key])
        with self._connection(writes=True) as connection:
            one = delete(target).where(target.c[key] == bindparam("face"))
            connection.execute(one, [{"face": face_id} for face_id in ids])
