"""The exact index: the shared matrix, kept level with the database, and searched row by row."""

import errno
import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facesearch.errors import InvalidParameter, ModelMismatch, StorageFull, Unavailable
from facesearch.interfaces import FaceIndex, ImageDatabase, WorkerPool
from facesearch.records import DEFAULT_NUMBER, FaceFilter, Match, PersonMatch
from facesearch.search.codes import FIT_FROM
from facesearch.search.copies import copy_name, delete_others
from facesearch.search.following import bring_level
from facesearch.search.layout import BLOCK_ROWS, Damaged
from facesearch.search.locking import exclusive_lock, probe_writable
from facesearch.search.matrix import SharedMatrix
from facesearch.search.people import PersonRows, count_within
from facesearch.search.snapshot import Snapshot
from facesearch.search.sought import PEOPLE, POOLED, Found, Query
from facesearch.search.spread import Spread

MAX_K = 1000
NEVER = 1 << 62
_FULL = (errno.ENOSPC, errno.EDQUOT)

_log = logging.getLogger(__name__)


class ExactIndex(FaceIndex):
    """Searches all vectors of one collection and model exactly; lives as long as its process.

    Any thread may call it. Each process makes its own; all that share `directory` share the copy, and
    one at a time appends to it. Not to be carried over a fork: it holds locks and a mapping, so make it
    after a server has forked its workers. A search reads a snapshot and waits for nobody.

    Args:
        directory: where the copies of this host lie; made where it is missing.
        pool, parallel_from, threads_from, threads: see Spread.
        block_rows: rows per block of a file that is made anew.
        fit_from: from how many faces on a file has codes.
        lock_wait_s: how long to wait for another process that is writing, such as a first build.
        collection: whose faces they are.
    """

    def __init__(
        self,
        directory: Path,
        model_id: str,
        dimension: int,
        pool: WorkerPool,
        parallel_from: int,
        threads_from: int = NEVER,
        *,
        threads: int | None = None,
        block_rows: int = BLOCK_ROWS,
        fit_from: int = FIT_FROM,
        lock_wait_s: float = 30.0,
        collection: int = DEFAULT_NUMBER,
    ) -> None:
        name = copy_name(collection, model_id)
        self._block_rows = block_rows
        self._fit_from = fit_from
        self._directory = directory
        self._matrix = SharedMatrix(directory / name, model_id, dimension, block_rows, fit_from)
        self._model_id = model_id
        self._dimension = dimension
        self._spread = Spread(pool, parallel_from, threads_from, threads)
        self._lock_wait_s = lock_wait_s
        self._writing = threading.Lock()
        self._swapping = threading.Lock()
        self._people = PersonRows()
        self._held: Snapshot | None = None
        self._database: tuple[ImageDatabase, str] | None = None

    def of(self, collection: int, model_id: str, dimension: int) -> "ExactIndex":
        return ExactIndex(
            self._directory,
            model_id,
            dimension,
            self._spread.pool,
            self._spread.parallel_from,
            self._spread.threads_from,
            threads=self._spread.threads,
            block_rows=self._block_rows,
            fit_from=self._fit_from,
            lock_wait_s=self._lock_wait_s,
            collection=collection,
        )

    @property
    def matrix(self) -> SharedMatrix:
        """The matrix that this process shares with others; to be read, and written by `catch_up` alone."""
        return self._matrix

    def snapshot(self) -> Snapshot | None:
        """Return what a search reads: the rows as of the last catch-up; None where there is no copy."""
        return self._held or self._open_lazily()

    def readable(self) -> Snapshot | None:
        """As `snapshot`; raises Unavailable where another program has cut the file."""
        snapshot = self.snapshot()
        if snapshot is not None and snapshot.file.is_cut(snapshot.count):
            raise Unavailable("The search index is being built anew.")
        return snapshot

    def catch_up(self, database: ImageDatabase) -> None:
        """Take over every change that the database committed before this call.

        Where nothing is new this costs one short query of the database and takes no lock between
        processes. A copy that is damaged, another database's, or ahead of the database (which was then
        restored from a backup) is built anew, and the log says why.

        Raises:
            Unavailable: the copy cannot be written, or another process keeps it too long.
            DatabaseUnavailable: the database is away.
        """
        held = self._held  # before the question, so that a lower answer proves a restored database
        try:
            latest: Snapshot | None = self._matrix.snapshot()
        except (Damaged, OSError):
            latest = None  # said and mended below, by one process
        newest = database.newest_change()
        database_id = self._id_of(database)
        if latest is None or not _is_level(latest, database_id, newest):
            latest = self._follow(database)
        self._hold(latest, forced=held is not None and newest < held.last_number)

    def search(
        self, embeddings: NDArray[np.float32], k: int, tolerance: float, only: FaceFilter | None = None
    ) -> list[list[Match]]:
        """Return for each probe its k nearest faces with distance <= tolerance, as of the last catch-up.

        Without one it answers from the copy as it lies there, or nothing where there is none.

        Raises:
            InvalidParameter: k or tolerance is out of range.
            ModelMismatch: the probes have another dimension.
            Unavailable: another program has cut the copy; the next catch-up mends it.
        """
        query = self.checked(embeddings, k, tolerance)
        snapshot = self.readable()
        if snapshot is None or not len(query.probes):
            return [[] for _ in query.probes]
        found = self.found(snapshot, query, only)
        return [[Match(face_id, distance) for distance, face_id in pairs] for pairs in found]

    def search_people(
        self,
        embeddings: NDArray[np.float32],
        k: int,
        tolerance: float,
        only: FaceFilter | None = None,
        *,
        pooled: bool = False,
    ) -> list[list[PersonMatch]]:
        """Return for each probe its k nearest persons, or for all together; errors as for `search`.

        How many faces of a person are within is counted over those that the filter lets through.
        """
        query = self.checked(embeddings, k, tolerance)._replace(kind=POOLED if pooled else PEOPLE)
        snapshot = self.readable()
        if snapshot is None or not len(query.probes):
            return [[]] if pooled else [[] for _ in query.probes]
        return self.counted(snapshot, query, only, self.found(snapshot, query, only))

    def checked(self, embeddings: NDArray[np.float32], k: int, tolerance: float) -> Query:
        """Return what is searched for; errors as for `search`."""
        if not 1 <= k <= MAX_K:
            raise InvalidParameter(f"k must be from 1 to {MAX_K}.")
        if not tolerance >= 0:
            raise InvalidParameter("tolerance must be 0 or more.")
        probes = np.ascontiguousarray(embeddings, np.float32)
        if probes.ndim != 2 or probes.shape[1] != self._dimension:
            raise ModelMismatch(f"Probes need vectors of {self._dimension} numbers.")
        return Query(probes, k, tolerance)

    def found(self, snapshot: Snapshot, query: Query, only: FaceFilter | None) -> Found:
        """Scan all rows of a snapshot that the filter lets through."""
        wanted = snapshot.counts if only is None else snapshot.wanted(only)
        return self._spread.scan(self._matrix.path, snapshot, query, wanted)

    def counted(
        self, snapshot: Snapshot, query: Query, only: FaceFilter | None, found: Found
    ) -> list[list[PersonMatch]]:
        """Return the persons that were found, each with how many of its faces are within."""
        probes = [query.probes] if query.kind == POOLED else query.probes[:, np.newaxis]
        answers = []
        for some, people in zip(probes, found, strict=True):
            persons = np.array([person for _, _, person in people], np.int64)
            places, owners = self._people.of(snapshot, persons)
            may = snapshot.let_through(places, only)
            within = count_within(snapshot, places[may], owners[may], some, query.tolerance, len(persons))
            answers.append(
                [
                    PersonMatch(person, face_id, distance, faces)
                    for (distance, face_id, person), faces in zip(people, within, strict=True)
                ]
            )
        return answers

    def keep_only(self, galleries: Mapping[int, str | None]) -> None:
        """Delete from this place the copies of all collections and models but these, whoever made them.

        Raises:
            Unavailable: one cannot be deleted, or another process keeps it too long.
        """
        kept = {copy_name(number, model) for number, model in galleries.items() if model is not None}
        with self._failures_told():
            delete_others(self._directory, kept, self._lock_wait_s)

    def count(self, only: FaceFilter | None = None, *, of_people: bool = False) -> int:
        """See FaceIndex; as of the last catch-up."""
        if only is None and not of_people:
            snapshot = self.snapshot()
            return snapshot.faces if snapshot else 0
        snapshot = self.readable()
        return snapshot.count_of(only, of_people) if snapshot else 0

    def extent(self) -> tuple[int, int]:
        """See FaceIndex. A copy that is damaged, which the next catch-up mends, counts as none."""
        try:
            latest = self._matrix.snapshot()
        except (Damaged, OSError):
            return 0, 0
        return latest.last_number, latest.faces

    def has_copy(self) -> bool:
        """See FaceIndex. A graph alone counts too: it tells of vectors."""
        return self._matrix.path.exists() or self._matrix.graph_path.exists()

    def ping(self) -> None:
        """Raise where the copy cannot be read or written; waits for nobody.

        Raises:
            Unavailable: it cannot; the log names the reason.
        """
        with self._failures_told():
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            probe_writable(self._matrix.lock_path)
            with suppress(Damaged):  # the next catch-up mends it
                self._matrix.snapshot()

    def close(self) -> None:
        """Release the copy; a search that still runs keeps its own hold until it is done."""
        self._held = None
        self._spread.close()
        self._matrix.release()

    def _id_of(self, database: ImageDatabase) -> str:
        known = self._database
        if known is None or known[0] is not database:
            known = self._database = (database, database.database_id())
        return known[1]

    def _hold(self, latest: Snapshot, *, forced: bool) -> None:
        """Let searches read a snapshot, unless another thread holds one that covers more by now."""
        with self._swapping:
            held = self._held
            if held is not None and not forced:
                same = held.database_id == latest.database_id
                if same and held.last_number > latest.last_number:
                    return
            self._held = latest

    def _open_lazily(self) -> Snapshot | None:
        try:
            latest = self._matrix.snapshot()
        except (Damaged, OSError):
            return None
        self._hold(latest, forced=False)
        return latest

    def _follow(self, database: ImageDatabase) -> Snapshot:
        """Bring the file up to the database's newest change; one thread of one process at a time."""
        with self._exclusive():
            latest = bring_level(self._matrix, database)
        self._database = (database, latest.database_id)
        return latest

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        """Exclude the threads of this process first, then the other processes."""
        if not self._writing.acquire(timeout=self._lock_wait_s):
            raise Unavailable("The search index is busy being written.")
        try:
            with self._failures_told():
                self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
                with exclusive_lock(self._matrix.lock_path, self._lock_wait_s):
                    yield
        finally:
            self._writing.release()

    @contextmanager
    def _failures_told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            _log.error("The search index cannot be read or written: %s.", error.strerror or error)
            if error.errno in _FULL:
                raise StorageFull from None
            raise Unavailable("The search index cannot be read or written.") from None


def _is_level(snapshot: Snapshot, database_id: str, newest: int) -> bool:
    return snapshot.database_id == database_id and snapshot.last_number == newest
