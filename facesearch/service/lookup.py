"""Looking faces up in a collection, and what is answered while the database is away."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np

from facesearch.interfaces import FaceIndex, ImageDatabase
from facesearch.records import (
    EVERY_FACE,
    NO_BOX,
    ChosenTolerance,
    Face,
    FaceFilter,
    FaceQuery,
    Match,
    NamedMatch,
    PersonMatch,
    ProbeFace,
    SearchResult,
    StoredFace,
)
from facesearch.service.filters import FaceFilters
from facesearch.service.outage import Outage
from facesearch.timings import stage

Tolerance = float | Callable[[int], ChosenTolerance]

_TRIES = 3


class ModelSwitched(Exception):
    """The collection has another model by now than the one that was searched for."""


class Copy:
    """The searchable copy of a collection, of one model; lives as long as the process keeps it open.

    Args:
        collection: its number.
        model_id: the vector space of the copy.
    """

    def __init__(self, collection: int, model_id: str, database: ImageDatabase, index: FaceIndex) -> None:
        self.collection = collection
        self.model_id = model_id
        self.database = database
        self.index = index
        self.level_at: float | None = None

    @property
    def was_level(self) -> bool:
        """Whether this process has ever seen it level with the database."""
        return self.level_at is not None


@dataclass(frozen=True)
class Question:
    """What is looked up.

    Args:
        faces: at least one.
        k: how many matches at most.
        tolerance: a distance, or the function from the number of faces that are compared to one.
        pooled: whether all faces are the same person's, of which the nearest to a match counts.
        without: a face that is no match.
    """

    faces: Sequence[Face]
    k: int
    tolerance: Tolerance
    query: FaceQuery = EVERY_FACE
    by_person: bool = False
    pooled: bool = False
    without: int | None = None

    @property
    def needs_database(self) -> bool:
        """Whether the copy alone cannot answer."""
        return self.query != EVERY_FACE or self.without is not None


Found = list[list[Match]] | list[list[PersonMatch]]


class Lookup:
    """Lives as long as its process. Any thread may call it.

    Each look asks the database first. While that is away, answers come from the copy.

    Args:
        outage: whether it is away.
        answers_stale: whether there is an answer at all while the database is away.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        outage: Outage,
        filters: FaceFilters,
        answers_stale: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._outage = outage
        self._filters = filters
        self._answers_stale = answers_stale
        self._clock = clock

    def search(self, copy: Copy, question: Question, *, is_live: bool = True) -> SearchResult:
        """Return the faces, each with its k nearest of the collection; pooled ones as a single one.

        Args:
            is_live: whether the database has just answered; where not, it is not asked once more.

        Raises:
            DatabaseUnavailable: the database is away, and there may be no answer from the copy, or this
                process never saw it level.
            ModelSwitched: the collection's model is another by now.
        """

        def may_be_stale() -> bool:
            return self._answers_stale and copy.was_level and not question.needs_database

        if not is_live and may_be_stale():
            return self._from_copy(copy, question)
        return self._outage.ask(
            lambda: self._ask(copy, question), lambda: self._from_copy(copy, question), may_be_stale
        )

    def _ask(self, copy: Copy, question: Question) -> SearchResult:
        for _ in range(_TRIES):
            asked_at = self._clock()
            with stage("search"):
                copy.index.catch_up(copy.database)
            copy.level_at = max(asked_at, copy.level_at or asked_at)
            if copy.database.gallery_model() not in (None, copy.model_id):
                raise ModelSwitched
            only = self._filters.of(copy.collection, copy.database, question.query)
            found, chosen = _nearest(copy.index, question, only)
            ids = sorted({match.face_id for matches in found for match in matches})
            stored = copy.database.get_faces(ids)
            if not any(_has_moved(match, stored) for match in chain(*found)):
                break
        # A face that was removed in between has no name any more.
        kept = [
            [_named(match, stored[match.face_id]) for match in matches if match.face_id in stored]
            for matches in found
        ]
        return SearchResult(_with_matches(question, kept), chosen=chosen)

    def _from_copy(self, copy: Copy, question: Question) -> SearchResult:
        level_at = copy.level_at or 0.0
        found, chosen = _nearest(copy.index, question, None)
        matches = [[_named(match, None) for match in matches] for matches in found]
        return SearchResult(_with_matches(question, matches), self._clock() - level_at, chosen)


def _nearest(
    index: FaceIndex, question: Question, only: FaceFilter | None
) -> tuple[Found, ChosenTolerance | None]:
    if question.without is not None:
        only = replace(only or FaceFilter(), without=frozenset([question.without]))
    with stage("search"):
        if not callable(question.tolerance):
            return _within(index, question, question.tolerance, only), None
        compared = index.count(only, of_people=question.by_person)
        chosen = question.tolerance(compared * (len(question.faces) if question.pooled else 1))
        return _within(index, question, chosen.tolerance, only), chosen


def _within(index: FaceIndex, question: Question, tolerance: float, only: FaceFilter | None) -> Found:
    probes = np.stack([face.embedding for face in question.faces])
    if question.by_person:
        return index.search_people(probes, question.k, tolerance, only, pooled=question.pooled)
    if only is None:
        found = index.search(probes, question.k, tolerance)
    else:
        found = index.search(probes, question.k, tolerance, only)
    return [_best(found, question.k)] if question.pooled else found


def _best(found: Iterable[Iterable[Match]], k: int) -> list[Match]:
    """The k nearest to any of several probes: each of them is among the k nearest to one."""
    nearest: dict[int, float] = {}
    for match in chain(*found):
        nearest[match.face_id] = min(match.distance, nearest.get(match.face_id, match.distance))
    pairs = sorted((distance, face_id) for face_id, distance in nearest.items())
    return [Match(face_id, distance) for distance, face_id in pairs[:k]]


def _has_moved(match: Match | PersonMatch, stored: Mapping[int, StoredFace]) -> bool:
    """Whether a person's face is somebody else's since the copy was level."""
    if not isinstance(match, PersonMatch) or match.face_id not in stored:
        return False
    return stored[match.face_id].person_id != match.person


def _named(match: Match | PersonMatch, stored: StoredFace | None) -> NamedMatch:
    within = match.faces_within if isinstance(match, PersonMatch) else None
    if stored is None:
        person = match.person if isinstance(match, PersonMatch) else None
        return NamedMatch(match.face_id, None, match.distance, person_id=person, faces_within=within)
    return NamedMatch(
        match.face_id,
        stored.person_name,
        match.distance,
        person_id=stored.person_id,
        external_id=stored.external_id,
        metadata=stored.metadata,
        faces_within=within,
    )


def _with_matches(question: Question, found: Sequence[Sequence[NamedMatch]]) -> tuple[ProbeFace, ...]:
    if question.pooled:
        return tuple(ProbeFace(NO_BOX, tuple(matches)) for matches in found)
    return tuple(
        ProbeFace(face.box, tuple(matches), face.quality)
        for face, matches in zip(question.faces, found, strict=True)
    )
