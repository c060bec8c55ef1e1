"""The truth about faces on any SQL database: written once, over the five verbs."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Engine

from facesearch.databases import migrate
from facesearch.databases.rows import CHANGE_COLUMNS, FACE_COLUMNS, changes_of, face_of, row_of
from facesearch.databases.sql import SQLDatabase
from facesearch.databases.tables import FACES, MODELS, SCHEMA_VERSION, STATE
from facesearch.errors import Conflict, InvalidParameter, ModelMismatch
from facesearch.interfaces import ImageDatabase
from facesearch.records import FaceChange, NewFace, StoredFace

MAX_FACES_A_CALL = 10_000
CHANGES_A_BATCH = 2_000
IDS_A_QUERY = 1_000
MAX_ID = 2**63 - 1

_STATE_ROW = {"id": 1}


class SQLImageDatabase(SQLDatabase, ImageDatabase):
    """Faces, and the history of their changes, over the verbs that a subclass brings.

    Lives as long as its process. Any thread may call it. `prepare` may fail because the database is
    away: every later method tries it again before its own work.
    """

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._is_prepared = False

    @abstractmethod
    def _migrating(self) -> AbstractContextManager[Connection]:
        """A connection on which this process alone migrates; the wait for it is bounded."""

    def prepare(self) -> None:
        """Make or migrate the tables, once however many processes ask at the same time.

        Raises:
            ForeignTable: IMAGE_DATASET exists and is another program's.
            Conflict: a newer version of this program has migrated the database.
        """
        # Not guarded against other threads: the database's lock lets one through, and a mutex here
        # would make them wait one after the other for a server that does not answer.
        with self._reading() as connection:
            version = migrate.stored_version(connection)
            migrate.check(connection, version)
        if version != SCHEMA_VERSION:
            with self._migrating() as connection:
                version = migrate.stored_version(connection)
                migrate.check(connection, version)
                if version != SCHEMA_VERSION:
                    migrate.upgrade(connection)
        self._tables.clear()
        self._is_prepared = True

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self._ready()
        with super().transaction():
            yield

    def ping(self) -> None:
        """Make a round trip to the database, and find its tables ready."""
        self._ready()
        super().ping()

    def database_id(self) -> str:
        return str(self._state("database_id"))

    def newest_change(self) -> int:
        return int(self._state("newest_change"))

    def gallery_model(self) -> str | None:
        self._ready()
        rows = self.select(MODELS, ["model_id"])
        return str(rows[0]["model_id"]) if rows else None

    def add_faces(self, faces: Sequence[NewFace], model_id: str) -> list[int]:
        """Store faces in one transaction; return their ids in order. All or none are stored.

        The counter's row is locked from the first statement to the commit, so that numbers appear in
        the order of commits; a caller that adds many faces does so in several calls, to let others in.

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
            # Changes nothing, and takes the row's lock; what is read below is then the newest.
            self.update(STATE, _STATE_ROW, _STATE_ROW)
            before = self.newest_change()
            self._check_model(model_id, rows[0]["dimension"])
            newest = before + len(rows)
            for number, row in enumerate(rows, before + 1):
                row["change_number"] = number
            self.insert(FACES, rows)
            between = {"change_number >": before, "change_number <=": newest}
            added = self.select(FACES, ["id"], between, order_by="change_number")
            self.update(STATE, {"newest_change": newest}, _STATE_ROW)
        return [row["id"] for row in added]

    def get_faces(self, ids: Sequence[int]) -> dict[int, StoredFace]:
        self._ready()
        wanted = sorted({i for i in ids if 0 < i <= MAX_ID})
        found: dict[int, StoredFace] = {}
        for start in range(0, len(wanted), IDS_A_QUERY):
            for row in self.select(FACES, FACE_COLUMNS, {"id": wanted[start : start + IDS_A_QUERY]}):
                found[row["id"]] = face_of(row)
        return found

    def changes_after(self, number: int, model_id: str) -> Iterator[list[FaceChange]]:
        """Yield this model's changes from above `number` to the newest, in order, at most 2,000 at a time.

        No connection is held between two batches. What is committed after the first one was asked for is
        not among them.

        Raises:
            Conflict: a stored vector is damaged.
        """
        newest = self.newest_change()
        for start in range(max(number, 0), newest, CHANGES_A_BATCH):
            # Bounded on both sides: with a limit instead, MariaDB may walk a model's whole index a batch.
            where = {
                "change_number >": start,
                "change_number <=": min(start + CHANGES_A_BATCH, newest),
                "model_id": model_id,
            }
            rows = self.select(FACES, CHANGE_COLUMNS, where, order_by="change_number")
            if rows:
                yield changes_of(rows)

    def _ready(self) -> None:
        if not self._is_prepared:
            self.prepare()

    def _state(self, column: str) -> Any:
        self._ready()
        rows = self.select(STATE, [column], _STATE_ROW)
        if not rows:
            raise Conflict(f"The database's table {STATE} has lost its row.")
        return rows[0][column]

    def _check_model(self, model_id: str, dimension: int) -> None:
        """Keep the gallery to the model of its first vectors; called with the counter's lock held."""
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
