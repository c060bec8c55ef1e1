"""Looking faces up in the gallery, and what is answered while the database is away."""

import logging
import threading
import time
from collections.abc import Callable, Sequence

import numpy as np

from facesearch.errors import DatabaseUnavailable
from facesearch.interfaces import FaceIndex, ImageDatabase
from facesearch.records import ChosenTolerance, Face, Match, NamedMatch, ProbeFace, SearchResult
from facesearch.timings import stage

Tolerance = float | Callable[[int], ChosenTolerance]

_log = logging.getLogger(__name__)


class Lookup:
    """Lives as long as its process. Any thread may call it.

    Each look asks the database first. While the database is away one thread at a time asks, and waits for
    as long as that takes; the others answer from the copy meanwhile.

    Args:
        answers_stale: whether there is an answer at all while the database is away.
        clock: seconds that only grow.
    """

    def __init__(
        self, database: ImageDatabase, answers_stale: bool, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._database = database
        self._answers_stale = answers_stale
        self._clock = clock
        self._level_at: dict[FaceIndex, float] = {}
        self._asking = threading.Lock()
        self._is_away = False

    @property
    def answers_stale(self) -> bool:
        """Whether a search would be answered if the database were away now."""
        return self._answers_stale and bool(self._level_at)

    def search(self, index: FaceIndex, faces: Sequence[Face], k: int, tolerance: Tolerance) -> SearchResult:
        """Return faces of a photo, each with its k nearest of the gallery.

        Args:
            tolerance: a distance, or the function from the number of faces in the gallery to one.

        Raises:
            DatabaseUnavailable: the database is away, and there may be no answer from the copy, or this
                process never saw it level.
        """
        if not (self._answers_stale and self._is_away and index in self._level_at):
            return self._ask(index, faces, k, tolerance)
        if not self._asking.acquire(blocking=False):
            return self._from_copy(index, faces, k, tolerance)
        try:
            return self._ask(index, faces, k, tolerance)
        finally:
            self._asking.release()

    def _ask(self, index: FaceIndex, faces: Sequence[Face], k: int, tolerance: Tolerance) -> SearchResult:
        asked_at = self._clock()
        try:
            with stage("search"):
                index.catch_up(self._database)
            self._level_at[index] = max(asked_at, self._level_at.get(index, asked_at))
            found, chosen = _nearest(index, faces, k, tolerance)
            ids = sorted({match.face_id for matches in found for match in matches})
            names = {i: stored.person_name for i, stored in self._database.get_faces(ids).items()}
        except DatabaseUnavailable as error:
            if not self._answers_stale or index not in self._level_at:
                raise
            self._note_away(error)
            return self._from_copy(index, faces, k, tolerance)
        self._note_back()
        # A face that was removed in between has no name any more.
        kept = [[match for match in matches if match.face_id in names] for matches in found]
        return SearchResult(_with_matches(faces, kept, names.get), chosen=chosen)

    def _from_copy(
        self, index: FaceIndex, faces: Sequence[Face], k: int, tolerance: Tolerance
    ) -> SearchResult:
        level_at = self._level_at[index]
        found, chosen = _nearest(index, faces, k, tolerance)
        return SearchResult(_with_matches(faces, found, lambda _: None), self._clock() - level_at, chosen)

    def _note_away(self, error: DatabaseUnavailable) -> None:
        if not self._is_away:
            self._is_away = True
            _log.warning("%s Searches are answered from the copy until it answers.", error.message)

    def _note_back(self) -> None:
        if self._is_away:
            self._is_away = False
            _log.info("The database answers again.")


def _nearest(
    index: FaceIndex, faces: Sequence[Face], k: int, tolerance: Tolerance
) -> tuple[list[list[Match]], ChosenTolerance | None]:
    probes = np.stack([face.embedding for face in faces])
    with stage("search"):
        if not callable(tolerance):
            return index.search(probes, k, tolerance), None
        chosen = tolerance(index.count())
        return index.search(probes, k, chosen.tolerance), chosen


def _with_matches(
    faces: Sequence[Face], found: Sequence[Sequence[Match]], name_of: Callable[[int], str | None]
) -> tuple[ProbeFace, ...]:
    return tuple(
        ProbeFace(
            face.box,
            tuple(NamedMatch(match.face_id, name_of(match.face_id), match.distance) for match in matches),
            face.quality,
        )
        for face, matches in zip(faces, found, strict=True)
    )
