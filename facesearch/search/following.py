"""Bringing the shared matrix level with the database; only the holder of the host's lock does it."""

import logging
from collections.abc import Generator
from contextlib import closing

import numpy as np
from numpy.typing import NDArray

from facesearch.errors import ModelMismatch, Unavailable
from facesearch.interfaces import ImageDatabase
from facesearch.records import FaceChange, FaceChanges
from facesearch.search.graph_layout import is_settled, settle
from facesearch.search.layout import FACE, MARKER, REMOVED, Damaged, Missing
from facesearch.search.mapped_file import gathered
from facesearch.search.matrix import SharedMatrix
from facesearch.search.snapshot import Snapshot

_ASKED_REMOVALS = 64
_COMPARED_ROWS = 4096

_log = logging.getLogger(__name__)


def bring_level(matrix: SharedMatrix, database: ImageDatabase) -> Snapshot:
    """Take over every change that the database has committed by now; build a new file where one must be.

    What was published before an error stays, so that a build goes on where it was broken off.

    Raises:
        Unavailable: the database's history contradicts itself; the log says how.
        DatabaseUnavailable: the database is away.
        OSError: the file cannot be written.
    """
    database_id = database.database_id()
    newest = database.newest_change()
    try:
        return _take_over(matrix, _usable(matrix, database_id, newest), database, newest)
    except Missing:
        _log.info("The search index of model %s is made.", matrix.model_id)
    except Damaged as damage:
        _log.warning("The search index of model %s is built anew: %s.", matrix.model_id, damage)
    matrix.reset(database_id)
    try:
        return _take_over(matrix, matrix.snapshot(), database, newest)
    except Damaged as damage:
        _log.error("The search index of model %s cannot be built: %s.", matrix.model_id, damage)
        raise Unavailable("The search index cannot be built.") from None


def _usable(matrix: SharedMatrix, database_id: str, newest: int) -> Snapshot:
    snapshot = matrix.snapshot()
    if snapshot.database_id != database_id:
        raise Damaged("it belongs to another database")
    if snapshot.last_number > newest:
        raise Damaged("the database is older than it")
    return snapshot


def _take_over(matrix: SharedMatrix, snapshot: Snapshot, database: ImageDatabase, newest: int) -> Snapshot:
    """Append the model's changes above the snapshot's, and a marker where other models' are the newest."""
    last = snapshot.last_number
    if last == newest:
        return snapshot
    with closing(_news(matrix.model_id, snapshot, database)) as batches:
        for batch in batches:
            last = _append(matrix, batch, last, newest)
            if matrix.tidy(coming=newest - last):
                _log.info("The search index of model %s was copied into a tidy file.", matrix.model_id)
    if last < newest:
        blank = np.zeros((1, matrix.dimension), np.float32)
        _settle(matrix, newest, np.zeros(0, np.int64))
        matrix.append(matrix.make_records([newest], [0], MARKER, blank))
        matrix.tidy()
    return matrix.snapshot()


def face_numbers(snapshot: Snapshot) -> NDArray[np.int64]:
    """The change numbers of all rows that have a vector, ascending."""
    kinds = gathered(snapshot.file, "kind", 0, snapshot.count)
    numbers: NDArray[np.int64] = gathered(snapshot.file, "number", 0, snapshot.count)[kinds == FACE]
    return numbers


def _settle(matrix: SharedMatrix, newest: int, coming: NDArray[np.int64]) -> None:
    """Before the copy is level: see that a graph from before it was made or tidied tells of nobody else."""
    snapshot = matrix.snapshot()
    generation = snapshot.file.header.generation
    if not is_settled(matrix.graph_path, generation):
        numbers = np.concatenate([face_numbers(snapshot), coming])
        settle(matrix.graph_path, generation, snapshot.database_id, newest, numbers)


def _news(model_id: str, snapshot: Snapshot, database: ImageDatabase) -> Generator[FaceChanges, None, None]:
    """Yield the changes above the snapshot's newest, once what it has of the newest is confirmed.

    The newest face and the removals after it are asked for once more, and must come back the same: a
    database that was restored from a backup and went on has another history below the same numbers.
    """
    known = snapshot.newest_rows(_ASKED_REMOVALS)
    last = snapshot.last_number
    check = _Check(known, snapshot)
    after = int(known["number"][0]) - 1 if len(known) else last
    with closing(_stream(database, after, model_id)) as batches:
        for batch in batches:
            seen = batch.numbers <= last
            for change in batch[seen] if seen.any() else ():
                check.see(change)
            if not seen.all():
                check.end(database, model_id)
                yield batch[~seen] if seen.any() else batch
        check.end(database, model_id)


