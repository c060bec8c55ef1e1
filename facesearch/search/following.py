"""Bringing the shared matrix level with the database; only the holder of the host's lock does it."""

import logging
from collections.abc import Iterator
from itertools import chain, pairwise

import numpy as np

from facesearch.errors import ModelMismatch, Unavailable
from facesearch.interfaces import ImageDatabase
from facesearch.records import FaceChange
from facesearch.search.layout import FACE, MARKER, Damaged, Missing
from facesearch.search.matrix import SharedMatrix, make_records
from facesearch.search.snapshot import Snapshot

_MARKERS_TO_SPARE = 16_384

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
    if snapshot.count - snapshot.faces > snapshot.faces + _MARKERS_TO_SPARE:
        raise Damaged("most of its rows are markers")
    return snapshot


def _take_over(matrix: SharedMatrix, snapshot: Snapshot, database: ImageDatabase, newest: int) -> Snapshot:
    """Append the model's changes above the snapshot's, and a marker where other models' are the newest.

    The newest face is asked for once more, and must come back the same: a database that was restored
    from a backup and went on has another history below the same numbers.
    """
    last = snapshot.last_number
    if last == newest:
        return snapshot
    face = snapshot.last_face()
    after = last if face is None else int(face["number"]) - 1
    batches = database.changes_after(after, matrix.model_id)
    try:
        for batch in batches if face is None else _without_known(batches, face):
            last = _append(matrix, batch, last)
    finally:
        if close := getattr(batches, "close", None):
            close()  # an iterator that is left half-way may hold a connection
    if last < newest:
        blank = np.zeros((1, matrix.dimension), np.float32)
        matrix.append(make_records([newest], [0], MARKER, blank))
    return matrix.snapshot()


def _without_known(batches: Iterator[list[FaceChange]], face: np.void) -> Iterator[list[FaceChange]]:
    """Yield the batches without the first change, which must be the face that is known already."""
    first = next(filter(None, batches), None)
    if first is None or (first[0].number, first[0].face_id) != (face["number"], face["face_id"]):
        raise Damaged("its newest face is not in the database")
    known, *rest = first
    if np.asarray(known.embedding, "<f4").tobytes() != face["vector"].tobytes():
        raise Damaged("its newest face is another in the database")
    return chain([rest], batches)


def _append(matrix: SharedMatrix, batch: list[FaceChange], last: int) -> int:
    """Append one batch of changes, and return the newest number that is covered."""
    if not batch:
        return last
    numbers = [change.number for change in batch]
    if any(later <= earlier for earlier, later in pairwise([last, *numbers])):
        raise Damaged("the database has other changes below its newest")
    vectors = [np.asarray(change.embedding, np.float32) for change in batch]
    if any(vector.shape != (matrix.dimension,) for vector in vectors):
        raise ModelMismatch("The database holds vectors of another dimension.")
    ids = [change.face_id for change in batch]
    matrix.append(make_records(numbers, ids, FACE, np.stack(vectors)))
    return numbers[-1]
