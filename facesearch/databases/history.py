"""The history of one collection's faces, its counter, and the locks by which writers wait for each other."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from copy import copy
from typing import Any, NamedTuple, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Engine, or_, select, update

from facesearch.databases.prepared import PreparedDatabase
from facesearch.databases.rows import changes_of
from facesearch.databases.statements import parts
from facesearch.databases.tables import CHANGES, COLLECTIONS, FACES, LOCKS, MODELS, STATE
from facesearch.errors import CollectionNotFound, Conflict, InvalidParameter, ModelMismatch
from facesearch.records import DEFAULT_NUMBER, FaceChanges

T = TypeVar("T")
S = TypeVar("S")

CHANGES_A_BATCH = 4_000

_STATE_ROW = {"id": 1}
_REMOVALS = {"name": "removals"}
_ENTRY_COLUMNS = ("face_id", "model_id", "person_number", "removed")
_CHANGE_COLUMNS = ("change_number", "collection_number", *_ENTRY_COLUMNS)
_BY_COLLECTION = f"FORCE INDEX ({CHANGES}_collection_number_change_number)"


class Entry(NamedTuple):
    """What the history tells of a face; a removal has nobody as its person."""

    face_id: int
    model_id: str
    person_number: int
    removed: int


class CollectionHistory(PreparedDatabase):
    """One collection's history, and how a transaction comes to write to it.

    Lives as long as its process. Any thread may call it. Views of other collections share its connections
    and the thread's transaction.

    Locks are taken in this order: `lock_removals`, `lock_counter` or `take_numbers`, the collection's row,
    which `take_numbers` locks, and then those of jobs and first answers.
    """

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._collection = DEFAULT_NUMBER

    @property
    def collection(self) -> int:
        return self._collection

    def of_collection(self, number: int) -> Self:
        """Return the view of another collection; asks nobody whether it is there."""
        if number == self._collection:
            return self
        view = copy(self)
        view._collection = number
        return view

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
        with self.transaction():
            self.lock_removals()
            self.lock_counter()
            self.be_there()
            yield

    def database_id(self) -> str:
        return str(self._state("database_id"))

    def newest_change(self) -> int:
        return int(self._collection_row("newest_change")["newest_change"])

    def gallery_model(self) -> str | None:
        model_id: str | None = self._collection_row("model_id")["model_id"]
        return model_id

    def changes_after(self, number: int, model_id: str) -> Iterator[FaceChanges]:
        """Yield this model's changes from above `number` to the newest, in order, at most 4,000 at a time.

        Of several batches the next is read in a thread of its own while one is used; no connection is held
        in between. What is committed after the first was asked for is not among them.

        Raises:
            Conflict: a stored vector is damaged.
        """
        newest = self.newest_change()

        def read(span: tuple[int, int]) -> FaceChanges:
            return self._changes_between(*span, model_id)

        spans = self._spans(max(number, 0), newest)
        # Another thread would not see what this one's open transaction has written.
        alone = newest - number <= CHANGES_A_BATCH or self._transaction is not None
        yield from filter(len, map(read, spans) if alone else _one_ahead(read, spans))

    def changed_faces(self, after: int) -> NDArray[np.int64]:
        """Return the ids of all faces that changed or were removed after a number, ascending."""
        self.be_there()
        change = self._table(CHANGES, _CHANGE_COLUMNS)
        query = select(change.c.face_id).where(
            change.c.collection_number == self._collection, change.c.change_number > after
        )
        with self._connection(writes=False) as connection:
            return np.unique(np.fromiter(connection.execute(query).scalars(), np.int64))

    def be_there(self) -> None:
        """Prepare the tables, and raise CollectionNotFound where the collection is gone."""
        self.ready()
        # The default one cannot be deleted: whoever has no other is spared the question.
        if self._collection != DEFAULT_NUMBER:
            self._collection_row("number")

    def lock_removals(self) -> None:
        """Let one removal through at a time, to its commit; additions do not come by here.

        Of two removals that lock their faces in different orders each would wait for the other.
        """
        self.update(LOCKS, _REMOVALS, _REMOVALS)

    def lock_counter(self) -> None:
        """Let nobody take change numbers but this transaction, to its commit.

        What is read from here on is the newest, and nobody else numbers or forgets a person.
        """
        self.update(STATE, _STATE_ROW, _STATE_ROW)

    def take_numbers(self, count: int) -> int:
        """Take the next change numbers for this collection, and return the last one before them.

        Locks as `lock_counter` does.

        Raises:
            CollectionNotFound: it is gone by now.
        """
        state = self._table(STATE, ["newest_change"])
        with self._connection(writes=True) as connection:
            connection.execute(update(state).values(newest_change=state.c.newest_change + count))
        newest = int(self._state("newest_change"))
        there = {"number": self._collection, "deleted_at": None}
        if not self.update(COLLECTIONS, {"newest_change": newest}, there):
            raise CollectionNotFound
        return newest - count

    def bind_model(self, model_id: str, dimension: int) -> None:
        """Keep the collection to one model: that of its first vectors. Needs the counter's lock.

        Raises:
            ModelMismatch: it has another, or the model's vectors have another dimension.
        """
        if self.check_model(model_id, dimension):
            return
        known = self.select(MODELS, ["dimension"], {"model_id": model_id})
        if not known:
            self.insert(MODELS, [{"model_id": model_id, "dimension": dimension}])
        elif known[0]["dimension"] != dimension:
            raise _wrong_dimension(known[0]["dimension"], dimension)
        self.update(COLLECTIONS, {"model_id": model_id}, {"number": self._collection})

    def check_model(self, model_id: str, dimension: int) -> bool:
        """Whether the collection is of a model, False where it has none; raises as `bind_model`."""
        stored = self.gallery_model()
        if stored is None:
            return False
        if stored != model_id:
            raise ModelMismatch(f"The gallery holds vectors of {stored}; these are of {model_id}.")
        known = self.select(MODELS, ["dimension"], {"model_id": model_id})
        if not known:
            return False
        if known[0]["dimension"] != dimension:
            raise _wrong_dimension(known[0]["dimension"], dimension)
        return True

    def write_history(self, before: int, entries: Iterable[Entry]) -> None:
        """Write entries under the numbers after `before`, which `take_numbers` returned."""
        rows = [
            dict(zip(_ENTRY_COLUMNS, entry, strict=True))
            | {"change_number": number, "collection_number": self._collection}
            for number, entry in enumerate(entries, before + 1)
        ]
        self.insert(CHANGES, rows)

    def forget_entries(self, ids: Sequence[int]) -> None:
        """Delete all that the history tells of faces; needs the counter's lock."""
        for part in parts(ids):
            self.delete(CHANGES, {"face_id": part})

    def tell_again(self, ids: Sequence[int]) -> None:
        """Write a change of each of these faces, as they are now, in the place of all earlier ones.

        Needs the lock of removals, and takes the counter's. Ids that are no faces of the collection are
        left out.
        """
        mine = {"collection_number": self._collection}
        columns = ["id", "model_id", "person_number"]
        entries = [
            Entry(row["id"], row["model_id"], row["person_number"], 0)
            for part in parts(ids)
            for row in self.select(FACES, columns, {"id": part, **mine}, "id")
        ]
        if entries:
            before = self.take_numbers(len(entries))
            self.forget_entries([entry.face_id for entry in entries])
            self.write_history(before, entries)

    def _spans(self, number: int, newest: int) -> Iterator[tuple[int, int]]:
        """Cut the numbers from above `number` to the newest at each 4,000th change of the collection."""
        while newest - number > CHANGES_A_BATCH:
            if (end := self._nth_change(number, newest)) is None:
                break
            yield number, end
            number = end
        if number < newest:
            yield number, newest

    def _nth_change(self, after: int, last: int) -> int | None:
        """Return the number of the 4,000th change after one, None where there are fewer."""
        change = self._table(CHANGES, _CHANGE_COLUMNS)
        query = (
            select(change.c.change_number)
            .where(change.c.collection_number == self._collection)
            .where(change.c.change_number > after, change.c.change_number <= last)
            .order_by(change.c.change_number)
            .offset(CHANGES_A_BATCH - 1)
            .limit(1)
            # For the sake of the limit, MariaDB would walk the history of all collections.
            .with_hint(change, _BY_COLLECTION, "mysql")
            .with_hint(change, _BY_COLLECTION, "mariadb")
        )
        with self._connection(writes=False) as connection:
            number: int | None = connection.execute(query).scalar()
        return number

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
            .where(change.c.collection_number == self._collection)
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

    def _collection_row(self, *columns: str) -> dict[str, Any]:
        self.ready()
        rows = self.select(COLLECTIONS, columns, {"number": self._collection, "deleted_at": None})
        if not rows:
            raise CollectionNotFound
        return rows[0]


def _wrong_dimension(stored: int, given: int) -> ModelMismatch:
    return ModelMismatch(f"The model's vectors have {stored} dimensions, these have {given}.")


def _one_ahead(read: Callable[[S], T], spans: Iterable[S]) -> Iterator[T]:
    """Yield what `read` returns for each span, having begun the next one already."""
    with ThreadPoolExecutor(1) as thread:
        begun: deque[Future[T]] = deque()
        for span in spans:
            begun.append(thread.submit(read, span))
            if len(begun) == 2:
                yield begun.popleft().result()
        yield from (future.result() for future in begun)
