"""The truth about faces on any SQL database: written once, over the five verbs."""

import secrets
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar

from sqlalchemy import bindparam, delete, func, or_, select, update

from facesearch.databases.prepared import PreparedDatabase
from facesearch.databases.rows import FACE_COLUMNS, changes_of, face_of, row_of
from facesearch.databases.statements import parts
from facesearch.databases.tables import CHANGES, DIGEST_BYTES, FACES, MODELS, PERSONS, STATE
from facesearch.errors import Conflict, InvalidParameter, ModelMismatch
from facesearch.interfaces import ImageDatabase
from facesearch.records import FaceChanges, NewFace, StoredFace

T = TypeVar("T")

MAX_FACES_A_CALL = 10_000
CHANGES_A_BATCH = 4_000
MAX_ID = 2**63 - 1

_STATE_ROW = {"id": 1}
_CHANGE_COLUMNS = ("change_number", "face_id", "model_id", "person_number", "removed")


class SQLImageDatabase(PreparedDatabase, ImageDatabase):
    """Faces, and the history of their changes, over the verbs that a subclass brings.

    Lives as long as its process. Any thread may call it.
    """

    @contextmanager
    def alone(self) -> Iterator[None]:
        """A transaction, begun here, beside which no other thread, process or host changes faces.

        It takes the counter's lock at its start: whoever adds or removes faces waits for its end, so it is
        to be short.

        Raises:
            InvalidParameter: this thread is in a transaction already.
        """
        if self._transaction is not None:
            raise InvalidParameter("What is done alone begins a transaction of its own.")
        while True:
            with self.transaction():
                if self._lock_faces():
                    yield
                    return

    def database_id(self) -> str:
        return str(self._state("database_id"))

    def newest_change(self) -> int:
        return int(self._state("newest_change"))

    def gallery_model(self) -> str | None:
        self.ready()
        rows = self.select(MODELS, ["model_id"])
        return str(rows[0]["model_id"]) if rows else None

    def add_faces(self, faces: Sequence[NewFace], model_id: str) -> list[int]:
        """Store faces in one transaction; return their ids in order. All or none are stored.

        The rows are inserted beside those of other transactions. Then the counter's row is locked, which
        lets one at a time through to its commit, and the history gets its entries. A caller that adds
        many faces does so in several calls, to let others in.

        Args:
            faces: at most 10,000, embeddings finite and all of one length.

        Raises:
            InvalidParameter: a field is too long, or an embedding cannot be stored.
            ModelMismatch: the gallery's first face was of another model or dimension.
        """
        if not faces:
            return []
        if len(faces) > MAX_FACES_A_CALL:
            raise InvalidParameter(f"At most {MAX_FACES_A_CALL} faces are added in one transaction.")
        now = datetime.now(UTC).replace(tzinfo=None)
        rows = [row_of(face, model_id, now) for face in faces]
        if len({row["dimension"] for row in rows}) > 1:
            raise InvalidParameter("Embeddings that are added together have one dimension.")
        with self.transaction():
            self._check_model(model_id, rows[0]["dimension"])
            ids = self._insert_faces(rows)
            before = self._take_numbers(len(rows))
            persons = self._person_numbers([row["person_name"] for row in rows])
            entries = zip(ids, persons, strict=True)
            self._write_history(before, [(i, model_id, person, 0) for i, person in entries])
        return ids

    def delete_faces(self, ids: Sequence[int]) -> list[int]:
        """Remove faces in one transaction; return the ids of those that were there, in order.

        Each removal takes the next change number. Of a face nothing is left but its id and its model's,
        of a person who has no other face nothing.

        Args:
            ids: at most 10,000; unknown ones are left out.
        """
        wanted = sorted({i for i in ids if 0 < i <= MAX_ID})
        if len(wanted) > MAX_FACES_A_CALL:
            raise InvalidParameter(f"At most {MAX_FACES_A_CALL} faces are removed in one transaction.")
        with self.transaction():
            if (model_id := self.gallery_model()) is None:
                return []
            # Of two removals that lock their faces in different orders each would wait for the other.
            self._lock_removals(model_id)
            found = [row for part in parts(wanted) for row in self.select(FACES, ["id"], {"id": part}, "id")]
            there = [row["id"] for row in found]
            if there:
                self._delete_faces(there)
                before = self._take_numbers(len(there))
                self._forget(there)
                self._write_history(before, [(face_id, model_id, 0, 1) for face_id in there])
        return there

    def get_faces(self, ids: Sequence[int]) -> dict[int, StoredFace]:
        self.ready()
        wanted = sorted({i for i in ids if 0 < i <= MAX_ID})
        rows = (row for part in parts(wanted) for row in self.select(FACES, FACE_COLUMNS, {"id": part}))
        return {row["id"]: face_of(row) for row in rows}

    def faces_of_photos(self, sha256s: Sequence[bytes]) -> dict[bytes, int]:
        self.ready()
        wanted = sorted({bytes(digest) for digest in sha256s if len(digest) == DIGEST_BYTES})
        face = self._table(FACES, ["id", "photo_sha256"])
        query = select(face.c.photo_sha256, func.min(face.c.id)).group_by(face.c.photo_sha256)
        found: dict[bytes, int] = {}
        for part in parts(wanted):
            with self._connection(writes=False) as connection:
                rows = connection.execute(query.where(face.c.photo_sha256.in_(part))).all()
            found.update((bytes(digest), face_id) for digest, face_id in rows)
        return found

    def changes_after(self, number: int, model_id: str) -> Iterator[FaceChanges]:
        """Yield this model's changes from above `number` to the newest, in order, at most 4,000 at a time.

        Of several batches the next is read in a thread of its own while one is used; no connection is held
        in between. What is committed after the first was asked for is not among them.

        Raises:
            Conflict: a stored vector is damaged.
        """
        newest = self.newest_change()

        def read(start: int) -> FaceChanges:
            return self._changes_between(start, min(start + CHANGES_A_BATCH, newest), model_id)

        starts = range(max(number, 0), newest, CHANGES_A_BATCH)
        # Another thread would not see what this one's open transaction has written.
        alone = len(starts) < 2 or self._transaction is not None
        yield from filter(len, map(read, starts) if alone else _one_ahead(read, starts))

    def _changes_between(self, after: int, last: int, model_id: str) -> FaceChanges:
        """Return a model's changes of a range of numbers that are all committed.

        Bounded on both sides: with a limit instead, MariaDB may walk a model's whole index a batch.
        """
        change, face = self._table(CHANGES, _CHANGE_COLUMNS), self._table(FACES, ["dimension", "vector"])
        query = (
            select(
                change.c.change_number,
                change.c.face_id,
                change.c.person_number,
                face.c.dimension,
                face.c.vector,
            )
            .join_from(change, face, face.c.id == change.c.face_id, isouter=True)
            .where(change.c.change_number > after, change.c.change_number <= last)
            .where(change.c.model_id == model_id, or_(change.c.removed == 1, face.c.id.is_not(None)))
            .order_by(change.c.change_number)
        )
        with self._connection(writes=False) as connection:
            return changes_of(connection.execute(query).all())

    def _state(self, column: str) -> Any:
        self.ready()
        rows = self.select(STATE, [column], _STATE_ROW)
        if not rows:
            raise Conflict(f"The database's table {STATE} has lost its row.")
        return rows[0][column]

    def _lock_removals(self, model_id: str) -> None:
        """Let one removal through at a time, to its commit; additions do not come by here."""
        self.update(MODELS, {"model_id": model_id}, {"model_id": model_id})

    def _lock_counter(self) -> None:
        """Let nobody take change numbers but this transaction, to its commit."""
        self.update(STATE, _STATE_ROW, _STATE_ROW)

    def _lock_faces(self) -> bool:
        """Lock removals and then the counter, in the order in which a removal does; False: begin again."""
        if (model_id := self.gallery_model()) is not None:
            self._lock_removals(model_id)
        self._lock_counter()
        # The first face may have come in between; removals would be locked after the counter then.
        return model_id is not None or self.gallery_model() is None

    def _check_model(self, model_id: str, dimension: int) -> None:
        """Keep the gallery to the model of its first vectors."""
        rows = self.select(MODELS, ["model_id", "dimension"])
        if not rows:
            # Of those who found none, one makes the row.
            self._lock_counter()
            rows = self.select(MODELS, ["model_id", "dimension"])
        if not rows:
            self.insert(MODELS, [{"model_id": model_id, "dimension": dimension}])
            return
        stored, stored_dimension = rows[0]["model_id"], rows[0]["dimension"]
        if stored != model_id:
            raise ModelMismatch(f"The gallery holds vectors of {stored}; these are of {model_id}.")
        if stored_dimension != dimension:
            raise ModelMismatch(
                f"The gallery's vectors have {stored_dimension} dimensions, these have {dimension}."
            )

    def _insert_faces(self, rows: Sequence[dict[str, Any]]) -> list[int]:
        """Insert rows in one statement or a few, and return their ids in order."""
        # Ids are not foretold: how a server counts them depends on its replication.
        first = secrets.randbelow(2**63 - len(rows)) - 2**63
        for key, row in enumerate(rows, first):
            row["insert_key"] = key
        self.insert(FACES, rows)
        own = {"insert_key >=": first, "insert_key <": first + len(rows)}
        return [row["id"] for row in self.select(FACES, ["id"], own, order_by="insert_key")]

    def _delete_faces(self, ids: Sequence[int]) -> None:
        """Delete rows one by one: given a list of most of them, MariaDB walks the whole table.

        It would then wait for rows that others are adding, who may be waiting for the counter's lock.
        """
        face = self._table(FACES, ["id"])
        with self._connection(writes=True) as connection:
            one = delete(face).where(face.c.id == bindparam("face"))
            connection.execute(one, [{"face": face_id} for face_id in ids])

    def _take_numbers(self, count: int) -> int:
        """Take the next change numbers, and return the last one before them.

        From here to the commit no other transaction comes past this point: what is read now is the newest,
        and nobody else numbers or forgets a person.
        """
        state = self._table(STATE, ["newest_change"])
        with self._connection(writes=True) as connection:
            connection.execute(update(state).values(newest_change=state.c.newest_change + count))
        return self.newest_change() - count

    def _person_numbers(self, names: Sequence[str]) -> list[int]:
        """Return each name's number, a new one where it has none; needs the counter's lock."""
        wanted = list(dict.fromkeys(name.encode() for name in names))
        rows = [row for part in parts(wanted) for row in self.select(PERSONS, None, {"name": part})]
        numbers = {row["name"]: row["number"] for row in rows}
        if new := [name for name in wanted if name not in numbers]:
            newest = int(self._state("newest_person"))
            numbers |= {name: number for number, name in enumerate(new, newest + 1)}
            self.insert(PERSONS, [{"number": numbers[name], "name": name} for name in new])
            self.update(STATE, {"newest_person": newest + len(new)}, _STATE_ROW)
        return [numbers[name.encode()] for name in names]

    def _write_history(self, before: int, entries: Sequence[tuple[int, str, int, int]]) -> None:
        """Write face's id, model id, person's number and whether it is a removal, under the next numbers."""
        rows = [
            dict(zip(_CHANGE_COLUMNS, (number, *entry), strict=True))
            for number, entry in enumerate(entries, before + 1)
        ]
        self.insert(CHANGES, rows)

    def _forget(self, ids: Sequence[int]) -> None:
        """Delete faces' entries of the history, and persons who have no other; needs the counter's lock."""
        persons: set[int] = set()
        for part in parts(ids):
            entries = self.select(CHANGES, ["person_number"], {"face_id": part})
            persons.update(row["person_number"] for row in entries)
            self.delete(CHANGES, {"face_id": part})
        change = self._table(CHANGES, _CHANGE_COLUMNS)
        for part in parts(sorted(persons)):
            query = select(change.c.person_number).where(change.c.person_number.in_(part)).distinct()
            with self._connection(writes=True) as connection:
                left = set(connection.execute(query).scalars())
            self.delete(PERSONS, {"number": [number for number in part if number not in left]})


def _one_ahead(read: Callable[[int], T], starts: Iterable[int]) -> Iterator[T]:
    """Yield what `read` returns for each start, having begun the next one already."""
    with ThreadPoolExecutor(1) as thread:
        begun: deque[Future[T]] = deque()
        for start in starts:
            begun.append(thread.submit(read, start))
            if len(begun) == 2:
                yield begun.popleft().result()
        yield from (future.result() for future in begun)