class _Check:
    """Compares what the database says of known numbers with the file; lives as long as one catch-up."""

    def __init__(self, known: NDArray[np.void], snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._removals = {int(r["number"]): int(r["face_id"]) for r in known if r["kind"] == REMOVED}
        self._face = next((row for row in known if row["kind"] == FACE), None)

    def see(self, change: FaceChange) -> None:
        """Compare one change; raises Damaged where the file has another."""
        if change.embedding is None:
            if self._removals.pop(change.number, change.face_id) != change.face_id:
                raise Damaged("a removal is of another face in the database")
            return
        face = self._face
        if face is None or (change.number, change.face_id) != (face["number"], face["face_id"]):
            raise Damaged("the database has other changes below its newest")
        same = np.asarray(change.embedding, "<f4").tobytes() == face["vector"].tobytes()
        if not same or change.person != face["person"]:
            raise Damaged("its newest face is another in the database")
        self._face = None

    def end(self, database: ImageDatabase, model_id: str) -> None:
        """Expect that all was seen, but for a face that has changed or gone since."""
        if self._removals:
            raise Damaged("a removal is not in the database")
        face, self._face = self._face, None
        if face is None:
            return
        with closing(_stream(database, self._snapshot.last_number, model_id)) as batches:
            if not any(face["face_id"] in batch.face_ids for batch in batches):
                raise Damaged("its newest face is not in the database")


def _stream(database: ImageDatabase, after: int, model_id: str) -> Generator[FaceChanges, None, None]:
    """The database's changes; closing this closes them, since they may hold a connection."""
    batches = database.changes_after(after, model_id)
    try:
        yield from batches
    finally:
        if close := getattr(batches, "close", None):
            close()


def _append(matrix: SharedMatrix, batch: FaceChanges, last: int, newest: int) -> int:
    """Append one batch of changes, and return the newest number that is covered.

    What they make obsolete is erased before they are published: so it is done again where that was broken
    off. Removals of faces that the file does not have are left out where a face follows, which tells that
    their numbers are covered, and so are faces that are replaced or removed in the same batch.

    Args:
        last: the newest number that was covered before.
        newest: the database's newest change, with which the copy is level.
    """
    if not len(batch):
        return last
    covered = int(batch.numbers[-1])
    if (np.diff(batch.numbers, prepend=last) <= 0).any():
        raise Damaged("the database has other changes below its newest")
    if not batch.removed.all() and batch.embeddings.shape[1] != matrix.dimension:
        raise ModelMismatch("The database holds vectors of another dimension.")
    batch = batch[_last_of_each(batch.face_ids)]
    vectors = batch.embeddings
    if batch.removed.all():
        vectors = np.zeros((len(batch), matrix.dimension), np.float32)
    snapshot = matrix.snapshot()
    obsolete = _obsolete(snapshot, batch)
    if len(obsolete):
        matrix.erase(obsolete)
    if covered == newest:
        _settle(matrix, newest, batch.numbers[~batch.removed])
    kept = _worth_a_row(snapshot, batch)
    matrix.append(
        matrix.make_records(
            batch.numbers[kept],
            batch.face_ids[kept],
            np.where(batch.removed, REMOVED, FACE)[kept],
            vectors[kept],
            batch.persons[kept],
        )
    )
    return covered


def _last_of_each(face_ids: NDArray[np.int64]) -> NDArray[np.bool_]:
    if (np.diff(face_ids) > 0).all():
        return np.ones(len(face_ids), bool)
    last = np.zeros(len(face_ids), bool)
    _, firsts = np.unique(face_ids[::-1], return_index=True)
    last[len(face_ids) - 1 - firsts] = True
    return last


def _obsolete(snapshot: Snapshot, batch: FaceChanges) -> NDArray[np.int64]:
    """Return the places of all rows of faces that are removed, and of those that get another vector."""
    met = np.flatnonzero(batch.face_ids <= snapshot.highest_id)
    places: NDArray[np.int64] = snapshot.places_of(batch.face_ids[met])
    kinds = snapshot.picked("kind", places)
    # Whatever else is there: a process that was killed in it may have left half of a kind.
    places = places[(kinds != REMOVED) & (kinds != MARKER)]
    if not len(places):
        return places
    order = met[np.argsort(batch.face_ids[met])]
    entries = order[np.searchsorted(batch.face_ids[order], snapshot.picked("face_id", places))]
    gone: NDArray[np.bool_] = batch.removed[entries]
    stays = np.flatnonzero(~gone)
    for first in range(0, len(stays), _COMPARED_ROWS):
        some = stays[first : first + _COMPARED_ROWS]
        now = np.ascontiguousarray(batch.embeddings[entries[some]], "<f4").view("<u4")
        gone[some] = (snapshot.picked("vector", places[some]).view("<u4") != now).any(axis=1)
    return places[gone]


def _worth_a_row(snapshot: Snapshot, batch: FaceChanges) -> NDArray[np.bool_] | slice:
    """Tell which changes to append: all but the removals before the last face that take nothing away."""
    if not batch.removed.any() or batch.removed.all():
        return slice(None)
    before_last = np.arange(len(batch)) < np.flatnonzero(~batch.removed)[-1]
    idle = batch.removed & before_last
    if not idle.any():
        return slice(None)
    places = snapshot.places_of(batch.face_ids[idle])
    here = snapshot.picked("face_id", places[snapshot.counts[places]])
    kept: NDArray[np.bool_] = ~idle | np.isin(batch.face_ids, [*here, *batch.face_ids[~batch.removed]])
    return kept
